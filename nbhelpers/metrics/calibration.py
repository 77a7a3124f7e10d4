"""Calibration of probabilities: intercept, slope, Brier score, recalibration, and reliability."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold

from nbhelpers.errors import UserError
from nbhelpers.metrics import Interval
from nbhelpers.metrics.bootstrap import checked_labels, checked_scores, group_codes, weight_blocks
from nbhelpers.metrics.intervals import percentile_interval, wilson

EDGE = 1e-6  # probabilities are kept this far from 0 and 1, where the logit has no value
FOLDS = 5
BINS = 10
STEPS = 60  # of the fit, and halvings of each, at most; 5 to 10 are usual
Floats = NDArray[np.float64]
VALUES = ("intercept", "slope", "brier")


class Calibration(NamedTuple):
    """Intercept (0 is right; above 0, probabilities are too low), slope (1 is right; below 1, too extreme), Brier."""

    intercept: Interval
    slope: Interval
    brier: Interval
    dropped: dict[str, float]  # share of the resamples in which a value has no finite maximum, by name


def logit(s: ArrayLike) -> Floats:
    """Log odds of probabilities, kept `EDGE` from 0 and 1; anything outside 0 to 1 is a `UserError`."""
    scores = np.asarray(s, dtype=np.float64)
    if ((scores < 0) | (scores > 1)).any():
        raise UserError("scores outside 0 to 1 are no probabilities", "s", "give probabilities")
    inner = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(inner / (1 - inner))


def _log_likelihood(labels: NDArray[np.int64], eta: Floats, weights: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Weighted log-likelihood of each row `(rows,)`, and the probabilities `(rows, n)`, without overflow."""
    small = np.exp(-np.abs(eta))
    p = np.where(eta >= 0, 1.0, small) / (1 + small)
    return np.einsum("rn,rn->r", weights, labels * eta - np.maximum(eta, 0) - np.log1p(small)), p


def _separated(labels: NDArray[np.int64], odds: Floats, weights: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows in which no score of one class lies above one of the other, or all are equal: there the slope is infinite.

    The classes must overlap strictly for a finite maximum: Albert, Anderson, Biometrika 71 (1984) 1-10.
    """
    ends = []
    for value in (0, 1):
        mine = weights[:, labels == value] > 0
        here = odds[labels == value]
        ends.append((np.where(mine, here, np.inf).min(axis=1), np.where(mine, here, -np.inf).max(axis=1)))
    (low0, high0), (low1, high1) = ends
    return (high0 <= low1) | (high1 <= low0)


def _fit(
    labels: NDArray[np.int64],
    odds: Floats,
    weights: NDArray[np.int64],
    slope: bool,
    start: tuple[float, float] | None = None,
) -> Floats:
    """Maximum likelihood of `logit P = a + b x odds` under each row of weights, `(2, rows)`; b is 1 unless `slope`.

    Newton's method from the prevalence with slope 0, or from `start`; a step that lowers the likelihood is halved until
    it does not, so that scores of any spread converge. NaN where there is no finite maximum: the classes are separated,
    or the score is constant.
    """
    share = (weights @ labels) / weights.sum(axis=1)
    base = np.log(share) - np.log1p(-share)
    if start is not None and np.isfinite(start).all():
        a, b = (np.full(len(weights), value) for value in start)
    else:
        a, b = (base, np.zeros(len(weights))) if slope else (np.zeros(len(weights)), np.ones(len(weights)))
    found = np.full((2, len(weights)), np.nan)
    left = np.flatnonzero(~_separated(labels, odds, weights)) if slope else np.arange(len(weights))
    a, b, weights = a[left], b[left], weights[left]
    level, p = _log_likelihood(labels, a[:, None] + b[:, None] * odds, weights)
    for _ in range(STEPS):
        if not left.size:
            break
        rest, curve = weights * (labels - p), weights * p * (1 - p)
        g0, h00 = rest.sum(axis=1), curve.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            if slope:
                g1, h01, h11 = rest @ odds, curve @ odds, curve @ odds**2
                det = h00 * h11 - h01**2
                step_a, step_b = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
            else:
                step_a, step_b = g0 / h00, np.zeros(len(left))
        usable = np.isfinite(step_a) & np.isfinite(step_b)
        small = usable & (np.abs(step_a) < 1e-9 * (1 + np.abs(a))) & (np.abs(step_b) < 1e-9 * (1 + np.abs(b)))
        found[:, left[small]] = a[small] + step_a[small], b[small] + step_b[small]
        go = usable & ~small
        left, a, b, weights, level = left[go], a[go], b[go], weights[go], level[go]
        step_a, step_b, size = step_a[go], step_b[go], np.ones(len(left))
        # Rounding moves the likelihood in its last digits; below that a step counts as no worse.
        slack = 1e-12 * (1 + np.abs(level))
        for _ in range(STEPS):
            tried, p = _log_likelihood(
                labels, (a + size * step_a)[:, None] + (b + size * step_b)[:, None] * odds, weights
            )
            worse = ~(tried >= level - slack)
            if not worse.any():
                break
            size[worse] /= 2
        a, b, level = a + size * step_a, b + size * step_b, tried
    return found


def calibration_ci(
    y: ArrayLike, s: ArrayLike, groups: ArrayLike | None = None, n_resamples: int = 500, seed: int = 0
) -> Calibration:
    """Calibration intercept, slope and Brier score with 95 % percentile bootstrap intervals.

    The slope is b in `logit P(y) = a + b logit(s)`; the intercept is a with b held at 1 (calibration in the large). See
    Van Calster et al., BMC Medicine 17 (2019) 230. The Brier score is the mean squared error of the probability.

    With `groups` whole patients are drawn. Where the classes are separated by the score, the slope has no finite value
    and is NaN; resamples in which they are are left out of its interval, and `dropped` tells their share. Films of one
    single patient give no interval.
    """
    labels = checked_labels(y)
    scores = checked_scores(s, len(labels), "s")
    odds, error = logit(scores), (scores - labels) ** 2

    whole = np.ones((1, len(labels)), dtype=np.int64)
    (a, b), (shift, _) = (_fit(labels, odds, whole, slope)[:, 0] for slope in (True, False))

    def three(weights: NDArray[np.int64]) -> Floats:
        # All films' own fit is near that of a resample: a step or two are left.
        slope = _fit(labels, odds, weights, True, (a, b))[1]
        intercept = _fit(labels, odds, weights, False, (shift, 1.0))[0]
        return np.stack([intercept, slope, weights @ error / weights.sum(axis=1)])

    values = [shift, b, error.mean()]
    one_group = groups is not None and len(np.unique(group_codes(groups, len(labels)))) == 1
    blocks = [] if one_group else weight_blocks(labels, groups, n_resamples, seed)
    spread = np.concatenate([np.empty((3, 0)), *(three(block) for block in blocks)], axis=1)
    found, dropped = [], {}
    for name, value, resampled in zip(VALUES, values, spread, strict=True):
        ends = percentile_interval(resampled) if np.isfinite(value) else (np.nan, np.nan)
        found.append(Interval(float(value), *ends))
        dropped[name] = 1 - np.isfinite(resampled).sum() / resampled.size if resampled.size else 0.0
    intercept, slope, brier = found
    return Calibration(intercept, slope, brier, dropped)


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


def reliability(y: ArrayLike, s: ArrayLike, groups: ArrayLike | None = None, bins: int = BINS) -> pd.DataFrame:
    """Observed share of pneumonia against mean probability, in bins of equal numbers of films.

    `bin, n, n_clusters, mean_score, observed, ci_low, ci_high`: Wilson's interval, whose n is the number of patients in
    the bin where `groups` tells them (a film without one counts alone), since films of a patient are no independent
    evidence. Equal scores are never split, so there may be fewer bins.
    """
    labels = checked_labels(y)
    scores = checked_scores(s, len(labels), "s")
    patients = group_codes(groups, len(labels))
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1]))
    codes = np.searchsorted(edges, scores, side="right")
    rows = []
    for number, code in enumerate(np.unique(codes)):
        inside = codes == code
        clusters, share = len(np.unique(patients[inside])), float(labels[inside].mean())
        low, high = wilson(share * clusters, clusters)
        rows.append(
            {
                **{"bin": number, "n": int(inside.sum()), "n_clusters": clusters},
                **{"mean_score": float(scores[inside].mean()), "observed": share, "ci_low": low, "ci_high": high},
            }
        )
    return pd.DataFrame(rows)
