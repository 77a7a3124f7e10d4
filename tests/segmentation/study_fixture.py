"""A scored study to draw: one written set, three models and a second seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segmentation.segmentation_fixture import drawn, written_set

from nbhelpers.segmentation import evaluation, selection

NAMED = {
    "specialist": "specialist",
    "specialist_seed_1": "specialist seed 1",
    "third": "third",
    "omnimodel": "stand-in (no omnimodel)",
}


def study(root: Path, omnimodel_grows: int = 4) -> dict[str, Any]:
    """Sets, answers, scores and the tables on them, by name."""
    found = written_set(root, 12, empty=(4,))
    answers = [
        drawn(found, root, "specialist", "specialist", grow=1),
        drawn(found, root, "specialist_seed_1", "specialist", grow=-1),
        drawn(found, root, "third", "third", grow=-2),
        drawn(found, root, "omnimodel", "omnimodel", grow=omnimodel_grows, missing=("c07",)),
    ]
    sets, models = {"written": found}, {"written": answers}
    scores = evaluation.score_table(sets, models, [63, 127, 240], 127)
    covariates = evaluation.covariate_table(sets)
    return {
        "sets": sets,
        "study": evaluation.Study(scores, sets, models, 127, {"written": "Written"}, NAMED),
        "scores": scores,
        "covariates": covariates,
        "comparison": selection.comparison_table(scores, covariates, 127, 0.2, 100, 100),
        "overall": evaluation.overall_table(scores, 127, 100),
        "seeds": selection.seeds_table(scores, 127, 0.2, 100, 0),
        "curve": selection.curve_table(scores, covariates, 127, 3),
        "sweep": evaluation.sweep_table(scores, sets, 4),
    }
