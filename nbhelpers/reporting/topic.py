"""What the run says on a topic, and the words that topics share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.style import named

OWN = "for your own films"
SHOWN = 6  # arms, subgroups or reasons named in one statement
KNOWN: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("statements.yaml").read_text(encoding="utf-8"))


class Statement(NamedTuple):
    """What the run says on a topic, and what it leaves to the authors."""

    text: str
    open: str = ""


def listed(items: Iterable[str], more: str = "more") -> str:
    """The first items, and how many more there are."""
    told = list(items)
    return "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} {more}" if len(told) > SHOWN else "")


def each(
    table: pd.DataFrame,
    by: list[str],
    tell: Callable[[pd.DataFrame], str],
    more: str = "more",
    titles: Mapping[str, str] | None = None,
) -> str:
    """`set, arm: what is told of it; ...`, for each group of a table; a name that has a title is told by it."""
    told = []
    for key, part in table.groupby(by, sort=False):
        told.append(f"{', '.join((titles or {}).get(str(name), named(name)) for name in key)}: {tell(part)}")
    return listed(told, more)


def together(names: Iterable[object]) -> str:
    """Names in a sentence: `A`, `A and B`, `A, B and C`."""
    told = [named(name) for name in names]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def each_model(
    facts: RunFacts, tell: Callable[[dict[str, Any]], str], names: Iterable[str] | None = None
) -> str | None:
    """What `tell` says of each network's `model.json` (of `names` alone, if given): once when all agree, else each."""
    chosen = facts.models if names is None else {name: facts.models[name] for name in names if name in facts.models}
    told = {name: tell(model) for name, model in chosen.items()}
    if not told:
        return None
    if len(set(told.values())) == 1:
        return ("All arms: " if len(told) > 1 else "") + next(iter(told.values())) + "."
    return listed((f"{named(name)}: {text}" for name, text in told.items()), "arms") + "."


def trained_here(facts: RunFacts, text: str | None) -> Statement | None:
    """A statement on training, which says nothing of checkpoints that the run did not train."""
    own = ", ".join(map(named, facts.own_checkpoints))
    if not own:
        return Statement(text) if text else None
    return Statement(text or "Nothing was trained in this run.", f"the same of {own}, which this run did not train")
