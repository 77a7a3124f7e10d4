"""Arrays in, numbers out."""

from nbhelpers.metrics.bootstrap import bootstrap_distribution, resample_weights
from nbhelpers.metrics.delong import holm
from nbhelpers.metrics.discrimination import (
    auroc,
    average_precision,
    bootstrap_ci,
    delong_ci,
    delong_test,
    paired_bootstrap,
    prevalence,
)
from nbhelpers.metrics.intervals import Difference, Differences, Interval, Intervals

__all__ = [
    "Difference",
    "Differences",
    "Interval",
    "Intervals",
    "auroc",
    "average_precision",
    "bootstrap_ci",
    "bootstrap_distribution",
    "delong_ci",
    "delong_test",
    "holm",
    "paired_bootstrap",
    "prevalence",
    "resample_weights",
]
