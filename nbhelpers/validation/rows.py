"""One row of `metrics.csv`, and of the tables beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nbhelpers.metrics import Interval

COLUMNS = ("arm", "dataset", "subgroup", "metric", "value", "ci_low", "ci_high", "n", "n_patients", "prevalence")


def metric_row(
    about: Mapping[str, Any], metric: str, films: pd.DataFrame, found: Interval, method: str, **more: Any
) -> dict[str, Any]:
    """One metric of one score on some films.

    Parameters
    ----------
    about : mapping
        What the row is of, first in it: `arm, dataset, subgroup`, or what stands in their place.
    metric : str
        Its name.
    films : DataFrame
        `label, patient_id` of the films behind it: their number, patients (None where unknown) and prevalence.
    found : Interval
        Value and interval, NaN where there is none.
    method : str
        How the interval was made.
    more
        Further columns, last in the row.
    """
    return {
        **about,
        **{"metric": metric, "value": found.value, "ci_low": found.low, "ci_high": found.high, "n": len(films)},
        "n_patients": films["patient_id"].nunique() or None,
        "prevalence": films["label"].mean(),
        "ci_method": method,
        **more,
    }
