"""Sets of films to validate on: one shape for all of them, found by name. Never for training or model selection.

To add a set: write a module here with `load(parameters, run_folder) -> FilmSet`, and list it in `LOADERS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.stage import gathered

FEWEST_FILMS = 4  # of a set: clustering needs as many
# The function that loads each set: `(parameters, run_folder) -> FilmSet`.
LOADERS = {
    "kermany": "nbhelpers.films.kermany:load",
    "rsna": "nbhelpers.films.rsna:load",
    "rsna_full": "nbhelpers.films.rsna:load_full",
    "folder": "nbhelpers.films.folder:load",
    "simulated_hospital": "nbhelpers.films.hospital:load",
}


def load(name: str, parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """The set of this name, a key of `LOADERS`; it reads its own of the experiment's parameters.

    Raises
    ------
    UserError
        For an unknown name (with "did you mean"), and for a set that is not found, with the way to get it.
    """
    if name not in LOADERS:
        raise UserError(f"unknown data set {name!r}", "datasets", suggest(name, LOADERS))
    module, _, function = LOADERS[name].partition(":")
    try:
        found: FilmSet = getattr(importlib.import_module(module), function)(parameters, run_folder)
    except ModuleNotFoundError as error:
        raise UserError(f"data set {name!r} needs the module {error.name!r}", "datasets", "install it") from None
    return found


def check_set(name: str, parameters: Mapping[str, Any], run_folder: Path) -> None:
    """Find a set, with films of both classes and enough of them; the simulated hospital is drawn, not found."""
    if name == "simulated_hospital":
        return
    labels = load(name, parameters, run_folder).kept()["label"]
    if len(labels) < FEWEST_FILMS or labels.nunique() < 2:
        found = f"{len(labels)} films that are there, {int(labels.sum())} of them with pneumonia"
        raise UserError(
            f"data set {name!r} has {found}", "datasets", f"{FEWEST_FILMS} films and both classes are needed"
        )


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """Find every set that `datasets` names, before anything is drawn or scored; see `check_set`."""
    faults = gathered((check_set, name, parameters, run_folder) for name in parameters["datasets"])
    if faults:
        raise UserError.of(faults)


def load_all(names: Iterable[str], parameters: Mapping[str, Any], run_folder: Path) -> dict[str, FilmSet]:
    """The sets of these names, in order; see `load`."""
    wanted = list(names)
    if not wanted:
        raise UserError("no data set is named", "datasets", suggest("", LOADERS))
    if len(set(wanted)) < len(wanted):
        raise UserError("a data set is listed twice", "datasets", "name each once")
    return {name: load(name, parameters, run_folder) for name in wanted}


def summary(sets: Mapping[str, FilmSet]) -> pd.DataFrame:
    """One row a set: `dataset, title, simulated, n, n_positive, prevalence, n_patients, excluded, licence, negatives`
    and `published`: see `FilmSet`.
    """
    rows = []
    for name, film_set in sets.items():
        label = film_set.kept()["label"]
        rows.append(
            {
                "dataset": name,
                "title": film_set.title,
                "simulated": film_set.simulated,
                "n": len(label),
                "n_positive": int(label.sum()),
                "prevalence": label.mean(),
                "n_patients": film_set.n_patients,
                "excluded": len(film_set.excluded),
                "licence": film_set.licence,
                "negatives": film_set.negatives,
                "published": film_set.published,
            }
        )
    return pd.DataFrame(rows).astype({"n_patients": "Int64", "published": "Int64"})


def exclusions(sets: Mapping[str, FilmSet]) -> pd.DataFrame:
    """How many films of each set were left out, by reason: `dataset, reason, films, example`."""
    table = excluded_films(sets)
    if table.empty:
        return pd.DataFrame(columns=["dataset", "reason", "films", "example"])
    # A reason may go on with what is particular to one film, after a colon.
    table["reason"] = table["reason"].str.split(":").str[0]
    grouped = table.groupby(["dataset", "reason"], sort=False)["image_id"]
    return grouped.agg(films="size", example="first").reset_index()


def excluded_films(sets: Mapping[str, FilmSet]) -> pd.DataFrame:
    """Every film that was left out, one row each with its whole reason: `dataset, image_id, reason`."""
    rows = [film_set.excluded.assign(dataset=name) for name, film_set in sets.items()]
    return pd.concat(rows, ignore_index=True)[["dataset", "image_id", "reason"]]


def notes(sets: Mapping[str, FilmSet]) -> pd.DataFrame:
    """What a reader should know of each set, one row a note: `dataset, note`."""
    rows = [{"dataset": name, "note": note} for name, film_set in sets.items() for note in film_set.notes]
    return pd.DataFrame(rows, columns=["dataset", "note"])
