"""AUROC and AUPR with intervals: of one score, and of the difference between two on the same films."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from nbhelpers.metrics.bootstrap import bootstrap_distribution, checked_labels, distributions, metrics_of
from nbhelpers.metrics.intervals import Difference, Differences, Interval, Intervals, percentile_interval

METRICS = ("auroc", "aupr")


def auroc(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive film scores above a negative one, ties counted half.

    Parameters
    ----------
    y_true : array of shape (n,)
        Labels, 0 or 1, both present.
    y_score : array of shape (n,)
        Finite scores, higher for the positive class.

    Raises
    ------
    UserError
        For NaN or infinite scores, one class only, labels other than 0 and 1, or lengths that differ.
    """
    return metrics_of(y_true, y_score)[0]


def average_precision(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Average precision (AUPR): the sum of precision times the step in recall over distinct scores.

    Arguments and errors as in `auroc`. A non-informative classifier reaches the prevalence.
    """
    return metrics_of(y_true, y_score)[1]


def prevalence(y_true: ArrayLike) -> float:
    """Share of positive films: what a non-informative classifier reaches in AUPR."""
    return float(checked_labels(y_true).mean())


def bootstrap_ci(
    y_true: ArrayLike,
    y_score: ArrayLike,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Intervals:
    """AUROC and AUPR with 95 % percentile bootstrap intervals.

    Parameters
    ----------
    y_true, y_score : array of shape (n,)
        As in `auroc`.
    groups : array of shape (n,), optional
        The patient of each film. Whole patients are then drawn, since films of one patient are no independent
        evidence; a film without one (None, NaN) is a patient of its own. Without it, films are drawn.
    n_resamples : int
        Resamples that count; one with a single class has no AUROC and is drawn again.
    seed : int
        The same seed gives the same resamples for every score, so that results of two arms can be set side by side.

    Returns
    -------
    Intervals
        `result["auroc"]` and `result["aupr"]` (or `.auroc`, `.aupr`), each an `Interval(value, low, high)`. The value
        is the metric on all films; low and high are the 2.5 % and 97.5 % quantiles over resamples.

    Raises
    ------
    UserError
        As `auroc`, and when all films belong to one patient.
    """
    return intervals_of_each(y_true, [y_score], groups, "", n_resamples, seed)[0]


def intervals_of_each(
    y_true: ArrayLike, scores: Sequence[ArrayLike], groups: ArrayLike | None, method: str, n_resamples: int, seed: int
) -> list[Intervals]:
    """`bootstrap_ci` of several scores on the same resamples, without interval where `interval_groups` says so."""
    spreads = distributions(y_true, scores, groups, method, n_resamples, seed)
    return [
        Intervals(
            {
                name: Interval(value, *percentile_interval(resampled))
                for name, value, resampled in zip(METRICS, metrics_of(y_true, score), spread, strict=True)
            }
        )
        for score, spread in zip(scores, spreads, strict=True)
    ]


def paired_bootstrap(
    y: ArrayLike,
    s_a: ArrayLike,
    s_b: ArrayLike,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Differences:
    """AUROC and AUPR of `s_a` less those of `s_b`, both on the same resamples of the same films (or patients).

    Arguments, resampling and errors as in `bootstrap_ci`.

    Returns
    -------
    Differences
        `result["auroc"]` and `result["aupr"]` (or `.auroc`, `.aupr`), each a `Difference(value, low, high, p_value)`:
        percentile interval, and the p value that belongs to it, twice the smaller share of resamples on either side of
        no difference, (1 + count) / (1 + n_resamples), at most 1.
    """
    values = zip(metrics_of(y, s_a), metrics_of(y, s_b), strict=True)
    a, b = bootstrap_distribution(y, [s_a, s_b], groups, n_resamples, seed)
    found = Differences()
    for name, of_a, of_b, (value_a, value_b) in zip(METRICS, a, b, values, strict=True):
        spread = of_a - of_b
        below, above = int((spread <= 0).sum()), int((spread >= 0).sum())
        p_value = min(2 * (1 + min(below, above)) / (1 + n_resamples), 1.0)
        found[name] = Difference(value_a - value_b, *percentile_interval(spread), p_value)
    return found
