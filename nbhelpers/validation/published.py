"""What the paper reports, as reference marks. Peng, Lam, Qiu, arXiv 2512.00428."""

from __future__ import annotations

from typing import NamedTuple

from nbhelpers.metrics import Interval

CITATION = "Peng, Lam, Qiu, arXiv 2512.00428"
ARM = "cropped"  # the one arm whose figures are known to us; the paper does not say how its intervals were made


class Published(NamedTuple):
    """The published result of the cropped Nano Banana arm on one data set of `n` films."""

    n: int
    auroc: Interval
    aupr: Interval


RESULTS = {
    "rsna": Published(14_863, Interval(0.923, 0.919, 0.927), Interval(0.900, 0.894, 0.907)),
    "kermany": Published(5_856, Interval(0.824, 0.810, 0.836), Interval(0.913, 0.904, 0.922)),
}


def reference(dataset: str, n: int) -> Published | None:
    """The published result for a data set, or None.

    `n` is the number of films scored here: the figure is a reference only for the same films, within 1 %. The RSNA
    set with its third class, say, is another question.
    """
    found = RESULTS.get(dataset)
    return found if found and abs(n - found.n) <= 0.01 * found.n else None
