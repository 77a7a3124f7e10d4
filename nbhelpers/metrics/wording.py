"""Verdicts and p values as every table and report words them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

UNDECIDED = "not distinguishable from"


def verdict(found: str) -> str:
    """The verdict of `evaluation.compare_with_baselines` in the report's words: beats, falls below, or neither."""
    return found if found in ("beats", "falls below") else UNDECIDED


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


def signed(table: pd.DataFrame, value: str, low: str, high: str) -> list[str]:
    """Differences with their intervals, from three columns of a table; empty where there is no value."""
    cells = table[[value, low, high]].to_numpy(dtype=float)
    return ["" if np.isnan(middle) else f"{middle:+.3f} ({down:+.3f} to {up:+.3f})" for middle, down, up in cells]


def ranged(table: pd.DataFrame, name: str) -> list[str]:
    """Values with their ranges, from the columns `name`, `name_low` and `name_high` of a table."""
    cells = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float)
    return [f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in cells + 0.0]  # no -0.000
