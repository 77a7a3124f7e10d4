"""What each stage of a run was made with: once where all agree, by stage where they do not, beside the run's file."""

from __future__ import annotations

import json
from typing import Any

import yaml

from nbhelpers.reporting.run_facts import RunFacts

OWN = ("arm", "training_seed")  # the pipeline's own: another in every training
FILE = "parameters.yaml"


def rows(facts: RunFacts) -> list[dict[str, Any]]:
    """`name` and `values` of each parameter: a list of `text, stages, off`, one where all stages agree.

    `off` is True of a value that the run's `parameters.yaml` does not have; `stages` names who has it, empty for all.
    """
    path = facts.folder / FILE
    asked: dict[str, Any] = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
    found: dict[str, dict[str, list[str]]] = {}
    for stage, record in facts.stages.items():
        for name, value in record.get("parameters", {}).items():
            if name not in OWN:
                found.setdefault(name, {}).setdefault(json.dumps(value, ensure_ascii=False), []).append(stage)
    return [
        {
            "name": name,
            "values": [
                {
                    "text": value if isinstance(value := json.loads(text), str) else text,
                    "stages": ", ".join(stages) if len(values) > 1 or _off(asked, name, value) else "",
                    "off": _off(asked, name, value),
                }
                for text, stages in values.items()
            ],
        }
        for name, values in sorted(found.items())
    ]


def _off(asked: dict[str, Any], name: str, value: Any) -> bool:
    return name in asked and asked[name] != value


def differing(facts: RunFacts) -> list[str]:
    """A sentence for each stage and parameter that is not as the run's file has it."""
    return [
        f"{one['stages']} was made with {row['name']} {one['text']}; {FILE} has another value."
        for row in rows(facts)
        for one in row["values"]
        if one["off"]
    ]
