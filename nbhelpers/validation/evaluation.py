"""Scores of every arm on every set of films, and what they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from nbhelpers import metrics
from nbhelpers.errors import UserError
from nbhelpers.metrics import Interval, discrimination
from nbhelpers.metrics.bootstrap import distributions, interval_groups
from nbhelpers.metrics.intervals import percentile_interval
from nbhelpers.validation import baselines
from nbhelpers.validation.rows import metric_row
from nbhelpers.validation.scores import Films


def metrics_table(
    predictions: pd.DataFrame, n_resamples: int = 2000, seed: int = 0, subgroup: str = "all"
) -> pd.DataFrame:
    """AUROC and AUPR of every arm on every set, with 95 % percentile intervals.

    Columns are those of `metrics.csv`. `ci_method` is `bootstrap_image` and, where patients are known, also
    `bootstrap_patient`, which is then the primary one (`primary`), and for AUROC `delong`. Where all films are of one
    patient the primary row is `too_few` and has no interval. All arms of a set share their resamples.
    """
    rows: list[dict[str, Any]] = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        wide, films = _side_by_side(part)
        label = films["label"].to_numpy()
        patients, primary = interval_groups(films["patient_id"])
        methods = {"bootstrap_image": None} | ({} if patients is None else {primary: patients})
        for method, groups in methods.items():
            spreads = distributions(label, list(wide.to_numpy().T), groups, method, n_resamples, seed)
            for arm, spread in zip(wide.columns, spreads, strict=True):
                values = (metrics.auroc(label, wide[arm]), metrics.average_precision(label, wide[arm]))
                for metric, value, resampled in zip(discrimination.METRICS, values, spread, strict=True):
                    found = Interval(value, *percentile_interval(resampled))
                    about = {"arm": str(arm), "dataset": dataset, "subgroup": subgroup}
                    rows.append(metric_row(about, metric, films, found, method, primary=method == primary))
        if min(label.sum(), (1 - label).sum()) > 1:
            for arm in wide.columns:
                found = metrics.delong_ci(label, wide[arm])
                about = {"arm": str(arm), "dataset": dataset, "subgroup": subgroup}
                rows.append(metric_row(about, "auroc", films, found, "delong", primary=False))
    table = pd.DataFrame(rows)
    order = {name: place for place, name in enumerate(discrimination.METRICS)}
    return table.sort_values(
        ["dataset", "metric", "arm"],
        key=lambda column: column.map(order) if column.name == "metric" else pd.factorize(column)[0],
        kind="stable",
        ignore_index=True,
    )


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
        ci_high, verdict` (beats, falls below, or is not distinguishable from: by the interval of the difference).
    """
    rows = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        wide, films = _side_by_side(part)
        label, found = films["label"].to_numpy(), known[str(dataset)]
        groups, method = interval_groups(films["patient_id"])
        facts = found.facts.assign(auroc=[metrics.auroc(label, found.scores[name]) for name in found.facts["baseline"]])
        best = facts.sort_values("auroc", ascending=False).drop_duplicates("kind").sort_values("auroc")
        scores = [*wide.to_numpy().T, *(found.scores[name].to_numpy() for name in best["baseline"])]
        spreads = distributions(label, scores, groups, method, n_resamples, seed)
        for arm, spread in zip(wide.columns, spreads, strict=False):
            area = metrics.auroc(label, wide[arm])
            for fact, other in zip(best.to_dict("records"), spreads[wide.shape[1] :], strict=True):
                low, high = percentile_interval(spread.auroc - other.auroc)
                rows.append(
                    {
                        **{"arm": arm, "dataset": dataset, "kind": fact["kind"], "baseline": fact["baseline"]},
                        **{"title": fact["title"], "auroc": area, "baseline_auroc": fact["auroc"]},
                        **{"difference": area - fact["auroc"], "ci_low": low, "ci_high": high},
                        "verdict": "beats" if low > 0 else "falls below" if high < 0 else "is not distinguishable from",
                    }
                )
    return pd.DataFrame(rows)


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


def _side_by_side(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one set, one column an arm, and its films in the same order."""
    arms = list(dict.fromkeys(part["arm"]))
    films = part[part["arm"] == arms[0]].reset_index(drop=True)
    by_arm = {arm: part[part["arm"] == arm].set_index("image_id")["score"] for arm in arms}
    wide = pd.DataFrame(by_arm).loc[films["image_id"]]
    if wide.isna().to_numpy().any():
        raise UserError("an arm has not scored every film of the set", str(part["dataset"].iloc[0]), "run 04 again")
    return wide, films
