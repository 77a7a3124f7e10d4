"""Arrays in, numbers out."""

from nbhelpers.metrics.discrimination import (
    Difference,
    Differences,
    Interval,
    Intervals,
    auroc,
    average_precision,
    bootstrap_ci,
    bootstrap_distribution,
    delong_ci,
    delong_test,
    holm,
    paired_bootstrap,
    prevalence,
    resample_weights,
)

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
