"""All models of a run on all its sets: the specialist with further seeds, the omnimodel, a third."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbhelpers.segmentation import datasets, omnimodel, specialists
from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import SegmentationSet


def load_sets(parameters: Mapping[str, Any], run_folder: Path) -> dict[str, SegmentationSet]:
    """The sets that `segmentation_data` names, in its order."""
    return {name: datasets.load(name, parameters, run_folder) for name in parameters["segmentation_data"]}


def wanted(parameters: Mapping[str, Any], run_folder: Path) -> list[tuple[Any, ...]]:
    """Checks before anything runs, each a function and its arguments, of the sets and models that are asked for."""
    sets = parameters["segmentation_data"]
    if not sets:
        return []
    loads = [(datasets.load, name, parameters, run_folder) for name in sets if not name.startswith("simulated")]
    return [
        *loads,
        *((datasets.known, name) for name in sets),
        (specialists.check_route, parameters["specialist"], "specialist"),
        (specialists.check_route, parameters["third_model"] or "train", "third_model"),
        (specialists.check_route, parameters["omnimodel"], "omnimodel", omnimodel.ROUTES),
    ]


def draw_all(
    sets: Mapping[str, SegmentationSet], parameters: Mapping[str, Any], folder: Path
) -> dict[str, list[Answers]]:
    """Every model's maps of every set's test cases, written below `maps/` of the stage's folder.

    Further seeds of the specialist are trained only where it is trained here at all.
    """
    seed, specialist = int(parameters["seed"]), str(parameters["specialist"])
    found: dict[str, list[Answers]] = {}
    for name, cases in sets.items():
        wanted = [("specialist", "specialist", specialist, seed)]
        for number in range(1, int(parameters["specialist_seeds"]) if specialist.startswith("train") else 1):
            wanted.append((f"specialist_seed_{number}", "specialist", specialist, seed + number))
        if parameters["third_model"]:
            wanted.append(("third", "third", parameters["third_model"], seed))
        drawn = [
            specialists.answer(cases, spec, model, role, folder, parameters, own_seed)
            for model, role, spec, own_seed in wanted
        ]
        found[name] = [*drawn, omnimodel.answer(cases, parameters["omnimodel"], folder, parameters)]
    return found


def checks(sets: Mapping[str, SegmentationSet], answers: Mapping[str, list[Answers]]) -> list[str]:
    """What must hold before anything is compared, a line each; what does not has stopped the run by then."""
    lines = []
    for name, found in sets.items():
        test = {case["case"] for case in found.part("test")}
        drawn = ", ".join(model.name for model in answers[name] if test <= set(model.kinds))
        lines.append(f"{name}: no group in training and test: ok; all {len(test)} cases asked of {drawn}: ok")
    return lines
