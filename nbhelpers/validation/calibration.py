"""Calibration: do probabilities mean what they say, and do they after a recalibration on the films themselves?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.metrics.bootstrap import interval_groups
from nbhelpers.metrics.calibration import VALUES, calibration_ci, recalibrate, reliability
from nbhelpers.metrics.decisions import decision_curve
from nbhelpers.validation.rows import metric_row

KINDS = (("score", "as predicted"), ("recalibrated", "recalibrated here"))


def _each_kind(recalibrated: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.Series]]:
    """Arm, set and kind of probabilities, with the films and these probabilities; none that could not be made."""
    for (dataset, arm), part in recalibrated.groupby(["dataset", "arm"], sort=False):
        for column, text in KINDS:
            if part[column].notna().all():
                yield {"arm": arm, "dataset": dataset, "probabilities": text}, part, part[column]


def reliability_table(recalibrated: pd.DataFrame) -> pd.DataFrame:
    """`reliability` of every arm on every set, by patients where they are known: what the figure shows, as a table.

    `arm, dataset, probabilities` and its columns. Takes what `add_recalibrated` gives.
    """
    return _of_each(recalibrated, lambda films, scores: reliability(films["label"], scores, films["patient_id"]))


def decision_table(recalibrated: pd.DataFrame) -> pd.DataFrame:
    """`decisions.decision_curve` of every arm on every set: `arm, dataset, probabilities` and its columns."""
    return _of_each(recalibrated, lambda films, scores: decision_curve(films["label"], scores))


def _of_each(recalibrated: pd.DataFrame, make: Callable[[pd.DataFrame, pd.Series], pd.DataFrame]) -> pd.DataFrame:
    tables = [make(films, scores).assign(**about) for about, films, scores in _each_kind(recalibrated)]
    found = pd.concat(tables, ignore_index=True)
    first = ["arm", "dataset", "probabilities"]
    return found[[*first, *found.columns.difference(first, sort=False)]]


def add_recalibrated(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The predictions with a column `recalibrated`: see `recalibrate`; empty where that is not possible."""
    parts = []
    for _, part in predictions.groupby(["dataset", "arm"], sort=False):
        found = recalibrate(part["label"], part["score"], part["patient_id"], seed)
        parts.append(part.assign(recalibrated=np.nan if found is None else found))
    return pd.concat(parts, ignore_index=True)


def calibration_table(recalibrated: pd.DataFrame, n_resamples: int = 500, seed: int = 0) -> pd.DataFrame:
    """Calibration of every arm on every set, as it comes and after recalibration.

    `arm, dataset, probabilities` (as predicted, recalibrated here)`, metric` (intercept, slope, brier)`, value, ci_low,
    ci_high, n, n_patients, prevalence, ci_method, resamples_dropped` (the share without a finite value). Takes what
    `add_recalibrated` gives.
    """
    rows = []
    for about, part, scores in _each_kind(recalibrated):
        groups, method = interval_groups(part["patient_id"])
        found = calibration_ci(part["label"], scores, groups, n_resamples, seed)
        for metric in VALUES:
            dropped = found.dropped[metric]
            rows.append(metric_row(about, metric, part, getattr(found, metric), method, resamples_dropped=dropped))
    return pd.DataFrame(rows)
