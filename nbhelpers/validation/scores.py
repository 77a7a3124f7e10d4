"""Scores of every arm on every film."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.films.cache import cache_key, film_arrays
from nbhelpers.films.film_set import FilmSet
from nbhelpers.networks import features
from nbhelpers.networks.trained import Network
from nbhelpers.runs.tables import read_table, write_table
from nbhelpers.validation import baselines

FOLDER = "04_external_validation"
KEPT_COLUMNS = ("image_id", "patient_id", "label", "view", "sex", "age")


class Films(NamedTuple):
    """A set that has been decoded: the set, its readable films, and their arrays by size in pixels."""

    film_set: FilmSet
    table: pd.DataFrame
    arrays: dict[int, NDArray[np.uint8]]


def decode(
    sets: Mapping[str, FilmSet],
    arms: Mapping[str, Network],
    crop: str = "none",
    workers: int = 0,
    cache: Path | None = None,
) -> dict[str, Films]:
    """Decode every set once, at the sizes that the arms and the baselines need; see `films.cache.film_arrays`."""
    sizes = [*{arm.description.transform.size for arm in arms.values()}, baselines.SIZE]
    decoded = {}
    for name, film_set in sets.items():
        arrays, table = film_arrays(film_set, sizes, cache, workers, crop)
        decoded[name] = Films(film_set, table, arrays)
    return decoded


def predict(
    arms: Mapping[str, Network],
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
                scores = features.predict(
                    arm.model, images, arm.description.transform, device, batch_size, f"{name} on {dataset}"
                )
                write_table(pd.DataFrame({"image_id": decoded.table["image_id"], "score": scores}), path)
            scored = decoded.table[list(KEPT_COLUMNS)].merge(read_table(path), on="image_id", validate="one_to_one")
            tables.append(scored.assign(arm=name, dataset=dataset))
    columns = ["arm", "dataset", "image_id", "patient_id", "label", "score", "view", "sex", "age"]
    return pd.concat(tables, ignore_index=True)[columns]


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
        lines.append(f"{found.film_set.title}: every readable film was scored by every arm: ok")
    return lines
