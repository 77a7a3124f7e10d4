"""Films to train and to judge recipes on: the patients of each simulated hospital, on top of its `PHYSICS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from pandas import DataFrame

from nbhelpers.errors import UserError
from nbhelpers.prompting import prompts
from nbhelpers.simulator import film

SIZE = 224  # pixels along a side of the films; a probe looks at them smaller
LUNGS, LESION = 1, 2  # bits of a film's truth

Shares = Mapping[str, float]

# Share of each level; an attribute that is not named stays as it was designed.
PATIENTS: dict[str, dict[str, Shares]] = {
    "hospital_c": {
        "age_group": {"child": 1.0},
        "view": {"AP": 0.9, "PA": 0.1},
        "position": {"erect": 0.5, "supine": 0.5},
        "devices": {"none": 0.9, "ecg_leads": 0.1},
    },
    "hospital_d": {
        "age_group": {"adult": 0.4, "older": 0.6},
        "view": {"AP": 1.0},
        "position": {"erect": 0.3, "supine": 0.7},
        "devices": {
            "none": 0.2,
            "ecg_leads": 0.2,
            "central_line;ecg_leads": 0.3,
            "central_line;ecg_leads;endotracheal_tube;nasogastric_tube": 0.3,
        },
    },
}


def patients_of(hospital: str, design: DataFrame, seed: int) -> DataFrame:
    """A design as it would be in a hospital: the attributes of `PATIENTS` drawn anew, alike for the two of a pair.

    Parameters
    ----------
    hospital : str
        A key of `PATIENTS`, and of `acquisition.PHYSICS`.
    design : DataFrame
        With `pair_id` and the simulator's attributes, such as `prompts.design` gives.
    seed : int
        The same seed gives the same patients.

    Raises
    ------
    UserError
        For a hospital whose patients are not described.
    """
    if hospital not in PATIENTS:
        raise UserError(f"no hospital {hospital!r}", "hospital", f"use one of: {', '.join(PATIENTS)}")
    drawn, rng = design.copy(), np.random.default_rng([seed, 71])
    pairs = design["pair_id"].unique()
    for name, shares in PATIENTS[hospital].items():
        levels: list[Any] = list(shares)
        chosen = dict(zip(pairs, rng.choice(levels, len(pairs), p=list(shares.values())), strict=True))
        drawn[name] = [str(chosen[pair]) for pair in design["pair_id"]]
    # Years that were designed for another age group would overrule this one's.
    return drawn.drop(columns="age", errors="ignore")


def drawn(
    physics: tuple[str, ...], pairs: int, seed: int, twins: bool = False, hospital: str = ""
) -> tuple[Any, Any, Any]:
    """Films `(n, 224, 224)`, labels and truth (bits) of a design, its pairs dealt out over the physics.

    A hospital's physics brings its patients, unless `hospital` names another's. With `twins` the two of a pair are one
    exposure.
    """
    design = prompts.design(pairs, seed, prompts.load_templates())
    films, labels, truth = [], [], []
    for number, name in enumerate(physics):
        share, where = design[(np.arange(len(design)) // 2) % len(physics) == number], hospital or name
        share = patients_of(where, share, seed) if where in PATIENTS else share
        share = share.assign(seed=share["pair_seed"]) if twins else share
        for one in film.draw_films(share, name, 256, workers=1):
            films.append(cv2.resize(one.image, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
            masks = [
                cv2.resize(mask.astype(np.uint8) * 255, (SIZE, SIZE), interpolation=cv2.INTER_AREA) > 127
                for mask in (one.lungs, one.lesion)
            ]
            truth.append((masks[0] * LUNGS | masks[1] * LESION).astype(np.uint8))
        labels += (share["label"] == "pneumonia").astype(int).tolist()
    return np.stack(films), np.array(labels), np.stack(truth)
