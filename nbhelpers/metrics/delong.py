"""DeLong's variance of the AUROC, and of the difference of two on the same films, in O(n log n).

DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837-845; by midranks: Sun, Xu, IEEE Signal Processing Letters 21
(2014) 1389-1393. Films are taken as independent: where patients have several, the clustered bootstrap is the one to
quote.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from nbhelpers.errors import UserError
from nbhelpers.metrics.bootstrap import checked_labels, checked_scores
from nbhelpers.metrics.intervals import Difference, Interval

Floats = NDArray[np.float64]


class Components(NamedTuple):
    """AUROC, and DeLong's structural components: of each positive film (`v10`) and of each negative film (`v01`)."""

    auroc: float
    v10: Floats
    v01: Floats


def components(labels: NDArray[np.int64], scores: Floats) -> Components:
    """AUROC and its structural components; labels 0/1 and finite scores, both of shape `(n,)`.

    A positive film's component is the share of negatives that it scores above, ties counted half; a negative film's
    the share of positives that score above it. The rank among all less the rank among its own counts exactly these.
    """
    positive = labels == 1
    ranks = rankdata(scores)
    m, n = int(positive.sum()), int((~positive).sum())
    v10 = (ranks[positive] - rankdata(scores[positive])) / n
    v01 = 1 - (ranks[~positive] - rankdata(scores[~positive])) / m
    return Components(float(v10.mean()), v10, v01)


def covariance(parts: list[Components]) -> Floats:
    """Covariance matrix of the AUROCs of several scores on the same films."""
    v10, v01 = (np.stack(rows) for rows in ([p.v10 for p in parts], [p.v01 for p in parts]))
    if v10.shape[1] < 2 or v01.shape[1] < 2:
        raise UserError("DeLong's variance needs two films of each class", "y", "use more films")
    return np.atleast_2d(np.cov(v10)) / v10.shape[1] + np.atleast_2d(np.cov(v01)) / v01.shape[1]


def delong_ci(y: ArrayLike, s: ArrayLike) -> Interval:
    """AUROC with DeLong's 95 % interval (normal, cut off at 0 and 1), films taken as independent.

    Errors as in `auroc`; each class needs two films. At an AUROC of exactly 0 or 1 the variance is 0 and so is the
    interval's length: with few films, no assurance.
    """
    labels = checked_labels(y)
    part = components(labels, checked_scores(s, len(labels), "s"))
    half = float(ndtri(0.975)) * float(np.sqrt(covariance([part])[0, 0]))
    return Interval(part.auroc, max(part.auroc - half, 0.0), min(part.auroc + half, 1.0))


def delong_test(y: ArrayLike, s_a: ArrayLike, s_b: ArrayLike) -> Difference:
    """AUROC of `s_a` less that of `s_b` on the same films: DeLong's paired test, its 95 % interval and p value.

    Films are taken as independent. Two scores that rank all films alike differ by nothing: p is then 1. Errors as in
    `auroc`; each class needs two films.
    """
    labels = checked_labels(y)
    parts = [components(labels, checked_scores(s, len(labels), name)) for s, name in ((s_a, "s_a"), (s_b, "s_b"))]
    matrix = covariance(parts)
    value = parts[0].auroc - parts[1].auroc
    variance = float(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    # Rounding may leave a variance of nothing at 1e-18, and the quotient would be anything.
    if variance <= 1e-15:
        return Difference(value, value, value, 1.0 if abs(value) < 1e-12 else 0.0)
    error = float(np.sqrt(variance))
    half = float(ndtri(0.975)) * error
    return Difference(value, value - half, value + half, float(2 * ndtr(-abs(value) / error)))


def holm(p_values: ArrayLike) -> Floats:
    """p values adjusted by Holm's step-down method, in the order given; NaN stays NaN and is not counted.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65-70. Valid whatever the dependence between the tests.
    """
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise UserError("p values outside 0 to 1", "p_values", "check the tests")
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = np.full(values.shape, np.nan)
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return adjusted
