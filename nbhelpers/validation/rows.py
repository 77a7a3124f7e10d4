"""Scores of one set side by side, and one row of `metrics.csv` and of the tables beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.metrics import Interval

COLUMNS = ("arm", "dataset", "subgroup", "metric", "value", "ci_low", "ci_high", "n", "n_patients", "prevalence")


def metric_row(
    about: Mapping[str, Any], metric: str, films: pd.DataFrame, found: Interval, method: str, **more: Any
) -> dict[str, Any]:
    """One metric of one score on some films.

    `about` says what the row is of, first in it: `arm, dataset, subgroup`, or what stands in their place. Of `films`
    `label, patient_id` are read: their number, patients (None where unknown) and prevalence. `method` is how the
    interval was made; `more` are further columns, last in the row.
    """
    return {
        **about,
        **{"metric": metric, "value": found.value, "ci_low": found.low, "ci_high": found.high, "n": len(films)},
        "n_patients": films["patient_id"].nunique() or None,
        "prevalence": films["label"].mean(),
        "ci_method": method,
        **more,
    }


def side_by_side(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one set, one column an arm, and its films in the same order."""
    arms = list(part["arm"].unique())
    films = part[part["arm"] == arms[0]].reset_index(drop=True)
    by_arm = {arm: part[part["arm"] == arm].set_index("image_id")["score"] for arm in arms}
    wide = pd.DataFrame(by_arm).loc[films["image_id"]]
    if wide.isna().to_numpy().any():
        raise UserError("an arm has not scored every film of the set", str(part["dataset"].iloc[0]), "run 04 again")
    return wide, films
