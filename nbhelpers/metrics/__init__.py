"""Arrays in, numbers out: no file, no table of a run. May import `errors` alone.

What the library promises stands here: it is handed on from the modules.

- `discrimination`: AUROC, AUPR, and their intervals and differences.
- `bootstrap`: resamples of films or patients; `delong`: DeLong's variance, and Holm's correction.
- `decisions`: thresholds, rates, decision curves; `calibration`: slope, intercept, Brier, reliability.
- `overlap`: maps and masks against masks; `surface`: distances between their outlines (HD95, NSD).
- `intervals`: values with their intervals; `wording`: these, verdicts and p values in words.
"""

from nbhelpers.metrics.bootstrap import bootstrap_distribution, resample_weights
from nbhelpers.metrics.delong import delong_ci, delong_test, holm
from nbhelpers.metrics.discrimination import (
    auroc,
    average_precision,
    bootstrap_ci,
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
