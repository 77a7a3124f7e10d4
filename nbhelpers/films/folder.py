"""The user's own films: a CSV table beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet
from nbhelpers.runs.files import inside
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import flags, listed_labels, read_listed


def load(parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """The films that the CSV of the parameter `folder_films` lists.

    Columns `path` (relative to the table's folder) and `label` (0 or 1, or normal and pneumonia); optional `image_id`,
    `patient_id`, `view`, `sex`, `age` and others; films that all have `simulated` true are a simulated set. Files that
    are missing are left out and listed.

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
            "sex, age; paths count from the table's folder",
        )
    table_path = user_path(str(given))
    films = read_listed(table_path, ("path", "label"), "folder_films")
    films["label"] = listed_labels(films, str(table_path))
    if "image_id" not in films:
        films["image_id"] = films["path"].str.replace("\\", "/").map(lambda p: str(Path(p).with_suffix("")))
    root = table_path.parent
    missing = [not inside(root, path).is_file() for path in films["path"]]
    if all(missing):
        raise UserError(
            f"none of the {len(films)} files exists", str(table_path), "paths count from the table's folder"
        )
    named = "patient_id" in films and films["patient_id"].notna().any()
    notes = (
        ["Labels and patients as the user's table gives them."]
        if named
        else ["Labels as the user's table gives them; it names no patients."]
    )
    declared = flags(films["simulated"]) if "simulated" in films else pd.Series(False, index=films.index)
    if declared.any() and not declared.all():
        notes.append(f"The table declares {int(declared.sum()):,} of {len(films):,} films simulated.")
    found = FilmSet(
        name="folder",
        title=f"Own films ({root.name})",
        simulated=bool(declared.all()),
        root=root,
        films=films,
        licence="the user's own",
        notes=notes,
    )
    found.exclude(dict.fromkeys(found.films.loc[pd.Series(missing), "image_id"], "file missing"))
    return found
