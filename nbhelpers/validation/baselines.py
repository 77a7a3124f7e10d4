"""Trivial baselines: what non-clinical image statistics reach on the same films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nbhelpers import metrics
from nbhelpers.films.film_set import FilmSet
from nbhelpers.metrics.bootstrap import group_codes, interval_groups
from nbhelpers.metrics.discrimination import intervals_of_each
from nbhelpers.networks.preprocessing import load_images
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import sources_of
from nbhelpers.runs.tables import read_table
from nbhelpers.style import named
from nbhelpers.validation.rows import metric_row

SIZE = 224  # pixels along a side on which the statistics are taken
ROWS, COLUMNS = slice(60, 160), slice(40, 184)  # the middle of the film at that size
THUMBNAIL = 16
FOLDS = 5
REPEATS, SMALL = 5, 2000  # partitions into folds whose scores are averaged, on sets of up to so many films; above, one
SYNTHETIC_IMAGES = 2000  # of each arm, at most: a direction needs no more

STATISTICS = {
    "brightness": "mean brightness",
    "contrast": "contrast (SD)",
    "gradient": "gradient energy, middle",
    "gradient_whole": "gradient energy, whole film",
    "file_size": "file size",
}
# Which value points to pneumonia where the synthetic images, matched between classes, cannot tell.
METADATA = {"view": "view (AP)", "age": "age (older)", "sex": "sex (male)"}
# mm, from DICOM headers: no way round is plausible beforehand, so it is used in the fit alone.
SPACING = "pixel_spacing"


@dataclass(frozen=True)
class Baselines:
    """Baselines of one set of films.

    Attributes
    ----------
    scores : DataFrame
        One column a baseline, one row a film, higher for pneumonia as far as the direction holds.
    facts : DataFrame
        One row a column of `scores`: `baseline, title, direction` (higher or lower)`, direction_from` (synthetic
        images, convention, or this set)`, kind`: `fixed` beforehand, `best way` (one number, its direction chosen on
        the set itself) or `trained` on the set itself; `uses_labels` is True for the last two.
    """

    scores: pd.DataFrame
    facts: pd.DataFrame


def image_statistics(images: NDArray[np.uint8]) -> pd.DataFrame:
    """One-number statistics of images, uint8 `(n, 224, 224)`, in gray levels.

    `brightness` is the mean, `contrast` the standard deviation, `gradient` the mean absolute difference of vertical
    neighbours in rows 60 to 160 and columns 40 to 184, `gradient_whole` the same over the whole film.
    """
    if images.shape[1:] != (SIZE, SIZE):
        raise ValueError(f"statistics are taken at {SIZE} pixels, not {images.shape[1:]}")
    blocks = []
    for start in range(0, len(images), 256):
        block = np.asarray(images[start : start + 256], dtype=np.float32)
        steps = np.abs(np.diff(block, axis=1))
        blocks.append(
            {
                "brightness": block.mean(axis=(1, 2)),
                "contrast": block.std(axis=(1, 2)),
                # The differences within the window: one row fewer than it has.
                "gradient": steps[:, ROWS.start : ROWS.stop - 1, COLUMNS].mean(axis=(1, 2)),
                "gradient_whole": steps.mean(axis=(1, 2)),
            }
        )
    return pd.concat([pd.DataFrame(block) for block in blocks], ignore_index=True).astype(float)


def file_sizes(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Bytes of each file."""
    return np.array([path.stat().st_size for path in paths], dtype=float)


def synthetic_directions(arms: Mapping[str, Mapping[str, str]], run_folder: Path, workers: int = 0) -> pd.DataFrame:
    """Which way each statistic points on the images that the arms are trained on.

    Sources and crops are pooled by the mean of their AUROC; nothing real is looked at.

    Returns
    -------
    DataFrame
        `baseline, direction` (1: higher in pneumonia, -1: lower)`, synthetic_auroc`. Empty when the run holds no
        synthetic images, as when only an evaluation is run.
    """
    found: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for source, crop in dict.fromkeys((one, arm["crop"]) for arm in arms.values() for one in sources_of(arm)):
        folder = run_folder / "02_cropping" / source
        if not (folder / "images.csv").is_file():
            continue
        table = read_table(folder / "images.csv", "cropped")
        table = table[(table["crop"] == crop) & (table["status"] == "ok")]
        # Classes in turn, so that a share of the images holds both.
        table = table.assign(turn=table.groupby("label").cumcount()).sort_values("turn", kind="stable")
        table = table.head(SYNTHETIC_IMAGES)
        if table["label"].nunique() < 2:
            continue
        paths = [inside(folder, path) for path in table["path"]]
        values = image_statistics(load_images(paths, SIZE, desc=f"reading {source}", workers=workers))
        values["file_size"] = file_sizes(paths)
        label = (table["label"] == "pneumonia").astype(int)
        for name in STATISTICS:
            found[name].append(metrics.auroc(label, values[name]))
    rows = [
        {"baseline": name, "direction": 1 if np.mean(areas) >= 0.5 else -1, "synthetic_auroc": float(np.mean(areas))}
        for name, areas in found.items()
        if areas
    ]
    return pd.DataFrame(rows, columns=["baseline", "direction", "synthetic_auroc"])


def of_set(film_set: FilmSet, films: pd.DataFrame, images: NDArray[np.uint8], directions: pd.DataFrame) -> Baselines:
    """All baselines of one set.

    Parameters
    ----------
    film_set, films, images
        The set, its films and their array at 224 pixels, as `films.cache.film_arrays` gives them.
    directions : DataFrame
        From `synthetic_directions`.

    Returns
    -------
    Baselines
        Each statistic twice: with the direction of the synthetic images, and with the better one on this very set;
        view, age and sex with the direction of convention, where they are known and differ; logistic regressions on
        the metadata and on a 16 x 16 thumbnail, scored out of fold with whole patients left out.
    """
    label = films["label"].to_numpy()
    values = image_statistics(images)
    values["file_size"] = file_sizes([inside(film_set.root, path) for path in films["path"]])
    signs = directions.set_index("baseline")["direction"].to_dict()
    scores: dict[str, NDArray[np.float64]] = {}
    facts: list[dict[str, Any]] = []

    def add(name: str, title: str, score: NDArray[np.float64], sign: int, origin: str, kind: str) -> None:
        scores[name] = sign * score
        direction = "higher" if sign > 0 else "lower"
        fact = {"baseline": name, "title": title, "direction": direction, "direction_from": origin, "kind": kind}
        facts.append({**fact, "uses_labels": kind != "fixed"})

    for name, title in STATISTICS.items():
        value = values[name].to_numpy()
        if name in signs:
            add(name, title, value, int(signs[name]), "synthetic images", "fixed")
        better = 1 if metrics.auroc(label, value) >= 0.5 else -1
        add(f"{name}_best", f"{title} (sign chosen on the test labels)", value, better, "this set", "best way")
    known = metadata(films)
    for name in known.columns.intersection(list(METADATA)):
        add(name, METADATA[name], known[name].to_numpy(), 1, "convention", "fixed")
    groups = group_codes(films["patient_id"], len(films))
    if known.shape[1] > 1:
        fitted = out_of_fold(known.to_numpy(), label, groups)
        if fitted is not None:
            title = f"{', '.join(map(named, known))} (trained here)"
            add("metadata_trained", title, fitted, 1, "this set", "trained")
    fitted = out_of_fold(thumbnails(images), label, groups)
    if fitted is not None:
        title = f"{THUMBNAIL} x {THUMBNAIL} thumbnail (trained here)"
        add("thumbnail_trained", title, fitted, 1, "this set", "trained")
    return Baselines(pd.DataFrame(scores), pd.DataFrame(facts))


def metadata(films: pd.DataFrame) -> pd.DataFrame:
    """View (1 = AP), age (years), sex (1 = male) and pixel spacing (mm), where they are known and differ.

    Gaps take the column's median.
    """
    columns = pd.DataFrame(
        {
            "view": films["view"].map({"AP": 1.0, "PA": 0.0}),
            "age": pd.to_numeric(films["age"], errors="coerce"),
            "sex": films["sex"].map({"male": 1.0, "M": 1.0, "female": 0.0, "F": 0.0}),
        }
    )
    if SPACING in films:
        columns[SPACING] = pd.to_numeric(films[SPACING], errors="coerce")
    varying = [str(name) for name in columns if len(columns[name].dropna().unique()) > 1]
    return columns[varying].fillna(columns[varying].median())


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Each image area-averaged to 16 x 16 and laid out in a row: float64 `(n, 256)`, 0..1."""
    small = [cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).ravel() for image in images]
    return np.stack(small) / 255.0


def out_of_fold(
    features: NDArray[np.float64], label: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Scores 0..1 of a logistic regression, each from fits that have not seen the film's patient.

    None where a class has fewer than two patients. Five folds, or as many as there are patients of the rarer class. On
    small sets the mean over several partitions is taken, so that none decides by its luck. Classes weigh the same in
    every fit: else a fold with many ill patients is scored by a fit that saw few, and its films rank below the other
    folds', which pulls the AUROC of all folds together below what each fold shows.
    """
    folds = min(FOLDS, *(len(np.unique(groups[label == value])) for value in (0, 1)))
    if folds < 2:
        return None
    repeats = REPEATS if len(label) <= SMALL else 1
    total = np.zeros(len(label))
    for seed in range(repeats):
        for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(features, label, groups):
            if len(np.unique(label[train])) < 2:
                return None
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300, class_weight="balanced"))
            total[test] += model.fit(features[train], label[train]).predict_proba(features[test])[:, 1]
    return total / repeats


def baselines_table(
    dataset: str, baselines: Baselines, films: pd.DataFrame, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """One row a baseline and metric, with 95 % intervals by patients where they are known, else by films.

    Columns: `dataset, baseline, title, metric, value, ci_low, ci_high, n, n_patients, prevalence, ci_method,
    direction, direction_from, kind, uses_labels`.
    """
    patients, method = interval_groups(films["patient_id"])
    columns = [baselines.scores[name].to_numpy() for name in baselines.scores]
    rows = []
    found = intervals_of_each(films["label"], columns, patients, method, n_resamples, seed)
    for facts, intervals in zip(baselines.facts.to_dict("records"), found, strict=True):
        about = {"dataset": dataset, "baseline": facts["baseline"], "title": facts["title"]}
        more = {name: facts[name] for name in ("direction", "direction_from", "kind", "uses_labels")}
        rows += [metric_row(about, metric, films, value, method, **more) for metric, value in intervals.items()]
    return pd.DataFrame(rows)
