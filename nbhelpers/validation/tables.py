"""The tables of notebook 04 as a reader wants them: names in words, each value with its interval."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.films.film_set import FilmSet
from nbhelpers.metrics.decisions import RATES
from nbhelpers.metrics.wording import difference, in_words, interval, method, p_floor, p_text, verdict

_INTERVAL = ("value", "ci_low", "ci_high")
_DIFFERENCE = ("difference", "ci_low", "ci_high")
INTERVALS = {
    "bootstrap_image": "films",
    "bootstrap_patient": "patients",
    "delong": "DeLong",
    "too_few": "none: too few patients",
}

KINDS = {
    "fixed": "direction fixed beforehand",
    "best way": "sign chosen on the test labels",
    "trained": "trained on this set",
}


def against_baselines(comparison: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> pd.DataFrame:
    """What `evaluation.compare_with_baselines` found: a row an arm, set and kind of baseline, the verdict last.

    `titles` are the arms', from `style.arm_titles`.
    """
    return pd.DataFrame(
        {
            "data set": [sets[name].title for name in comparison["dataset"]],
            "arm": [titles[name] for name in comparison["arm"]],
            "AUROC": comparison["auroc"].map("{:.3f}".format),
            "best trivial baseline": [
                f"{title}, {area:.3f}"
                for title, area in zip(comparison["title"], comparison["baseline_auroc"], strict=True)
            ],
            "kind of baseline": comparison["kind"].map(KINDS),
            "difference (95 %)": in_words(difference, comparison, _DIFFERENCE),
            "verdict": comparison["verdict"].map(verdict),
        }
    )


def arm_pairs(differences: pd.DataFrame, titles: Mapping[str, str], n_resamples: int) -> pd.DataFrame:
    """What `compare_arms` found; a bootstrap's p value at the least that its resamples can tell is `<=`."""
    bootstrap = differences["method"].str.contains("bootstrap")
    floor = bootstrap & (differences["p_value"] <= p_floor(n_resamples) * (1 + 1e-9))
    pairs = zip(differences["arm_a"], differences["arm_b"], strict=True)
    return pd.DataFrame(
        {
            "data set": differences["dataset"],
            "arms": [f"{titles[a]} minus {titles[b]}" for a, b in pairs],
            "metric": differences["metric"].str.upper(),
            "difference (95 %)": in_words(difference, differences, _DIFFERENCE),
            "p": [p_text(*found) for found in zip(differences["p_value"], floor, strict=True)],
            "p (Holm)": [p_text(*found) for found in zip(differences["p_holm"], floor, strict=True)],
            "method": differences["method"].map(method),
        }
    )


def results(table: pd.DataFrame, sets: Mapping[str, FilmSet], by: str = "arm") -> pd.DataFrame:
    """A table of metrics or baselines as a reader wants it: one row each, AUROC and AUPR with their intervals.

    `by` names the column that tells the rows apart: `arm`, or `title` for baselines.
    """
    table = table.assign(
        text=in_words(interval, table, _INTERVAL),
        set=[sets[name].title for name in table["dataset"]],
        by=table["ci_method"].map(INTERVALS),
    )
    rows = []
    for (title, name, how), part in table.groupby(["set", by, "by"], sort=False):
        first, text = part.iloc[0], part.set_index("metric")["text"]
        rows.append(
            {
                **{"data set": title, by: name, "AUROC (95 %)": text["auroc"], "AUPR (95 %)": text.get("aupr", "")},
                **{"interval by": how, "films": int(first["n"]), "patients": first["n_patients"]},
                "prevalence": f"{first['prevalence']:.3f}",
                **({"labels used": first["uses_labels"]} if "uses_labels" in part else {}),
            }
        )
    return pd.DataFrame(rows).astype({"patients": "Int64"})


def operating_points(transferred: pd.DataFrame) -> pd.DataFrame:
    """What `operating_point.transfer_table` found: a row an arm and set, each rate with its interval."""
    rounded = transferred.assign(threshold=transferred["threshold"].round(3))
    cells = [_cell(row, "undefined", "too few patients") for row in rounded.to_dict("records")]
    return _wide(rounded, ["dataset", "arm", "threshold"], "metric", cells).reindex(
        columns=["dataset", "arm", "threshold", *RATES]
    )


def calibration(found: pd.DataFrame) -> pd.DataFrame:
    """What `calibration.calibration_table` found: a row an arm, set and kind of probabilities."""
    cells = []
    for row in found.to_dict("records"):
        share = row["resamples_dropped"]
        left_out = f"; {share:.1%} of resamples have none" if share > 0 else ""
        cells.append(_cell(row, "no finite value", "no interval") + left_out)
    return _wide(found, ["dataset", "arm", "probabilities"], "metric", cells)


def subgroups(found: pd.DataFrame) -> pd.DataFrame:
    """AUROC of what `subgroups.metrics_table` found: a row a set and subgroup, a column an arm."""
    area = found[found["metric"] == "auroc"]
    by = ["dataset", "subgroup"]
    groups = area.drop_duplicates(by)
    about = groups[by].assign(
        films=groups["n"], patients=groups["n_patients"], prevalence=groups["prevalence"].map("{:.3f}".format)
    )
    cells = [_cell(row, "too few", "no interval") for row in area.to_dict("records")]
    return about.merge(_wide(area, by, "arm", cells), on=by).astype({"patients": "Int64"})


def _wide(table: pd.DataFrame, by: list[str], columns: str, cells: list[str]) -> pd.DataFrame:
    """`cells`, one a row of the table, set out by `by` (rows) and `columns`, both in the table's order."""
    told = table.assign(cell=cells).pivot_table("cell", by, columns, aggfunc="first", sort=False)
    return told.rename_axis(columns=None).reset_index()


def _cell(row: Mapping[Hashable, Any], without_value: str, without_interval: str) -> str:
    """A value with its interval, or in words why it lacks one or both."""
    value, low, high = (float(row[name]) for name in _INTERVAL)
    if np.isnan(value):
        return without_value
    return interval(value, low, high) + (f" ({without_interval})" if np.isnan(low) else "")


def seeds(spread: pd.DataFrame, sets: Mapping[str, FilmSet]) -> pd.DataFrame:
    """The summary as a reader wants it, a row an arm, set and metric; one seed has no spread, and no columns for it."""
    table = pd.DataFrame(
        {
            "data set": [sets[name].title for name in spread["dataset"]],
            "arm": spread["arm"],
            "metric": spread["metric"].str.upper(),
            "seeds": spread["n_seeds"],
            "mean over seeds": spread["mean"].map("{:.3f}".format),
            "sd over seeds": ["" if pd.isna(value) else f"{value:.3f}" for value in spread["sd"]],
            "lowest to highest": [
                f"{low:.3f} to {high:.3f}" if n > 1 else ""
                for low, high, n in zip(spread["min"], spread["max"], spread["n_seeds"], strict=True)
            ],
            "sampling interval of the first seed": [
                f"{low:.3f} to {high:.3f} (width {high - low:.3f})"
                for low, high in zip(spread["ci_low"], spread["ci_high"], strict=True)
            ],
        }
    )
    if (spread["n_seeds"] > 1).any():
        return table
    one = table.drop(columns=["sd over seeds", "lowest to highest"])
    return one.rename(columns={"mean over seeds": "value", "sampling interval of the first seed": "sampling interval"})
