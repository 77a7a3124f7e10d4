"""Chest X-Ray (Kermany et al.): films of children aged 1 to 5, in the original layout or a resized copy of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet, note_doubles
from nbhelpers.films.layouts import find_below, subfolders
from nbhelpers.runs.stage import data_root

FOLDERS = ("kermany", "chest_xray", "kermany224", "chest-xray-pneumonia", "chestxray2017")
SPLITS = ("train", "val", "test")
LABELS = {"NORMAL": 0, "PNEUMONIA": 1}
SUFFIXES = {".jpeg", ".jpg", ".png"}
PUBLISHED = {0: 1583, 1: 4273}

_PERSON = re.compile(r"person(\d+)_(bacteria|virus)_", re.IGNORECASE)
_STUDY = re.compile(r"(NORMAL2-)?IM-(\d+)-", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:NORMAL|BACTERIA|VIRUS)-(\d+)-", re.IGNORECASE)


def load(parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """All films of the set, whatever their split: nothing is trained or chosen on any of them.

    Looked for below `data/` (or `NBHELPERS_DATA`) in the `FOLDERS`, as Kaggle, Mendeley and their archives name and
    nest them: `train/`, `val/`, `test/` (any of them), in these `NORMAL/` and `PNEUMONIA/` with JPEG or PNG files of
    any size; names count in any case.

    Raises
    ------
    UserError
        When no such folder is found, with the way to get the set.
    """
    root = find(data_root())
    films = list_films(root)
    notes = [
        *(
            f"{text}: {published:,} films published, {int((films['label'] == label).sum()):,} there."
            for (label, published), text in zip(PUBLISHED.items(), ("normal", "pneumonia"), strict=True)
            if int((films["label"] == label).sum()) != published
        ),
        "Patients are identified by file name; personN_bacteria and personN_virus count as two, because the two series "
        "are numbered independently (no number of one series occurs in two splits, many occur in both series, and "
        "films with the same number in both series are no more alike than any two films).",
        "The name of a normal film gives its study (IM-N or NORMAL2-IM-N), which is taken as the patient.",
    ]
    missing = sorted(set(SPLITS) - set(films["split"]), key=SPLITS.index)
    if missing:
        notes.append(f"No films in: {', '.join(missing)}.")
    unknown = int(films["patient_id"].isna().sum())
    if unknown:
        notes.append(f"{unknown} file names give no patient; such films counts as a patient of its own.")
    notes += note_doubles(root / path for path in films["path"])
    return FilmSet(
        name="kermany",
        title="Chest X-Ray (Kermany)",
        simulated=False,
        root=root,
        films=films,
        licence="CC BY 4.0",
        notes=notes,
        published=sum(PUBLISHED.values()),
    )


def find(data: Path) -> Path:
    """The folder below `data` that holds the splits: in one of `FOLDERS`, however deep its archive wraps them."""
    found = find_below(data, FOLDERS, lambda folder: bool(_class_folders(folder)))
    if found:
        return found
    raise UserError(
        "data set 'kermany' was not found",
        f"{data} (looked for {', '.join(name + '/' for name in FOLDERS)})",
        "download 'Chest X-Ray Images (Pneumonia)' from Kaggle (paultimothymooney/chest-xray-pneumonia) or Mendeley "
        "Data (rscbjbr9sj) and unpack it as chest_xray/ there, or set NBHELPERS_DATA to the folder that holds it",
    )


def _class_folders(root: Path) -> list[tuple[str, int, Path]]:
    """Split, label and folder of each class of each split, the names in any case."""
    return [
        (split, LABELS[folder.name.upper()], folder)
        for split in SPLITS
        for outer in subfolders(root)
        if outer.name.lower() == split
        for folder in subfolders(outer)
        if folder.name.upper() in LABELS
    ]


def list_films(root: Path) -> pd.DataFrame:
    """One row a file of the layout: `image_id, path, label, patient_id, view, split, kind`, in order of path.

    `kind` is bacteria or virus where the name tells it. All films are AP.
    """
    rows = []
    for split, label, folder in _class_folders(root):
        for path in sorted(folder.iterdir()):
            # Archives made on a Mac hold a twin `._name` of each file, which is no image.
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                kind = re.search(r"bacteria|virus", path.name, re.IGNORECASE)
                rows.append(
                    {
                        # The whole path: one stem can stand in both classes, and beside itself with another suffix.
                        "image_id": path.relative_to(root).as_posix(),
                        "path": path.relative_to(root).as_posix(),
                        "label": label,
                        "patient_id": patient_of(path.name),
                        "view": "AP",
                        "split": split,
                        "kind": kind[0].lower() if kind else None,
                    }
                )
    if not rows:
        raise UserError("no film in NORMAL/ or PNEUMONIA/", str(root), "unpack the archive again")
    return pd.DataFrame(rows)


def patient_of(name: str) -> str | None:
    """The patient that a file name tells, or None.

    `person12_virus_34.jpeg` is `virus-12`: bacteria and virus have numberings of their own. `IM-0115-0001.jpeg` is
    study `IM-0115`, and `NORMAL2-IM-0115-0001.jpeg` another. `BACTERIA-1008087-0001.jpeg` (a later release) is
    `1008087`.
    """
    if found := _PERSON.match(name):
        return f"{found[2].lower()}-{int(found[1])}"
    if found := _STUDY.match(name):
        return f"{(found[1] or '').upper()}IM-{found[2]}"
    if found := _NUMBERED.match(name):
        return found[1]
    return None
