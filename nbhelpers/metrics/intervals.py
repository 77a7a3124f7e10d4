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


def side_of_zero(differences: ArrayLike, level: float = 0.95, certainty: float = 3.29) -> str:
    """On which side of 0 the interval of a bootstrap distribution lies, unless its resamples are too few to tell.

    Each end is a quantile of finitely many resamples: its rank is uncertain by the binomial standard error, of which
    `certainty` (3.29: 99.9 %) are allowed for. Another seed then gives another verdict in hardly any case.

    Returns
    -------
    str
        `above`, `below`, `around` (0 lies inside, or there is none), or `open`: 0 lies where the end itself may be.
    """
    values = np.asarray(differences, dtype=np.float64)
    known = np.sort(values[np.isfinite(values)])
    if not known.size:
        return "around"

    def between(quantile: float) -> tuple[float, float]:
        rank, error = quantile * (known.size - 1), certainty * np.sqrt(known.size * quantile * (1 - quantile))
        ends = np.clip([np.floor(rank - error), np.ceil(rank + error)], 0, known.size - 1).astype(int)
        return float(known[ends[0]]), float(known[ends[1]])

    (lowest, low), (high, highest) = between((1 - level) / 2), between((1 + level) / 2)
    if lowest > 0:
        return "above"
    if highest < 0:
        return "below"
    return "around" if low <= 0 <= high else "open"


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (JASA 22 (1927) 209-212); NaN when `n` is 0."""
    if n == 0:
        return float("nan"), float("nan")
    z = float(ndtri(0.975))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))
