"""Calibration: do probabilities mean what they say, and do they after a recalibration on the films themselves?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold

from nbhelpers.bootstrap import checked_labels, checked_scores, group_codes, percentile_interval, weight_blocks
from nbhelpers.errors import UserError
from nbhelpers.metrics import Interval
from nbhelpers.operating_point import wilson

EDGE = 1e-6  # probabilities are kept this far from 0 and 1, where the logit has no value
FOLDS = 5
BINS = 10

Floats = NDArray[np.float64]


class Calibration(NamedTuple):
    """Intercept (0 is right; above 0, probabilities are too low), slope (1 is right; below 1, too extreme), Brier."""

    intercept: Interval
    slope: Interval
    brier: Interval


def logit(s: ArrayLike) -> Floats:
    """Log odds of probabilities, kept `EDGE` from 0 and 1; anything outside 0 to 1 is a `UserError`."""
    scores = np.asarray(s, dtype=np.float64)
    if ((scores < 0) | (scores > 1)).any():
        raise UserError("scores outside 0 to 1 are no probabilities", "s", "give probabilities")
    inner = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(inner / (1 - inner))


def _fit(labels: NDArray[np.int64], odds: Floats, weights: NDArray[np.int64], slope: bool) -> Floats:
    """Maximum likelihood of `logit P = a + b x odds` under each row of weights, `(2, rows)`; b is 1 unless `slope`.

    Newton's method, halving steps that would overshoot; NaN where it does not settle (the classes are separated).
    """
    a, b = np.zeros(len(weights)), np.ones(len(weights))
    settled = np.zeros(len(weights), dtype=bool)
    for _ in range(40):
        p = 1 / (1 + np.exp(-np.clip(a[:, None] + b[:, None] * odds, -35, 35)))
        rest, curve = weights * (labels - p), weights * p * (1 - p)
        g0, h00 = rest.sum(axis=1), curve.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            if slope:
                g1, h01, h11 = rest @ odds, curve @ odds, curve @ odds**2
                det = h00 * h11 - h01**2
                step_a, step_b = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
            else:
                step_a, step_b = g0 / h00, np.zeros(len(weights))
        size = np.maximum(np.abs(step_a), np.abs(step_b))
        scale = np.minimum(1, 2 / np.maximum(size, 1e-12))
        a, b = a + scale * step_a, b + scale * step_b
        settled = size < 1e-9
        if settled.all() or not np.isfinite(size).any():
            break
    return np.where(settled, np.stack([a, b]), np.nan)


def calibration_ci(
    y: ArrayLike, s: ArrayLike, groups: ArrayLike | None = None, n_resamples: int = 500, seed: int = 0
) -> Calibration:
    """Calibration intercept, slope and Brier score with 95 % percentile bootstrap intervals.

    The slope is b in `logit P(y) = a + b logit(s)`; the intercept is a with b held at 1 (calibration in the large). See
    Van Calster et al., BMC Medicine 17 (2019) 230. The Brier score is the mean squared error of the probability.

    Parameters
    ----------
    y, s : array of shape (n,)
        Labels 0/1, and probabilities.
    groups : array of shape (n,), optional
        Patients, drawn whole.

    Where the classes are separated by the score, the slope has no finite value and is NaN.
    """
    labels = checked_labels(y)
    scores = checked_scores(s, len(labels), "s")
    odds, error = logit(scores), (scores - labels) ** 2

    def three(weights: NDArray[np.int64]) -> Floats:
        slope = _fit(labels, odds, weights, slope=True)[1] if np.ptp(odds) > 1e-12 else np.full(len(weights), np.nan)
        intercept = _fit(labels, odds, weights, slope=False)[0]
        return np.stack([intercept, slope, weights @ error / weights.sum(axis=1)])

    values = three(np.ones((1, len(labels)), dtype=np.int64))[:, 0]
    spread = np.concatenate([three(block) for block in weight_blocks(labels, groups, n_resamples, seed)], axis=1)
    found = []
    for value, resampled in zip(values, spread, strict=True):
        known = resampled[np.isfinite(resampled)]
        ends = percentile_interval(known) if known.size and np.isfinite(value) else (np.nan, np.nan)
        found.append(Interval(float(value), *ends))
    return Calibration(*found)


def recalibrate(y: ArrayLike, s: ArrayLike, groups: ArrayLike | None = None, seed: int = 0) -> Floats | None:
    """Probabilities after a logistic recalibration (Platt) on the same set, out of fold by patients.

    Each film's probability comes from an intercept and a slope that were fitted without its patient. This uses the
    set's labels: it tells what a local recalibration could reach, not what the arm brings along. None where a class
    has fewer than two patients, or where the fit does not settle.
    """
    labels = checked_labels(y)
    odds = logit(checked_scores(s, len(labels), "s"))
    codes = group_codes(groups, len(labels))
    folds = min(FOLDS, *(len(np.unique(codes[labels == value])) for value in (0, 1)))
    if folds < 2:
        return None
    found = np.full(len(labels), np.nan)
    for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(odds, labels, codes):
        a, b = _fit(labels[train], odds[train], np.ones((1, len(train)), dtype=np.int64), slope=True)[:, 0]
        found[test] = 1 / (1 + np.exp(-(a + b * odds[test])))
    return found if np.isfinite(found).all() else None


def reliability(y: ArrayLike, s: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """Observed share of pneumonia against mean probability, in bins of equal numbers of films.

    `bin, n, mean_score, observed, ci_low, ci_high` (Wilson). Equal scores are never split, so there may be fewer bins.
    """
    labels = checked_labels(y)
    scores = checked_scores(s, len(labels), "s")
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1]))
    codes = np.searchsorted(edges, scores, side="right")
    rows = []
    for number, code in enumerate(np.unique(codes)):
        inside = codes == code
        low, high = wilson(float(labels[inside].sum()), int(inside.sum()))
        rows.append(
            {
                **{"bin": number, "n": int(inside.sum()), "mean_score": float(scores[inside].mean())},
                **{"observed": float(labels[inside].mean()), "ci_low": low, "ci_high": high},
            }
        )
    return pd.DataFrame(rows)


def add_recalibrated(predictions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The predictions with a column `recalibrated`: see `recalibrate`; empty where that is not possible."""
    parts = []
    for _, part in predictions.groupby(["dataset", "arm"], sort=False):
        found = recalibrate(part["label"], part["score"], part["patient_id"], seed)
        parts.append(part.assign(recalibrated=np.nan if found is None else found))
    return pd.concat(parts, ignore_index=True)


def table(recalibrated: pd.DataFrame, n_resamples: int = 500, seed: int = 0) -> pd.DataFrame:
    """Calibration of every arm on every set, as it comes and after recalibration.

    `arm, dataset, probabilities` (as they come, recalibrated here)`, metric` (intercept, slope, brier)`, value, ci_low,
    ci_high, n, n_patients, prevalence, ci_method`. Takes what `add_recalibrated` gives.
    """
    rows = []
    for (dataset, arm), part in recalibrated.groupby(["dataset", "arm"], sort=False):
        clustered = len(part["patient_id"].dropna().unique()) > 1
        for column, text in (("score", "as they come"), ("recalibrated", "recalibrated here")):
            if part[column].isna().any():
                continue
            groups = part["patient_id"] if clustered else None
            found = calibration_ci(part["label"], part[column], groups, n_resamples, seed)
            for metric, interval in found._asdict().items():
                rows.append(
                    {
                        **{"arm": arm, "dataset": dataset, "probabilities": text, "metric": metric},
                        **{"value": interval.value, "ci_low": interval.low, "ci_high": interval.high, "n": len(part)},
                        "n_patients": part["patient_id"].nunique() or None,
                        "prevalence": part["label"].mean(),
                        "ci_method": "bootstrap_patient" if clustered else "bootstrap_image",
                    }
                )
    return pd.DataFrame(rows)


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """The table as a reader wants it: a row an arm, set and kind of probabilities."""
    rows = []
    for (dataset, arm, kind), part in found.groupby(["dataset", "arm", "probabilities"], sort=False):
        text = {
            row["metric"]: "no finite value"
            if np.isnan(row["value"])
            else f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
            for row in part.to_dict("records")
        }
        rows.append({"dataset": dataset, "arm": arm, "probabilities": kind, **text})
    return pd.DataFrame(rows)
