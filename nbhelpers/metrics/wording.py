"""Intervals, verdicts and p values as every table and report words them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

UNDECIDED = "not distinguishable from"
OPEN = "too close to decide, with this many resamples, against"
# How an interval or a test was made, in the words of reports.
METHODS = {
    "bootstrap_image": "bootstrap over films",
    "bootstrap_patient": "bootstrap over patients",
    "paired_bootstrap_image": "paired bootstrap over films",
    "paired_bootstrap_patient": "paired bootstrap over patients",
    "delong": "DeLong",
    "paired_delong": "paired DeLong",
    "wilson": "Wilson",
    "wilson_patient": "Wilson over patients",
    "too_few": "none: too few patients",
}


def verdict(found: str) -> str:
    """The verdict of `evaluation.compare_with_baselines` in the report's words."""
    return found if found in ("beats", "falls below") else OPEN if found == f"is {OPEN}" else UNDECIDED


def method(name: object) -> str:
    """How an interval or a test was made, in words."""
    return METHODS.get(str(name), str(name).replace("_", " "))


def p_floor(n_resamples: int) -> float:
    """The smallest p value that `metrics.paired_bootstrap` can give."""
    return 2 / (1 + n_resamples)


def p_text(value: float, at_floor: bool = False) -> str:
    """A p value with three decimals: `0.042`, `< 0.001`, and `<= 0.001` where the method can tell no less."""
    if math.isnan(value):
        return ""
    if at_floor:
        return f"<= {value:.3f}"
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"


def interval(value: float, low: float = math.nan, high: float = math.nan, digits: int = 3) -> str:
    """`0.812 (0.790 to 0.834)`; the value alone where it has no interval, `not estimated` where there is neither."""
    if math.isnan(value):
        return "not estimated"
    return f"{value:z.{digits}f}" + ("" if math.isnan(low) else f" ({low:z.{digits}f} to {high:z.{digits}f})")


def difference(value: float, low: float, high: float) -> str:
    """`+0.012 (-0.010 to +0.034)`; the value alone where it has no interval, empty where there is neither."""
    if math.isnan(value):
        return ""
    return f"{value:+z.3f}" + ("" if math.isnan(low) else f" ({low:+z.3f} to {high:+z.3f})")


def in_words(
    how: Callable[[float, float, float], str], table: pd.DataFrame, columns: tuple[str, str, str]
) -> list[str]:
    """`interval` or `difference` of every row of a table; `columns` hold value, low and high."""
    return [how(*cells) for cells in table[list(columns)].to_numpy(dtype=float)]
