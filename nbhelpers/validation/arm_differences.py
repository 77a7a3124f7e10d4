"""Arms against each other on the same films: paired tests, corrected for their number."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers import metrics
from nbhelpers.metrics.bootstrap import interval_groups, metrics_of
from nbhelpers.metrics.discrimination import METRICS
from nbhelpers.validation.rows import side_by_side


def compare_arms(predictions: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Every pair of arms on every set: differences in AUROC and AUPR with intervals, p values, and Holm's correction.

    Returns
    -------
    DataFrame
        `dataset, arm_a, arm_b, metric, difference` (a - b)`, ci_low, ci_high, p_value, p_holm, method, primary`.
        `method` is `paired_delong` (AUROC, films taken as independent) or `paired_bootstrap_patient` (`..._image` where
        patients are unknown, and `too_few`, without interval and p value, where all films are of one patient), which is
        primary. Holm's correction is over the pairs of one set, metric and method.
        Empty when there is one arm only.
    """
    rows: list[dict[str, Any]] = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        score, films = side_by_side(part)
        label = films["label"].to_numpy()
        groups, how_drawn = interval_groups(films["patient_id"])
        method = how_drawn if how_drawn == "too_few" else f"paired_{how_drawn}"
        for a, b in combinations(score, 2):
            if method == "too_few":
                values = zip(METRICS, metrics_of(label, score[a]), metrics_of(label, score[b]), strict=True)
                found = metrics.Differences(
                    {name: metrics.Difference(of_a - of_b, np.nan, np.nan, np.nan) for name, of_a, of_b in values}
                )
            else:
                found = metrics.paired_bootstrap(label, score[a], score[b], groups, n_resamples, seed)
            told = [(name, difference, method) for name, difference in found.items()]
            if min(label.sum(), (1 - label).sum()) > 1:
                told.append(("auroc", metrics.delong_test(label, score[a], score[b]), "paired_delong"))
            rows += [
                {
                    **{"dataset": dataset, "arm_a": a, "arm_b": b, "metric": name, "difference": difference.value},
                    **{"ci_low": difference.low, "ci_high": difference.high, "p_value": difference.p_value},
                    **{"p_holm": float("nan"), "method": how, "primary": how == method},
                }
                for name, difference, how in told
            ]
    columns = ["dataset", "arm_a", "arm_b", "metric", "difference", "ci_low", "ci_high", "p_value", "p_holm", "method"]
    found_rows = pd.DataFrame(rows, columns=[*columns, "primary"])
    for _, family in found_rows[found_rows["p_value"].notna()].groupby(["dataset", "metric", "method"]):
        found_rows.loc[family.index, "p_holm"] = metrics.holm(family["p_value"])
    return found_rows
