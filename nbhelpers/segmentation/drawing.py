"""All models of a run on all its sets: the specialist with further seeds, the omnimodel, a third."""

from __future__ import annotations

from collections.abc import Mapping

from nbhelpers.runs.stage import Stage
from nbhelpers.segmentation import datasets, omnimodel, specialists
from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import SegmentationSet


def load_sets(stage: Stage) -> dict[str, SegmentationSet]:
    """The sets that `segmentation_data` names, in its order."""
    return {
        name: datasets.load(name, stage.parameters, stage.run_folder) for name in stage.parameters["segmentation_data"]
    }


def draw_all(sets: Mapping[str, SegmentationSet], stage: Stage) -> dict[str, list[Answers]]:
    """Every model's maps of every set's test cases, written below `maps/` of the stage's folder.

    Further seeds of the specialist are trained only where it is trained here at all.
    """
    parameters = stage.parameters
    found: dict[str, list[Answers]] = {}
    for name, cases in sets.items():
        wanted = [("specialist", "specialist", parameters["specialist"], stage.seed)]
        if parameters["specialist"].partition(":")[0] == "train":
            for number in range(1, parameters["specialist_seeds"]):
                wanted.append(
                    (f"specialist_seed_{number}", "specialist", parameters["specialist"], stage.seed + number)
                )
        if parameters["third_model"]:
            wanted.append(("third", "third", parameters["third_model"], stage.seed))
        drawn = [
            specialists.answer(cases, spec, model, role, stage.folder, parameters, seed)
            for model, role, spec, seed in wanted
        ]
        found[name] = [*drawn, omnimodel.answer(cases, parameters["omnimodel"], stage.folder, parameters)]
    return found


def checks(sets: Mapping[str, SegmentationSet], answers: Mapping[str, list[Answers]]) -> list[str]:
    """What must hold before anything is compared, a line each; what does not stops the run when the sets are loaded."""
    lines = []
    for name, found in sets.items():
        test = {case["case"] for case in found.part("test")}
        drawn = [model.name for model in answers[name] if test <= set(model.kinds)]
        lines.append(
            f"{name}: no group in training and test: ok; {len(test)} cases answered for by {', '.join(drawn)}: ok"
        )
    return lines
