"""The tables of notebook 05 as a reader wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nbhelpers.interpretability.localisation import BASELINES, SCORES, map_title
from nbhelpers.metrics.wording import difference, in_words, interval


def clusters(summary: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """`clustering.summarise_seeds` to read: mean and range over the seeds, beside the share of the larger class."""
    return pd.DataFrame(
        {
            "network": [titles[name] for name in summary["arm"]],
            "data set": summary["dataset"],
            "accuracy": in_words(interval, summary, ("accuracy", "accuracy_low", "accuracy_high")),
            "majority": summary["majority"].map("{:.3f}".format),
            "ARI": in_words(interval, summary, ("ari", "ari_low", "ari_high")),
            "films": summary["n"],
        }
    )


def saliency(summary: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """`localisation.summarise_scores` to read: a row a set and map, `mean (low to high)` of every score.

    `films_lesion` and `films_lungs` count the films behind the scores of lesion and of lungs; `empty` is the share of
    maps that are zero everywhere.
    """
    here = summary[summary["metric"].isin(list(SCORES))]
    rows = []
    for (dataset, name), part in here.groupby(["dataset", "map"], sort=False):
        row: dict[str, Any] = {"data set": dataset, "map": titles.get(str(name), map_title(str(name)))}
        found = {str(score["metric"]): score for score in part.to_dict("records")}
        for metric, score in found.items():
            row[metric] = interval(score["value"], score["ci_low"], score["ci_high"])
        on_lesion = [int(score["n"]) for metric, score in found.items() if metric != "in_lungs"]
        row["films_lesion"] = max(on_lesion, default=0)
        row["films_lungs"] = int(found["in_lungs"]["n"]) if "in_lungs" in found else 0
        rows.append(row | {"empty": f"{part['empty'].iloc[0]:.3f}"})
    metrics = [name for name in SCORES if name in set(here["metric"])]
    columns = ["data set", "map", *metrics, "films_lesion", "films_lungs", "empty"]
    return pd.DataFrame(rows, columns=columns).fillna("")


def saliency_differences(summary: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """How far arms are from control maps: a row a set, arm and score, a column a map, `arm minus map`."""
    arms = summary[~summary["map"].str.startswith(BASELINES) & summary["metric"].isin(list(SCORES))]
    table = pd.DataFrame(
        {
            "data set": arms["dataset"],
            "arm": [titles.get(name, map_title(name)) for name in arms["map"]],
            "score": arms["metric"],
        }
    )
    for name in BASELINES:
        columns = (f"{name}_less", f"{name}_less_low", f"{name}_less_high")
        table[f"minus {map_title(name)}"] = in_words(difference, arms, columns)
    return table.reset_index(drop=True)
