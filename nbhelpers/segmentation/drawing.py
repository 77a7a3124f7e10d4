"""All models of a run on all its sets: the specialist with further seeds, the omnimodel, a third."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.runs.stage import gathered
from nbhelpers.segmentation import datasets, omnimodel, specialists
from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import SegmentationSet


def load_sets(parameters: Mapping[str, Any], run_folder: Path) -> dict[str, SegmentationSet]:
    """The sets that `segmentation_data` names, in its order."""
    return {name: datasets.load(name, parameters, run_folder) for name in parameters["segmentation_data"]}


def wanted(parameters: Mapping[str, Any], run_folder: Path) -> list[tuple[Any, ...]]:
    """Checks of the sets and models that are asked for, each a function and its arguments; simulated sets are drawn."""
    sets, third, drawer = parameters["segmentation_data"], parameters["third_model"], parameters["omnimodel"]
    if not sets:
        return []
    return [
        *((datasets.known, name) for name in sets if name.startswith("simulated")),
        *((datasets.load, name, parameters, run_folder) for name in sets if not name.startswith("simulated")),
        (specialists.check_route, parameters["specialist"], "specialist"),
        *((specialists.check_route, third, "third_model") for third in [third] if third),
        (specialists.check_route, drawer, "omnimodel", omnimodel.ROUTES),
        *((omnimodel.check_sending, drawer, name, parameters["send_patient_films_to"], parameters) for name in sets),
    ]


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """Everything of `wanted` is there, and a set is named."""
    faults = gathered(wanted(parameters, run_folder))
    if not parameters["segmentation_data"]:
        faults = [UserError("no set is named", "segmentation_data", "e.g. [simulated_lesions]")]
    if faults:
        raise UserError.of(faults)


def draw_all(
    sets: Mapping[str, SegmentationSet], parameters: Mapping[str, Any], folder: Path
) -> dict[str, list[Answers]]:
    """Every model's maps of every set's test cases, written below `maps/` of the stage's folder.

    Further seeds of the specialist are trained only where it is trained here at all.
    """
    seed, specialist = int(parameters["seed"]), str(parameters["specialist"])
    seeds = range(1, int(parameters["specialist_seeds"]) if specialist.startswith("train") else 1)
    asked = [("specialist", "specialist", specialist, seed)]
    asked += [(f"specialist_seed_{number}", "specialist", specialist, seed + number) for number in seeds]
    asked += [("third", "third", parameters["third_model"], seed)] if parameters["third_model"] else []
    drawn: dict[str, list[Answers]] = {}
    for name, found in sets.items():
        drawn[name] = [
            specialists.answer(found, spec, model, role, folder, parameters, own) for model, role, spec, own in asked
        ]
        drawn[name].append(omnimodel.answer(found, parameters["omnimodel"], folder, parameters))
    return drawn


def checks(sets: Mapping[str, SegmentationSet], answers: Mapping[str, list[Answers]]) -> list[str]:
    """What must hold before anything is compared, a line each; what does not has stopped the run by then."""
    lines = []
    for name, found in sets.items():
        test = {case["case"] for case in found.part("test")}
        drawn = ", ".join(model.name for model in answers[name] if test <= set(model.kinds))
        lines.append(f"{name}: no group in both training and test: ok; all {len(test)} cases given to {drawn}: ok")
    return lines
