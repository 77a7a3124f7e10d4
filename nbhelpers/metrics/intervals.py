"""Values with their intervals, and the intervals that need no resampling."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from nbhelpers.metrics import wording


class Interval(NamedTuple):
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return wording.interval(*self)


class Intervals(dict[str, Interval]):
    """`{"auroc": Interval, "aupr": Interval}`, readable as attributes too."""

    @property
    def auroc(self) -> Interval:
        """Area under the ROC curve."""
        return self["auroc"]

    @property
    def aupr(self) -> Interval:
        """Average precision."""
        return self["aupr"]


class Difference(NamedTuple):
    """A difference a - b, the ends of its 95 % interval, and the two-sided p value of "no difference"."""

    value: float
    low: float
    high: float
    p_value: float

    def __str__(self) -> str:
        return f"{wording.difference(*self[:3])}, p = {self.p_value:.3g}"


class Differences(dict[str, Difference]):
    """`{"auroc": Difference, "aupr": Difference}`, readable as attributes too."""

    @property
    def auroc(self) -> Difference:
        """Difference in the area under the ROC curve."""
        return self["auroc"]

    @property
    def aupr(self) -> Difference:
        """Difference in average precision."""
        return self["aupr"]


def percentile_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The central `level` of a bootstrap distribution: its `(1 - level) / 2` and `(1 + level) / 2` quantiles.

    Resamples without a finite value do not count; NaN where none has one.
    """
    resampled = np.asarray(values, dtype=np.float64)
    known = resampled[np.isfinite(resampled)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (JASA 22 (1927) 209-212); NaN when `n` is 0."""
    if n == 0:
        return float("nan"), float("nan")
    z = float(ndtri(0.975))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))
