"""What a run knows of itself, a sentence or two a topic: for the model card and the reporting checklists.

A topic is a public function of `topics_data`, `topics_methods` or `topics_results`, or fixed words in
`statements.yaml`. Each reads a run's tables and says what they hold; it gives None where the run has not written them,
and names what it leaves open. No statement guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType

from nbhelpers.reporting import topics_data, topics_methods, topics_results
from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.reporting.topic import KNOWN, Statement


def _fixed(words: Mapping[str, str], facts: RunFacts) -> Statement | None:
    has = {"always": True, "networks": bool(facts.models), "films": bool(facts.titles())}
    if not has[words["when"]]:
        return None
    return Statement(words["text"], words.get("own_films", "") if "folder" in facts.titles() else "")


TOPICS: dict[str, Callable[[RunFacts], Statement | str | None]] = {
    name: function
    for module in (topics_data, topics_methods, topics_results)
    for name, function in vars(module).items()
    if isinstance(function, FunctionType) and function.__module__ == module.__name__ and not name.startswith("_")
} | {name: partial(_fixed, words) for name, words in KNOWN["topics"].items()}


def state(topic: str, facts: RunFacts) -> Statement | None:
    """The run's statement on a topic of `TOPICS`, or None when it has nothing to say on it yet."""
    found = TOPICS[topic](facts)
    return Statement(found) if isinstance(found, str) else found
