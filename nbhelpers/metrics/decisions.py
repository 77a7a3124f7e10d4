"""A threshold and what it decides: rates with their intervals, and decision curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbhelpers.errors import UserError
from nbhelpers.metrics import Interval
from nbhelpers.metrics.bootstrap import checked_labels, checked_scores, group_codes, weight_blocks
from nbhelpers.metrics.intervals import percentile_interval, wilson

RATES = ("sensitivity", "specificity", "ppv", "npv")


def choose_threshold(y: ArrayLike, s: ArrayLike, sensitivity: float | None = None) -> float:
    """The score at or above which a film is called pneumonia.

    `y, s` are of synthetic validation images, never of the films that are then judged. The highest threshold that
    reaches `sensitivity`; when None, the one with the largest sensitivity plus specificity (Youden, Cancer 3 (1950)
    32-35), among equals the one in the middle. It lies half way between two neighbouring scores, so that rounding
    decides nothing.
    """
    labels = checked_labels(y)
    scores = checked_scores(s, len(labels), "s")
    if sensitivity is not None and not 0 < sensitivity <= 1:
        raise UserError(f"sensitivity {sensitivity} is wanted", "target_sensitivity", "use a share above 0, up to 1")
    values = np.unique(scores)
    cuts = np.r_[values[0], (values[1:] + values[:-1]) / 2]
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    reached = 1 - np.searchsorted(positive, cuts) / len(positive)
    if sensitivity is not None:
        return float(cuts[reached >= sensitivity - 1e-12].max())
    youden = reached + np.searchsorted(negative, cuts) / len(negative)
    best = cuts[youden >= youden.max() - 1e-12]
    return float(best[len(best) // 2])


def rates(y: ArrayLike, s: ArrayLike, threshold: float) -> dict[str, float]:
    """Sensitivity, specificity, PPV and NPV when scores at or above `threshold` are called pneumonia; NaN for 0 / 0."""
    labels = checked_labels(y)
    called = checked_scores(s, len(labels), "s") >= threshold
    return dict(zip(RATES, _rates(labels, called, np.ones((1, len(labels))))[:, 0].tolist(), strict=True))


def _rates(labels: NDArray[np.int64], called: NDArray[np.bool_], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The four rates under each row of weights, `(4, rows)`."""
    cells = np.stack([(labels == a) & (called == b) for a in (1, 0) for b in (True, False)], axis=1).astype(np.float64)
    tp, fn, fp, tn = (weights @ cells).T
    with np.errstate(invalid="ignore"):
        return np.stack([tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn)])


def confusion(y: ArrayLike, s: ArrayLike, threshold: float) -> dict[str, int]:
    """How many films are true and false positives and negatives at a threshold: `tp, fn, fp, tn`."""
    labels = checked_labels(y)
    called = checked_scores(s, len(labels), "s") >= threshold
    cells = {"tp": (1, True), "fn": (1, False), "fp": (0, True), "tn": (0, False)}
    return {name: int(((labels == label) & (called == call)).sum()) for name, (label, call) in cells.items()}


def at_prevalence(sensitivity: float, specificity: float, prevalence: float) -> dict[str, float]:
    """PPV and NPV where a share `prevalence` has pneumonia, by Bayes' theorem; NaN for 0 / 0.

    Sensitivity and specificity are taken to be the same there, which another mix of patients need not leave them.
    """
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    right, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    shares = {"ppv": (true, true + false), "npv": (right, right + missed)}
    return {name: part / whole if whole > 0 else float("nan") for name, (part, whole) in shares.items()}


def rates_ci(
    y: ArrayLike,
    s: ArrayLike,
    threshold: float,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """The rates with 95 % intervals: by resampling patients where they are given, else Wilson's for a share.

    A resample in which a rate is 0 / 0 (nothing called normal, say) is left out of that rate's interval. A rate that
    is 0 / 0 on all films has NaN for value and interval. A rate of exactly 0 or 1 is that in every resample too, which
    would leave no interval: there it is Wilson's, whose n is the number of patients behind the rate. A rate that rests
    on one single patient has no interval (NaN) when patients are given.
    """
    labels = checked_labels(y)
    called = checked_scores(s, len(labels), "s") >= threshold
    values = _rates(labels, called, np.ones((1, len(labels))))[:, 0]
    bases = (labels == 1, labels == 0, called, ~called)
    codes = group_codes(groups, len(labels))
    numbers = [len(np.unique(codes[base])) for base in bases]
    if groups is None:
        return {
            name: Interval(float(value), *wilson(float(value) * n, n))
            for name, value, n in zip(RATES, values, numbers, strict=True)
        }
    blocks = weight_blocks(labels, groups, n_resamples, seed) if len(np.unique(codes)) > 1 else []
    spread = np.concatenate([np.empty((4, 0)), *(_rates(labels, called, block) for block in blocks)], axis=1)
    found = {}
    for name, value, resampled, n in zip(RATES, values, spread, numbers, strict=True):
        ends = float("nan"), float("nan")
        if n > 1 and value in (0.0, 1.0):
            ends = wilson(float(value) * n, n)
        elif n > 1 and np.isfinite(value):
            ends = percentile_interval(resampled)
        found[name] = Interval(float(value), *ends)
    return found


def decision_curve(y: ArrayLike, s: ArrayLike, at: ArrayLike | None = None) -> pd.DataFrame:
    """Net benefit over threshold probabilities: `threshold, net_benefit, treat_all`; treating none has 0.

    TP / n - FP / n x t / (1 - t) (Vickers, Elkin, Medical Decision Making 26 (2006) 565-574). `s` are probabilities;
    a film counts as treated when its probability is at or above t.
    """
    labels = checked_labels(y)
    scores = checked_scores(s, len(labels), "s")
    marks = np.linspace(0.05, 0.95, 91) if at is None else np.asarray(at, dtype=np.float64)
    if ((marks <= 0) | (marks >= 1)).any():
        raise UserError("threshold probabilities must lie between 0 and 1", "at", "leave the ends out")
    called = scores[None, :] >= marks[:, None]
    true, false = (called & (labels == 1)).mean(axis=1), (called & (labels == 0)).mean(axis=1)
    odds = marks / (1 - marks)
    share = labels.mean()
    return pd.DataFrame(
        {"threshold": marks, "net_benefit": true - false * odds, "treat_all": share - (1 - share) * odds}
    )
