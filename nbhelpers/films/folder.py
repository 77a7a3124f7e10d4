"""The user's own films: a CSV table beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.films.film_set import KNOWN, FilmSet, note_doubles
from nbhelpers.runs.files import inside
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import flags, listed_labels, read_listed


def load(parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """The films that the CSV of the parameter `folder_films` lists.

    Columns `path` (relative to the table's folder) and `label` (0 or 1, or normal and pneumonia); optional `image_id`,
    `patient_id`, `view`, `sex`, `age`, `simulated` (true or false) and others. Files that are missing are left out and
    listed.

    Raises
    ------
    UserError
        When the parameter is not set, the table is missing or lacks a column, a path leaves the table's folder, a label
        is none of the above, or none of the files exists.
    """
    given = parameters.get("folder_films")
    if not given:
        raise UserError(
            "data set 'folder' needs a table of films",
            "folder_films",
            "set it to a CSV with the columns path and label (0/1 or normal/pneumonia), optionally patient_id, view, "
            "sex, age; paths are relative to the table's folder",
        )
    table_path = user_path(str(given))
    films = read_listed(table_path, ("path", "label"), "folder_films")
    films["label"] = listed_labels(films, str(table_path))
    if "image_id" not in films:
        # The whole path: a stem is not one film's alone, and a name such as 1.10 has no suffix to take off.
        films["image_id"] = films["path"].str.replace("\\", "/")
    films["image_id"] = films["image_id"].fillna(films["path"])
    root = table_path.parent
    files = [inside(root, path) for path in films["path"]]
    missing = [not path.is_file() for path in files]
    if all(missing):
        raise UserError(
            f"none of the {len(films)} files exists", str(table_path), "paths are relative to the table's folder"
        )
    found = FilmSet(
        name="folder",
        title=f"Own films ({root.name})",
        simulated="simulated" in films and bool(flags(films["simulated"]).all()),
        root=root,
        films=films,
        licence="the user's own",
        notes=[_given(films), *note_doubles(path for path, gone in zip(files, missing, strict=True) if not gone)],
    )
    found.exclude(dict.fromkeys(found.films.loc[pd.Series(missing), "image_id"], "file missing"))
    return found


def _given(films: pd.DataFrame) -> str:
    """What the user's table gives of its films, and what it does not."""
    known = [name for name in ("patient_id", *KNOWN) if name in films and films[name].notna().any()]
    unknown = [name for name in ("patient_id", *KNOWN) if name not in known]
    names = {"patient_id": "patients"}
    told = ", ".join(["labels", *(names.get(name, name) for name in known)])
    lacking = f"; not given: {', '.join(names.get(name, name) for name in unknown)}" if unknown else ""
    return f"From the user's table: {told}{lacking}."
