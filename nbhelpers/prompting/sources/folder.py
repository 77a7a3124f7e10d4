"""Source `folder`: the user's own images, listed in a CSV table of path and label."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.images.files import copy_original
from nbhelpers.runs.files import inside
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import LABELS, listed_labels, read_listed


class FolderSource:
    """Images that exist already, copied byte for byte into the run, so that the run stays whole when they move.

    The table (parameter `folder_table`) has `path` (or `image`), relative to the table's own folder, and `label`
    (`normal` or `pneumonia`, or 0 or 1). Every other column is kept: `prompt`, `model`, `sex`, `age`, `view`, `seed`,
    ... `image_id` is made from the path unless given. Images that share a `pair_id` (or else a `patient_id`) are never
    parted between training and validation.
    """

    simulated = False

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self.name, self.model = name, "folder"
        table = parameters.get("folder_table")
        if not table:
            raise UserError("source 'folder' has no table", "folder_table", "name a CSV file with path,label")
        self.table = user_path(str(table))
        self._rows = read_folder_table(self.table)

    def design(self) -> pd.DataFrame:
        """The user's table: here it says what is wanted, and the prompt design is not used."""
        return self._rows.drop(columns="original")

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Copy each image to `folder/images/<image_id>.<what its bytes are>`; see `drawing.Source`.

        An image that is missing or cannot be decoded is a row whose `status` says so.
        """
        rows = self._rows[self._rows["image_id"].isin(design["image_id"])]
        work = list(zip(rows["image_id"], rows["original"], strict=True))
        with ThreadPoolExecutor() as pool:
            copied = pool.map(lambda item: _copy(self.table.parent, item[1], folder, item[0]), work)
            found = list(progress(copied, desc=f"copying {self.name}", total=len(work), unit="image"))
        table = pd.DataFrame(found, columns=["path", "status", "detail"])
        return table.assign(image_id=rows["image_id"].to_numpy(), original=rows["original"].to_numpy())


def read_folder_table(path: Path) -> pd.DataFrame:
    """The user's table with `image_id, original` (the path as given)`, label, pair_id` and all its other columns.

    A `UserError` when the table as a whole cannot be used: not found, no CSV, empty, a column missing, a label that is
    neither, one class only, an image listed twice, or a path that leaves the table's folder.
    """
    where = str(path)
    table = read_listed(path, ("path", "label"), "folder_table")
    table["original"] = table["path"]
    table["label"] = listed_labels(table, where).map(dict(enumerate(LABELS)))
    for line, original in table["original"].items():
        try:
            inside(path.parent, original)
        except UserError as error:
            raise UserError(error.what, f"{where}, line {line}", "put the images below the table's folder") from None
    if table["original"].duplicated().any():
        twice = table.loc[table["original"].duplicated(), "original"].iloc[0]
        raise UserError(f"{twice!r} is listed twice", where, "list each image once")
    table["image_id"] = _identifiers(table, where)
    table = table.reset_index(drop=True)
    shared = next((name for name in ("pair_id", "patient_id") if name in table), "image_id")
    table["pair_id"] = table[shared].fillna(table["image_id"])
    # Columns that the run fills itself would say something else here.
    return table.drop(columns=["path", "sha256", "width", "height", "status", "source"], errors="ignore")


def _identifiers(table: pd.DataFrame, where: str) -> list[str]:
    if "image_id" not in table:
        # The digest keeps a/1.png and b/1.png apart, and letters that a file name cannot hold.
        return [
            f"{re.sub(r'[^A-Za-z0-9_-]+', '_', Path(path).stem)[:60]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
            for path in table["original"]
        ]
    given = table["image_id"].astype(str).str.strip()
    usable = given.str.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}").fillna(False).astype(bool)
    if not usable.all() or given.duplicated().any():
        line = table.index[~usable | given.duplicated()][0]
        raise UserError(
            f"image_id {given.loc[line]!r} in line {line}",
            where,
            "use each once, with letters, digits, '_', '-' and '.' only; or omit the column",
        )
    return given.tolist()


def _copy(home: Path, original: str, folder: Path, image_id: str) -> tuple[str, str, str]:
    """Copy one image; gives its new path, its status, and what went wrong in words."""
    try:
        data = inside(home, original).read_bytes()
    except FileNotFoundError:
        return "", "missing file", f"{original} was not found"
    except OSError as error:
        return "", "unreadable", f"{original}: {error.strerror}"
    try:
        return copy_original(data, folder, image_id), "ok", ""
    except UserError as error:
        return "", "unreadable", f"{original}: {error.what}"
