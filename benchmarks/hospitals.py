"""Who is filmed where: the patients of each simulated hospital, on top of its `acquisition.PHYSICS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pandas import DataFrame

from nbhelpers.errors import UserError

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
