"""Scores of every arm on every set of films, and what they amount to."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers import metrics
from nbhelpers.metrics import Interval
from nbhelpers.metrics.bootstrap import distributions, interval_groups
from nbhelpers.metrics.discrimination import METRICS, intervals_of_each
from nbhelpers.metrics.intervals import percentile_interval
from nbhelpers.validation import baselines
from nbhelpers.validation.rows import metric_row, side_by_side
from nbhelpers.validation.scores import Films


def metrics_table(predictions: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """AUROC and AUPR of every arm on every set, with 95 % percentile intervals.

    Columns are those of `metrics.csv`. `ci_method` is `bootstrap_image` and, where patients are known, also
    `bootstrap_patient`, which is then the primary one (`primary`), and for AUROC `delong`. Where all films are of one
    patient the primary row is `too_few` and has no interval. All arms of a set share their resamples.
    """
    rows: list[dict[str, Any]] = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        wide, films = side_by_side(part)
        label, scores = films["label"].to_numpy(), list(wide.to_numpy().T)
        patients, primary = interval_groups(films["patient_id"])
        groups = {"bootstrap_image": None} | ({} if patients is None else {primary: patients})
        found: dict[str, list[dict[str, Interval]]] = {
            method: [*intervals_of_each(label, scores, drawn, method, n_resamples, seed)]
            for method, drawn in groups.items()
        }
        if min(label.sum(), (1 - label).sum()) > 1:
            found["delong"] = [{"auroc": metrics.delong_ci(label, score)} for score in scores]
        for metric in METRICS:
            for place, arm in enumerate(wide):
                about = {"arm": str(arm), "dataset": dataset, "subgroup": "all"}
                rows += [
                    metric_row(about, metric, films, intervals[place][metric], method, primary=method == primary)
                    for method, intervals in found.items()
                    if metric in intervals[place]
                ]
    return pd.DataFrame(rows)


def joined(*tables_of_metrics: pd.DataFrame) -> pd.DataFrame:
    """One table for `metrics.csv` of all films, subgroups and the operating point, less tables that are empty."""
    return pd.concat([table for table in tables_of_metrics if len(table)], ignore_index=True)


def baselines_tables(
    known: Mapping[str, baselines.Baselines], films: Mapping[str, Films], n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """`baselines.baselines_table` of every set, one below the other."""
    tables = [baselines.baselines_table(name, known[name], films[name].table, n_resamples, seed) for name in films]
    return pd.concat(tables, ignore_index=True)


def all_baselines(films: Mapping[str, Films], directions: pd.DataFrame) -> dict[str, baselines.Baselines]:
    """`baselines.of_set` of every set."""
    return {
        name: baselines.of_set(found.film_set, found.table, found.arrays[baselines.SIZE], directions)
        for name, found in films.items()
    }


def compare_with_baselines(
    predictions: pd.DataFrame, known: Mapping[str, baselines.Baselines], n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Each arm against the best trivial baseline of each kind and set, on the same films and resamples.

    Returns
    -------
    DataFrame
        `arm, dataset, kind` (see `baselines.Baselines`)`, baseline, title, auroc, baseline_auroc, difference, ci_low,
        ci_high, verdict` (beats, falls below, or is not distinguishable from: by the interval of the difference)`,
        chosen_from`: of how many of its kind the best baseline was chosen, by these labels. The choice is made anew in
        every resample, so that the interval holds its chance; its height stays an optimistic bound.
    """
    rows = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        wide, films = side_by_side(part)
        label, found = films["label"].to_numpy(), known[str(dataset)]
        groups, method = interval_groups(films["patient_id"])
        facts = found.facts.assign(auroc=[metrics.auroc(label, found.scores[name]) for name in found.facts["baseline"]])
        best = facts.sort_values("auroc", ascending=False).drop_duplicates("kind").sort_values("auroc")
        scores = [*wide.to_numpy().T, *(found.scores[name].to_numpy() for name in facts["baseline"])]
        spreads = distributions(label, scores, groups, method, n_resamples, seed)
        of_baselines = np.array([spread.auroc for spread in spreads[wide.shape[1] :]])
        for arm, spread in zip(wide.columns, spreads, strict=False):
            area = metrics.auroc(label, wide[arm])
            for fact in best.to_dict("records"):
                alike = (facts["kind"] == fact["kind"]).to_numpy()
                low, high = percentile_interval(spread.auroc - _best_anew(of_baselines[alike], fact))
                rows.append(
                    {
                        **{"arm": arm, "dataset": dataset, "kind": fact["kind"], "baseline": fact["baseline"]},
                        **{"title": fact["title"], "auroc": area, "baseline_auroc": fact["auroc"]},
                        **{"difference": area - fact["auroc"], "ci_low": low, "ci_high": high},
                        "verdict": "beats" if low > 0 else "falls below" if high < 0 else "is not distinguishable from",
                        "chosen_from": int(alike.sum()),
                    }
                )
    return pd.DataFrame(rows)


def _best_anew(spreads: NDArray[np.float64], fact: Mapping[Hashable, Any]) -> NDArray[np.float64]:
    """AUROC of the best baseline of a kind, chosen anew in every resample; `spreads` are theirs, `(baselines, n)`.

    Where the way round was chosen too (`best way`), it is chosen anew. A maximum lies higher in resamples than in the
    films; that is taken off, so that the mean is the AUROC of the best one on the films.
    """
    if fact["kind"] == "best way":
        spreads = np.maximum(spreads, 1 - spreads)
    chosen = spreads.max(axis=0)
    return np.asarray(chosen - chosen.mean() + fact["auroc"]) if len(spreads) > 1 else chosen


def patients_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Films and patients of each set: `dataset, films, patients, most_films_of_one, patients_with_both_labels`."""
    rows = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        films = part[part["arm"] == part["arm"].iloc[0]]
        grouped = films.dropna(subset="patient_id").groupby("patient_id")["label"]
        rows.append(
            {
                "dataset": dataset,
                "films": len(films),
                "patients": grouped.ngroups or None,
                "most_films_of_one": int(grouped.size().max()) if grouped.ngroups else None,
                "patients_with_both_labels": int((grouped.min() < grouped.max()).sum()) if grouped.ngroups else None,
            }
        )
    return pd.DataFrame(rows).convert_dtypes()
