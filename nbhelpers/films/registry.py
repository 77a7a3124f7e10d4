"""Sets of films to validate on: one shape for all of them, found by name. Never for training or model selection."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.films.cache import film_array, film_arrays, read_film
from nbhelpers.images.files import Gray
from nbhelpers.runs.parameters import suggest

__all__ = [
    "FilmSet",
    "excluded_films",
    "exclusions",
    "film_array",
    "film_arrays",
    "load",
    "load_all",
    "notes",
    "summary",
]

KNOWN = ("view", "sex", "age")  # what may be known of a film; empty where it is not
COLUMNS = ("image_id", "path", "label", "patient_id", *KNOWN)

# The module of each set and, where it is not `load`, its function: `(parameters, run_folder) -> FilmSet`.
LOADERS = {
    "kermany": "dataset_kermany",
    "rsna": "dataset_rsna",
    "rsna_full": "dataset_rsna",
    "folder": "dataset_folder",
    "simulated_hospital": "dataset_hospital",
}
FUNCTIONS = {"rsna_full": "load_full"}

# What a user's table may call a view or a sex, in small letters; anything else is unknown, and is said to be.
VIEWS = {
    **dict.fromkeys(("ap", "anteroposterior", "antero-posterior", "anterior-posterior"), "AP"),
    **dict.fromkeys(("pa", "posteroanterior", "postero-anterior", "posterior-anterior"), "PA"),
}
SEXES = {**dict.fromkeys(("f", "female", "woman"), "female"), **dict.fromkeys(("m", "male", "man"), "male")}


@dataclass
class FilmSet:
    """A set of films with labels; printed, it says what it holds.

    Attributes
    ----------
    name, title : str
        Its key in `LOADERS`, and what figures and tables call it.
    simulated : bool
        True when no patient stands behind the films; shown wherever they show.
    root : pathlib.Path
        Folder that the paths count from.
    films : DataFrame
        One row a film: `image_id` (unique), `path` (relative to `root`), `label` (1 = pneumonia, 0 = normal),
        `patient_id, view` (PA, AP)`, sex` (female, male)`, age` (years), empty where unknown, and more where there is.
    licence : str
        Terms of use, in a line.
    notes : list of str
        What a reader should know: counts that differ from the published ones, how patients were told apart.
    excluded : DataFrame
        Films that are left out: `image_id, reason`.
    read : callable
        Reads one film as uint8 luminance `(height, width)`; raises `UserError` when it cannot.
    """

    name: str
    title: str
    simulated: bool
    root: Path
    films: pd.DataFrame
    licence: str = ""
    notes: list[str] = field(default_factory=list)
    excluded: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["image_id", "reason"]))
    read: Callable[[Path], Gray] = read_film

    def __post_init__(self) -> None:
        self.films, notes = _checked(self.films, self.name, str(self.root))
        self.notes = [*self.notes, *notes]

    @property
    def n_patients(self) -> int | None:
        """Number of patients of the films that are not left out; None where none of these tells its patient."""
        known = self.kept()["patient_id"].dropna()
        return int(known.nunique()) if len(known) else None

    def exclude(self, reasons: Mapping[str, str]) -> None:
        """Leave films out, by `image_id` with the reason; those that are out already stay out once."""
        fresh = {name: why for name, why in reasons.items() if name not in set(self.excluded["image_id"])}
        if fresh:
            rows = pd.DataFrame({"image_id": list(fresh), "reason": list(fresh.values())})
            self.excluded = pd.concat([self.excluded, rows], ignore_index=True)

    def kept(self) -> pd.DataFrame:
        """The films that are not left out, numbered anew."""
        return self.films[~self.films["image_id"].isin(self.excluded["image_id"])].reset_index(drop=True)

    def __str__(self) -> str:
        films = self.kept()
        patients = "patients unknown" if self.n_patients is None else f"{self.n_patients} patients"
        return (
            f"{self.title}: {len(films)} films, {int(films['label'].sum())} with pneumonia "
            f"({films['label'].mean():.1%}), {patients}, {len(self.excluded)} left out"
        )


def load(name: str, parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """The set of this name.

    Parameters
    ----------
    name : str
        A key of `LOADERS`.
    parameters : mapping
        The experiment's parameters; each set reads its own (`folder_films`, `hospital_patients`, ...).
    run_folder : pathlib.Path
        `outputs/<run>`; the simulated hospital is drawn there.

    Raises
    ------
    UserError
        For an unknown name (with "did you mean"), and for a set that is not found, with the way to get it.
    """
    if name not in LOADERS:
        raise UserError(f"unknown data set {name!r}", "datasets", suggest(name, LOADERS))
    module = f"nbhelpers.{LOADERS[name]}"
    try:
        loader = getattr(importlib.import_module(module), FUNCTIONS.get(name, "load"))
        found: FilmSet = loader(parameters, run_folder)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise UserError(f"data set {name!r} is not part of this version", "datasets", "use another") from None
        raise UserError(f"data set {name!r} needs the module {error.name!r}", "datasets", "install it") from None
    return found


def load_all(names: Iterable[str], parameters: Mapping[str, Any], run_folder: Path) -> dict[str, FilmSet]:
    """The sets of these names, in order; see `load`."""
    wanted = list(names)
    if not wanted:
        raise UserError("no data set is named", "datasets", suggest("", LOADERS))
    if len(set(wanted)) < len(wanted):
        raise UserError("a data set is named twice", "datasets", "name each once")
    return {name: load(name, parameters, run_folder) for name in wanted}


def summary(sets: Mapping[str, FilmSet]) -> pd.DataFrame:
    """One row a set: `dataset, title, simulated, n, n_positive, prevalence, n_patients, excluded, licence`."""
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
            }
        )
    return pd.DataFrame(rows).astype({"n_patients": "Int64"})


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


def _checked(films: pd.DataFrame, name: str, where: str) -> tuple[pd.DataFrame, list[str]]:
    """The table with all columns of `COLUMNS`, identifiers as text, both classes present; and what there is to note."""
    films = films.reset_index(drop=True).copy()
    for column in COLUMNS:
        if column not in films:
            films[column] = pd.NA
    for column in ("image_id", "path", "patient_id", "view", "sex"):
        films[column] = films[column].astype("str").where(films[column].notna())
    notes = []
    for column, known in (("view", VIEWS), ("sex", SEXES)):
        given = films[column]
        films[column] = pd.Series([_named(text, known) for text in given], index=films.index, dtype="str")
        lost = given[given.notna() & given.str.strip().ne("") & films[column].isna()]
        if len(lost):
            values = ", ".join(repr(value) for value in lost.value_counts().index[:5])
            notes.append(f"{len(lost):,} films have a {column} that is not understood ({values}): {column} unknown.")
    films["age"] = pd.to_numeric(films["age"], errors="coerce")
    if films.empty:
        raise UserError(f"data set {name!r} holds no film", where, "check the folder")
    if not films["label"].isin((0, 1)).all():
        raise UserError(f"data set {name!r} has labels other than 0 and 1", where, "use 0 (normal) or 1 (pneumonia)")
    films["label"] = films["label"].astype(int)
    if films["label"].nunique() < 2:
        raise UserError(f"data set {name!r} holds one class only", where, "both classes are needed to validate")
    doubled = films.loc[films["image_id"].duplicated(), "image_id"]
    if len(doubled):
        raise UserError(f"{len(doubled)} films share an image_id, e.g. {doubled.iloc[0]!r}", where, "make it unique")
    return films[[*COLUMNS, *(c for c in films if c not in COLUMNS)]], notes


def _named(text: object, known: Mapping[str, str]) -> str | None:
    """What `known` calls a value, or else its first word ("AP supine"); None when it knows neither."""
    words = str(text).strip().lower()
    return known.get(words) or known.get(re.split(r"[^a-z]", words)[0])
