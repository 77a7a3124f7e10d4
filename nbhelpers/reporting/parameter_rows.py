"""What each stage of a run was made with: once where all agree, by stage where they do not, beside the run's file."""

from __future__ import annotations

import json
from typing import Any

from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.runs import parameters
from nbhelpers.runs.dependence import made_otherwise

OWN = ("arm", "training_seed")  # the pipeline's own: another in every training
FILE = "parameters.yaml"


def rows(facts: RunFacts) -> list[dict[str, Any]]:
    """`name` and `values` of each parameter: a list of `text, stages, off`, one where all stages agree.

    `off` is True of a value that a result depends on and that the run's `parameters.yaml` does not have; `stages` names
    who has it, empty for all.
    """
    off = _made_otherwise(facts)
    found: dict[str, dict[tuple[str, bool], list[str]]] = {}
    for stage, record in facts.stages.items():
        for name, value in record.get("parameters", {}).items():
            if name not in OWN:
                one = (json.dumps(value, ensure_ascii=False), name in off.get(f"{stage}/run.json", {}))
                found.setdefault(name, {}).setdefault(one, []).append(stage)
    return [
        {
            "name": name,
            "values": [
                {
                    "text": value if isinstance(value := json.loads(text), str) else text,
                    "stages": ", ".join(stages) if len(values) > 1 or is_off else "",
                    "off": is_off,
                }
                for (text, is_off), stages in values.items()
            ],
        }
        for name, values in sorted(found.items())
    ]


def _made_otherwise(facts: RunFacts) -> dict[str, dict[str, tuple[Any, Any]]]:
    path = facts.folder / FILE
    return made_otherwise(facts.folder, parameters.read(path)[0]) if path.is_file() else {}


def differing(facts: RunFacts) -> list[str]:
    """A sentence for each stage that was not made with what the run's file says of what its result depends on."""
    return [
        f"{path.removesuffix('/run.json')} was made with "
        + "; ".join(f"{name} {_text(was)} ({FILE}: {_text(now)})" for name, (was, now) in found.items())
        + "."
        for path, found in _made_otherwise(facts).items()
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
