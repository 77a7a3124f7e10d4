"""A set of films to validate on: its table, its checks, and how a film is read."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.images.files import Gray, read_gray
from nbhelpers.images.masks import Box, Mask
from nbhelpers.runs.files import sha256_file

KNOWN = ("view", "sex", "age")  # what may be known of a film; empty where it is not
COLUMNS = ("image_id", "path", "label", "patient_id", *KNOWN)
# What a user's table may call a view or a sex, in small letters; anything else is unknown, and is said to be.
VIEWS = {
    **dict.fromkeys(("ap", "anteroposterior", "antero-posterior", "anterior-posterior"), "AP"),
    **dict.fromkeys(("pa", "posteroanterior", "postero-anterior", "posterior-anterior"), "PA"),
}
SEXES = {**dict.fromkeys(("f", "female", "woman"), "female"), **dict.fromkeys(("m", "male", "man"), "male")}


class Truth(NamedTuple):
    """What lies where on one film, bool `(size, size)`; None where it is not known."""

    lesion: Mask | None
    lungs: Mask | None


def read_film(path: Path) -> Gray:
    """One film as uint8 luminance `(height, width)`, bright where dense; DICOM is told by the file's first bytes."""
    from nbhelpers.images import dicom

    return dicom.read_film(path) if dicom.is_dicom(path) else read_gray(path)


def note_doubles(paths: Iterable[Path]) -> list[str]:
    """A note when files of a set are byte for byte the same, as a copy of a folder within itself brings them about."""
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            by_size.setdefault(path.stat().st_size, []).append(path)
    groups: dict[str, list[Path]] = {}
    for alike in by_size.values():
        for path in alike if len(alike) > 1 else ():
            with contextlib.suppress(OSError):
                groups.setdefault(sha256_file(path), []).append(path)
    doubled = [group for group in groups.values() if len(group) > 1]
    if not doubled:
        return []
    first, second = doubled[0][:2]
    films = sum(map(len, doubled)) - len(doubled)
    return [f"{films:,} films are identical copies of others in the set, e.g. {second} and {first}: all are scored."]


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
        One row a film: `image_id` (unique), `path` (relative to `root`), `label` (1 = pneumonia, 0 = `negatives`),
        `patient_id, view` (PA, AP)`, sex` (female, male)`, age` (years), empty where unknown, and more where there is.
    licence : str
        Terms of use, in a line.
    notes : list of str
        What a reader should know: counts that differ from the published ones, how patients were told apart.
    excluded : DataFrame
        Films that are left out: `image_id, reason`.
    read : callable
        Reads one film as uint8 luminance `(height, width)`; raises `UserError` when it cannot.
    truth : callable or None
        What is known to lie where: `(film, size, box) -> Truth`, for a row of `films` as a mapping, on the part `box`
        of the film, resized to `size` times `size` pixels. None for a set that knows of no film; else the column
        `truth_known` of `films` says of which it does.
    negatives : str
        What the films without pneumonia are, as every figure and report calls them.
    published : int or None
        How many films the published set has; None for a set that was never published.
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
    truth: Callable[[Mapping[str, Any], int, Box], Truth] | None = None
    negatives: str = "normal"
    published: int | None = None

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
            f"({films['label'].mean():.1%}), {patients}, {len(self.excluded)} excluded"
        )


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
        notes += _lost(given, films[column], f"an unrecognised {column}")
    years = pd.Series([_years(given) for given in films["age"]], index=films.index, dtype="float64")
    notes += _lost(films["age"], years, "an age that is not a number")
    films["age"] = years
    if films.empty:
        raise UserError(f"data set {name!r} has no film", where, "check the folder")
    if not films["label"].isin((0, 1)).all():
        raise UserError(f"data set {name!r} has labels other than 0 and 1", where, "use 0 (normal) or 1 (pneumonia)")
    films["label"] = films["label"].astype(int)
    if films["label"].nunique() < 2:
        raise UserError(f"data set {name!r} has only one class", where, "both classes are needed to validate")
    doubled = films.loc[films["image_id"].duplicated(), "image_id"]
    if len(doubled):
        raise UserError(f"{len(doubled)} films share an image_id, e.g. {doubled.iloc[0]!r}", where, "make it unique")
    return films[[*COLUMNS, *(c for c in films if c not in COLUMNS)]], notes


def _lost(given: pd.Series, understood: pd.Series, what: str) -> list[str]:
    """A note of the values of a column, named as `given` is, that say something and were not understood."""
    lost = given[given.notna() & understood.isna()].astype("str").str.strip()
    lost = lost[lost.ne("")]
    values = ", ".join(repr(value) for value in lost.value_counts().index[:5])
    return [f"{len(lost):,} films have {what} ({values}): {given.name} unknown."] if len(lost) else []


def _years(given: Any) -> float:
    """An age in years: a number, DICOM's `045Y`, or either with a decimal comma; NaN for anything else."""
    from nbhelpers.images.dicom import parse_age

    return math.nan if pd.isna(given) else parse_age(str(given).replace(",", "."))


def _named(text: object, known: Mapping[str, str]) -> str | None:
    """What `known` calls a value, or else its first word ("AP supine"); None when it knows neither."""
    words = str(text).strip().lower()
    return known.get(words) or known.get(re.split(r"[^a-z]", words)[0])
