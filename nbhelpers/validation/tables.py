"""The tables of notebooks 04 and 05 as a reader wants them: names in words, each value with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.films.registry import FilmSet
from nbhelpers.interpretability.localisation import BASELINES, SCORES
from nbhelpers.metrics.wording import p_floor, p_text, verdict

KINDS = {
    "fixed": "direction fixed beforehand",
    "best way": "used the best way round",
    "trained": "trained on this very set",
}


def against_baselines(comparison: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> pd.DataFrame:
    """What `evaluation.compare_with_baselines` found: a row an arm, set and kind of baseline, the verdict last.

    `titles` are the arms', from `figures.arm_titles`.
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
            "of its kind": comparison["kind"].map(KINDS),
            "difference (95 %)": _signed(comparison, "difference", "ci_low", "ci_high"),
            "verdict": comparison["verdict"].map(verdict),
        }
    )


def arm_pairs(differences: pd.DataFrame, titles: Mapping[str, str], n_resamples: int) -> pd.DataFrame:
    """`arm_differences.table` to read; a bootstrap's p value at the least that its resamples can tell is `<=`."""
    bootstrap = differences["method"].str.contains("bootstrap")
    floor = bootstrap & (differences["p_value"] <= p_floor(n_resamples) * (1 + 1e-9))
    pairs = zip(differences["arm_a"], differences["arm_b"], strict=True)
    return pd.DataFrame(
        {
            "data set": differences["dataset"],
            "arms": [f"{titles[a]} minus {titles[b]}" for a, b in pairs],
            "metric": differences["metric"].str.upper(),
            "difference (95 %)": _signed(differences, "difference", "ci_low", "ci_high"),
            "p": [p_text(*found) for found in zip(differences["p_value"], floor, strict=True)],
            "p (Holm)": [p_text(*found) for found in zip(differences["p_holm"], floor, strict=True)],
            "method": differences["method"].str.replace("_", " "),
        }
    )


def clusters(summary: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """`clustering.summarise_seeds` to read: mean and range over the seeds, beside the share of the larger class."""
    return pd.DataFrame(
        {
            "network": [titles[name] for name in summary["arm"]],
            "data set": summary["dataset"],
            "accuracy": _ranged(summary, "accuracy"),
            "majority": summary["majority"].map("{:.3f}".format),
            "ARI": _ranged(summary, "ari"),
            "films": summary["n"],
        }
    )


def saliency(summary: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """`saliency_scores.summarise_scores` to read: a row a set and map, `mean (low to high)` of every score.

    `films_lesion` and `films_lungs` count the films behind the scores of lesion and of lungs; `empty` is the share of
    maps that are zero everywhere.
    """
    here = summary[summary["metric"].isin(list(SCORES))]
    rows = []
    for (dataset, name), part in here.groupby(["dataset", "map"], sort=False):
        row: dict[str, Any] = {"data set": dataset, "map": _map_title(str(name), titles)}
        found = {str(score["metric"]): score for score in part.to_dict("records")}
        for metric, score in found.items():
            row[metric] = f"{score['value']:.3f} ({score['ci_low']:.3f} to {score['ci_high']:.3f})"
        on_lesion = [int(score["n"]) for metric, score in found.items() if metric != "in_lungs"]
        row["films_lesion"] = max(on_lesion, default=0)
        row["films_lungs"] = int(found["in_lungs"]["n"]) if "in_lungs" in found else 0
        rows.append(row | {"empty": f"{part['empty'].iloc[0]:.3f}"})
    metrics = [name for name in SCORES if name in set(here["metric"])]
    columns = ["data set", "map", *metrics, "films_lesion", "films_lungs", "empty"]
    return pd.DataFrame(rows, columns=columns).fillna("")


def saliency_differences(summary: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """How far arms are from maps that know nothing: a row a set, arm and score, a column a map, `arm minus map`."""
    arms = summary[~summary["map"].str.startswith(BASELINES) & summary["metric"].isin(list(SCORES))]
    table = pd.DataFrame(
        {
            "data set": arms["dataset"],
            "arm": [_map_title(name, titles) for name in arms["map"]],
            "score": arms["metric"],
        }
    )
    for name in BASELINES:
        table[f"minus {_map_title(name, titles)}"] = _signed(
            arms, f"{name}_less", f"{name}_less_low", f"{name}_less_high"
        )
    return table.reset_index(drop=True)


def _map_title(name: str, titles: Mapping[str, str]) -> str:
    return titles.get(name, name.replace("_", " "))


def _signed(table: pd.DataFrame, value: str, low: str, high: str) -> list[str]:
    cells = table[[value, low, high]].to_numpy(dtype=float)
    return ["" if np.isnan(middle) else f"{middle:+.3f} ({down:+.3f} to {up:+.3f})" for middle, down, up in cells]


def _ranged(table: pd.DataFrame, name: str) -> list[str]:
    cells = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float)
    return [f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in cells + 0.0]  # no -0.000
