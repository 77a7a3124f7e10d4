"""An operating point chosen on synthetic images, frozen, and taken to real films."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nbhelpers.metrics import Interval
from nbhelpers.metrics.bootstrap import interval_groups
from nbhelpers.metrics.decisions import choose_threshold, rates, rates_ci
from nbhelpers.networks.checkpoints import VALIDATION
from nbhelpers.networks.trained import Network
from nbhelpers.runs.tables import read_table
from nbhelpers.validation.rows import COLUMNS, metric_row

SYNTHETIC = "synthetic validation images"


def thresholds(networks: Mapping[str, Network], sensitivity: float | None = None) -> pd.DataFrame:
    """Each network's threshold from the `validation.csv` of its folder.

    A network without one (the user's own, say) gets no threshold: the films themselves must not choose it; `missing`
    says so.

    Returns
    -------
    DataFrame
        `arm, threshold, rule, chosen_on` (what the validation images are), sensitivity and specificity on them
        (`synthetic_sensitivity`, `synthetic_specificity`), and their number `synthetic_images`. An own checkpoint's
        validation set need not be synthetic: `chosen_on` decides.
    """
    rows = []
    for arm, network in networks.items():
        if network.folder is None or not (network.folder / VALIDATION).is_file():
            continue
        table = read_table(network.folder / VALIDATION)
        label, score = table["label"].to_numpy(), table["score"].to_numpy()
        threshold = choose_threshold(label, score, sensitivity)
        found = rates(label, score, threshold)
        rows.append(
            {
                "arm": arm,
                "threshold": threshold,
                "rule": "Youden" if sensitivity is None else f"sensitivity {sensitivity:g}",
                "chosen_on": str(table["origin"].iloc[0]) if "origin" in table else SYNTHETIC,
                "synthetic_sensitivity": found["sensitivity"],
                "synthetic_specificity": found["specificity"],
                "synthetic_images": len(table),
            }
        )
    columns = ["arm", "threshold", "rule", "chosen_on", "synthetic_sensitivity", "synthetic_specificity"]
    return pd.DataFrame(rows, columns=[*columns, "synthetic_images"])


def missing(networks: Mapping[str, Network], chosen: pd.DataFrame) -> list[str]:
    """A line for each network that has no operating point, saying why and what to do; or that all have one."""
    lines = [
        f"{arm}: no operating point, because its folder has no {VALIDATION}; "
        "python -m nbhelpers checkpoint makes one with --validation"
        for arm in networks
        if arm not in set(chosen["arm"])
    ]
    return lines or ["every network has an operating point: ok"]


def transfer_table(
    predictions: pd.DataFrame, chosen: pd.DataFrame, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The frozen thresholds on every set, in the columns of `metrics.csv` and `threshold`.

    `metric` is one of `RATES`; `ci_method` is `bootstrap_patient` where patients are known (`wilson_patient` for a rate
    of 0 or 1, `too_few` where one patient is all there is), else `wilson`. Arms without a threshold have no rows.
    """
    at = dict(zip(chosen["arm"], chosen["threshold"], strict=True))
    rows = []
    for (dataset, arm), part in predictions.groupby(["dataset", "arm"], sort=False):
        if arm not in at:
            continue
        groups, _ = interval_groups(part["patient_id"])
        for name, interval in rates_ci(part["label"], part["score"], at[arm], groups, n_resamples, seed).items():
            about = {"arm": arm, "dataset": dataset, "subgroup": "all"}
            method = _method(interval, groups is not None)
            rows.append(metric_row(about, name, part, interval, method, primary=True, threshold=at[arm]))
    return pd.DataFrame(rows, columns=[*COLUMNS, "ci_method", "primary", "threshold"])


def _method(found: Interval, by_patient: bool) -> str:
    if not by_patient:
        return "wilson"
    if np.isfinite(found.value) and np.isnan(found.low):
        return "too_few"
    return "wilson_patient" if found.value in (0.0, 1.0) else "bootstrap_patient"
