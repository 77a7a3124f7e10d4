"""An operating point chosen on synthetic images, frozen, and taken to real films."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from nbhelpers.errors import UserError
from nbhelpers.metrics import Interval
from nbhelpers.metrics.bootstrap import (
    checked_labels,
    checked_scores,
    group_codes,
    interval_groups,
    percentile_interval,
    weight_blocks,
)
from nbhelpers.runs.tables import read_table

RATES = ("sensitivity", "specificity", "ppv", "npv")
VALIDATION = "validation.csv"  # in a network's folder: `label, score` of images that are not evaluated
SYNTHETIC = "synthetic validation images"


def choose_threshold(y: ArrayLike, s: ArrayLike, sensitivity: float | None = None) -> float:
    """The score at or above which a film is called pneumonia.

    Parameters
    ----------
    y, s : array of shape (n,)
        Labels and scores of synthetic validation images; never those of the films that are then judged.
    sensitivity : float, optional
        The highest threshold that reaches this sensitivity. When None, the one with the largest sensitivity plus
        specificity (Youden, Cancer 3 (1950) 32-35); among equals, the one in the middle.

    Returns
    -------
    float
        Half way between two neighbouring scores, so that rounding decides nothing.
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


def thresholds(folders: Mapping[str, Path], sensitivity: float | None = None) -> pd.DataFrame:
    """Each arm's threshold from the `validation.csv` of its folder, as `checkpoints.folders` names it.

    A network without one (the user's own, say) gets no threshold: the films themselves must not choose it; `missing`
    says so.

    Returns
    -------
    DataFrame
        `arm, threshold, rule, chosen_on` (what the validation images are), sensitivity and specificity on them
        (`synthetic_sensitivity`, `synthetic_specificity`), and their number `synthetic_images`. An own checkpoint's
        validation set need not be synthetic: `chosen_on` decides.
    """
    rows = []
    for arm, folder in folders.items():
        if not (folder / VALIDATION).is_file():
            continue
        table = read_table(folder / VALIDATION)
        label, score = table["label"].to_numpy(), table["score"].to_numpy()
        threshold = choose_threshold(label, score, sensitivity)
        found = rates(label, score, threshold)
        rows.append(
            {
                "arm": arm,
                "threshold": threshold,
                "rule": "Youden" if sensitivity is None else f"sensitivity {sensitivity:g}",
                "chosen_on": str(table["origin"].iloc[0]) if "origin" in table else SYNTHETIC,
                "synthetic_sensitivity": found["sensitivity"],
                "synthetic_specificity": found["specificity"],
                "synthetic_images": len(table),
            }
        )
    columns = ["arm", "threshold", "rule", "chosen_on", "synthetic_sensitivity", "synthetic_specificity"]
    return pd.DataFrame(rows, columns=[*columns, "synthetic_images"])


def missing(folders: Mapping[str, Path], chosen: pd.DataFrame) -> list[str]:
    """A line for each network that has no operating point, saying why and what to do; or that all have one."""
    lines = [
        f"{arm}: no operating point, since its folder holds no {VALIDATION}; python -m nbhelpers.networks.own_checkpoint stores "
        "one with --validation"
        for arm in folders
        if arm not in set(chosen["arm"])
    ]
    return lines or ["every network has an operating point: ok"]


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
        known = resampled[np.isfinite(resampled)]
        ends = float("nan"), float("nan")
        if n > 1 and value in (0.0, 1.0):
            ends = wilson(float(value) * n, n)
        elif n > 1 and known.size and np.isfinite(value):
            ends = percentile_interval(known)
        found[name] = Interval(float(value), *ends)
    return found


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (JASA 22 (1927) 209-212); NaN when `n` is 0."""
    if n == 0:
        return float("nan"), float("nan")
    z = float(ndtri((1 + level) / 2))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


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


def transfer_table(
    predictions: pd.DataFrame, chosen: pd.DataFrame, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The frozen thresholds on every set, in the columns of `metrics.csv` and `threshold`.

    `metric` is one of `RATES`; `ci_method` is `bootstrap_patient` where patients are known (`wilson_patient` for a rate
    of 0 or 1, `too_few` where one patient is all there is), else `wilson`. Arms without a threshold have no rows.
    """
    at = dict(zip(chosen["arm"], chosen["threshold"], strict=True))
    rows = []
    for (dataset, arm), part in predictions.groupby(["dataset", "arm"], sort=False):
        if arm not in at:
            continue
        groups, _ = interval_groups(part["patient_id"])
        for name, interval in rates_ci(part["label"], part["score"], at[arm], groups, n_resamples, seed).items():
            rows.append(
                {
                    **{"arm": arm, "dataset": dataset, "subgroup": "all", "metric": name, "value": interval.value},
                    **{"ci_low": interval.low, "ci_high": interval.high, "n": len(part)},
                    "n_patients": part["patient_id"].nunique() or None,
                    "prevalence": part["label"].mean(),
                    **{"ci_method": _method(interval, groups is not None), "primary": True},
                    "threshold": at[arm],
                }
            )
    columns = ["arm", "dataset", "subgroup", "metric", "value", "ci_low", "ci_high", "n", "n_patients", "prevalence"]
    return pd.DataFrame(rows, columns=[*columns, "ci_method", "primary", "threshold"])


def _method(found: Interval, by_patient: bool) -> str:
    if not by_patient:
        return "wilson"
    if np.isfinite(found.value) and np.isnan(found.low):
        return "too_few"
    return "wilson_patient" if found.value in (0.0, 1.0) else "bootstrap_patient"


def shown(transferred: pd.DataFrame) -> pd.DataFrame:
    """The table as a reader wants it: a row an arm and set, each rate with its interval."""
    rows = []
    for (dataset, arm), part in transferred.groupby(["dataset", "arm"], sort=False):
        text = {
            row["metric"]: "undefined"
            if np.isnan(row["value"])
            else f"{row['value']:.3f} (too few patients)"
            if np.isnan(row["ci_low"])
            else f"{row['value']:.3f} ({row['ci_low']:.3f}-{row['ci_high']:.3f})"
            for row in part.to_dict("records")
        }
        rows.append({"dataset": dataset, "arm": arm, "threshold": round(float(part["threshold"].iloc[0]), 3), **text})
    return pd.DataFrame(rows, columns=["dataset", "arm", "threshold", *RATES])
