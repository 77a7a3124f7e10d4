"""Scores of every arm on every set of films, and what they amount to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers import metrics
from nbhelpers.errors import UserError
from nbhelpers.films.cache import cache_key
from nbhelpers.films.registry import FilmSet, film_arrays
from nbhelpers.metrics import Interval, discrimination
from nbhelpers.metrics.bootstrap import distributions, interval_groups, percentile_interval
from nbhelpers.networks import checkpoints as networks
from nbhelpers.networks import models, scoring
from nbhelpers.runs.tables import read_table, write_table
from nbhelpers.validation import baselines

FOLDER = "04_external_validation"
INTERVALS = {
    "bootstrap_image": "films",
    "bootstrap_patient": "patients",
    "delong": "DeLong",
    "too_few": "too few patients",
}
KEPT_COLUMNS = ("image_id", "patient_id", "label", "view", "sex", "age")


class Films(NamedTuple):
    """A set that has been decoded: the set, its readable films, and their arrays by size in pixels."""

    film_set: FilmSet
    table: pd.DataFrame
    arrays: dict[int, NDArray[np.uint8]]


class Arm(NamedTuple):
    """A trained arm: the network and what `model.json` says of it."""

    model: Any
    description: models.ModelDescription


def load_arms(
    names: Iterable[str],
    run_folder: Path,
    note: Callable[[Path], Path] | None = None,
    device: str = "cpu",
    checkpoints: Mapping[str, str] | None = None,
) -> dict[str, Arm]:
    """The trained network of each arm from `03_training/<arm>`, then the user's own `checkpoints`, by name and folder.

    `note` is called with each file that is read, e.g. `stage.input`. A missing file is a `UserError` that says what to
    run.
    """
    found = {}
    for name, folder in networks.folders(names, checkpoints, run_folder).items():
        for file in networks.FILES:
            if note is not None:
                note(folder / file)
        found[name] = Arm(*models.load_checkpoint(folder, device))
    return found


def arms_table(arms: Mapping[str, Arm]) -> pd.DataFrame:
    """One row an arm: what it was trained on, and how it did on synthetic validation images."""
    rows = []
    for name, arm in arms.items():
        told = arm.description
        rows.append(
            {
                "arm": name,
                "source": told.arm.get("source"),
                "crop": told.arm.get("crop"),
                "simulated": told.simulated,
                "backbone": told.backbone,
                "init": told.init,
                "image_size": told.transform.size,
                "synthetic_val_auroc": told.val_auroc,
            }
        )
    return pd.DataFrame(rows)


def decode(
    sets: Mapping[str, FilmSet],
    arms: Mapping[str, Arm],
    crop: str = "none",
    workers: int = 0,
    cache: Path | None = None,
) -> dict[str, Films]:
    """Decode every set once, at the sizes that the arms and the baselines need; see `film_cache.film_arrays`."""
    sizes = [*{arm.description.transform.size for arm in arms.values()}, baselines.SIZE]
    decoded = {}
    for name, film_set in sets.items():
        arrays, table = film_arrays(film_set, sizes, cache, workers, crop)
        decoded[name] = Films(film_set, table, arrays)
    return decoded


def predict(
    arms: Mapping[str, Arm],
    films: Mapping[str, Films],
    run_folder: Path,
    device: str = "auto",
    batch_size: int = 64,
    crop: str = "none",
) -> pd.DataFrame:
    """Scores of every arm on every set: `arm, dataset, image_id, patient_id, label, score, view, sex, age`.

    The scores of each arm and set are kept in `04_external_validation/scores/` under a name that tells weights, films
    and crop: what was scored before is not scored again.
    """
    tables = []
    for dataset, decoded in films.items():
        for name, arm in arms.items():
            images = decoded.arrays[arm.description.transform.size]
            made_of = [arm.description.to_dict(), cache_key(decoded.film_set, crop), batch_size, device]
            key = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()[:16]
            path = run_folder / FOLDER / "scores" / f"{dataset}-{name}-{key}.csv"
            if not path.is_file():
                scores = scoring.predict(
                    arm.model, images, arm.description.transform, device, batch_size, f"{name} on {dataset}"
                )
                write_table(pd.DataFrame({"image_id": decoded.table["image_id"], "score": scores}), path)
            scored = decoded.table[list(KEPT_COLUMNS)].merge(read_table(path), on="image_id", validate="one_to_one")
            tables.append(scored.assign(arm=name, dataset=dataset))
    columns = ["arm", "dataset", "image_id", "patient_id", "label", "score", "view", "sex", "age"]
    return pd.concat(tables, ignore_index=True)[columns]


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
                    rows.append(_row(str(arm), dataset, subgroup, metric, films, found, method, method == primary))
        if min(label.sum(), (1 - label).sum()) > 1:
            for arm in wide.columns:
                found = metrics.delong_ci(label, wide[arm])
                rows.append(_row(str(arm), dataset, subgroup, "auroc", films, found, "delong", False))
    table = pd.DataFrame(rows)
    order = {"auroc": 0, "aupr": 1}
    return table.sort_values(
        ["dataset", "metric", "arm"],
        key=lambda column: column.map(order) if column.name == "metric" else pd.factorize(column)[0],
        kind="stable",
        ignore_index=True,
    )


def _row(
    arm: str,
    dataset: object,
    subgroup: str,
    metric: str,
    films: pd.DataFrame,
    found: Interval,
    method: str,
    primary: bool,
) -> dict[str, Any]:
    return {
        **{"arm": arm, "dataset": dataset, "subgroup": subgroup, "metric": metric, "value": found.value},
        **{"ci_low": found.low, "ci_high": found.high, "n": len(films)},
        "n_patients": films["patient_id"].nunique() or None,
        "prevalence": films["label"].mean(),
        **{"ci_method": method, "primary": primary},
    }


def joined(*tables_of_metrics: pd.DataFrame) -> pd.DataFrame:
    """One table for `metrics.csv` of all films, subgroups and the operating point, less tables that are empty."""
    return pd.concat([table for table in tables_of_metrics if len(table)], ignore_index=True)


def shown(table: pd.DataFrame, sets: Mapping[str, FilmSet], by: str = "arm") -> pd.DataFrame:
    """A table of metrics or baselines as a reader wants it: one row each, AUROC and AUPR with their intervals.

    `by` names the column that tells the rows apart: `arm`, or `title` for baselines.
    """
    table = table.assign(
        text=[
            f"{value:.3f}" + ("" if np.isnan(low) else f" ({low:.3f}-{high:.3f})")
            for value, low, high in zip(table["value"], table["ci_low"], table["ci_high"], strict=True)
        ],
        set=[sets[name].title for name in table["dataset"]],
        interval=table["ci_method"].map(INTERVALS),
    )
    rows = []
    for (title, name, interval), part in table.groupby(["set", by, "interval"], sort=False):
        first, text = part.iloc[0], part.set_index("metric")["text"]
        rows.append(
            {
                **{"data set": title, by: name, "AUROC (95 %)": text["auroc"], "AUPR (95 %)": text.get("aupr", "")},
                **{"interval by": interval, "films": int(first["n"]), "patients": first["n_patients"]},
                "prevalence": f"{first['prevalence']:.3f}",
                **({"labels used": first["uses_labels"]} if "uses_labels" in part else {}),
            }
        )
    return pd.DataFrame(rows).astype({"patients": "Int64"})


def baselines_tables(
    known: Mapping[str, baselines.Baselines], films: Mapping[str, Films], n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """`baselines.table` of every set, one below the other."""
    tables = [baselines.table(name, known[name], films[name].table, n_resamples, seed) for name in films]
    return pd.concat(tables, ignore_index=True)


def all_baselines(films: Mapping[str, Films], directions: pd.DataFrame) -> dict[str, baselines.Baselines]:
    """`baselines.of_set` of every set."""
    return {
        name: baselines.of_set(found.film_set, found.table, found.arrays[baselines.SIZE], directions)
        for name, found in films.items()
    }


def checks(predictions: pd.DataFrame, films: Mapping[str, Films], arms: Iterable[str]) -> list[str]:
    """What must hold of the predictions, a line each; what does not hold stops the run.

    Raises
    ------
    UserError
        When an arm has not scored every readable film, or an arm gives all films of a set the same score.
    """
    lines = []
    for dataset, found in films.items():
        for arm in arms:
            part = predictions[(predictions["dataset"] == dataset) & (predictions["arm"] == arm)]
            if set(part["image_id"]) != set(found.table["image_id"]):
                raise UserError(f"arm {arm!r} has not scored every film of {dataset!r}", FOLDER, "run 04 again")
            if part["score"].max() == part["score"].min():
                raise UserError(
                    f"arm {arm!r} gives every film of {dataset!r} the same score", FOLDER, "train the arm for longer"
                )
        lines.append(f"{found.film_set.title}: every readable film scored by every arm: ok")
    return lines


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
