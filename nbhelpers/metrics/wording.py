"""Verdicts and p values as every table and report words them."""

from __future__ import annotations

import math

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
