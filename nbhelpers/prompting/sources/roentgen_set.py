"""Images of RoentGen-v2's published synthetic set, taken from a local copy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.image_models.local_pipeline import INSTALL
from nbhelpers.images.files import copy_original
from nbhelpers.runs.files import inside
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import LABELS, read_listed, write_table

CLASSES = ["pneumonia", "normal", "both", "uncertain", "neither"]
DEFAULT_LABELS = {"pneumonia": ["Pneumonia"], "normal": ["No Finding"]}
_RENAMED = {"gender": "sex", "text": "prompt", "viewposition": "view"}


class RoentgenImport:
    """Films of the published synthetic set, copied as they came; it has a design of its own.

    `roentgen_import` names a parquet file, a folder of them, or a CSV (or a folder with one) of
    `image,label[,prompt,seed,model]`. `roentgen_labels` says which CheXpert findings stand for which class; a film with
    findings of both classes, with an uncertain one, or with none of them is left out and counted in `counts`.
    `images_per_class` of each class are taken, drawn with `seed`.
    """

    simulated = False

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self.name, self.model = name, "RoentGen-v2 (published set)"
        self.root = user_path(str(parameters["roentgen_import"]))
        self.labels = dict(parameters.get("roentgen_labels") or DEFAULT_LABELS)
        if set(self.labels) != set(LABELS) or not all(self.labels.values()):
            raise UserError(
                f"roentgen_labels = {self.labels}", "parameters", "give findings for pneumonia and for normal"
            )
        self._files = _files_of(self.root)
        listed = pd.concat([self._list(number, file) for number, file in enumerate(self._files)], ignore_index=True)
        per_class = int(parameters.get("images_per_class", 300))
        self._rows = _take(listed, per_class, int(parameters.get("seed", 0)), str(self.root), self.labels)
        classes = listed["class"].value_counts().reindex(CLASSES, fill_value=0)
        counts = {"in the set": len(listed), **classes, "taken": len(self._rows)}
        self.counts = pd.DataFrame(list(counts.items()), columns=["films", "images"])

    def _list(self, number: int, file: Path) -> pd.DataFrame:
        table = _metadata(file)
        table["class"] = classify(table, self.labels, str(file))
        table["file"], table["row"] = number, np.arange(len(table))
        table["image_id"] = [f"r{number:03d}-{row:07d}" for row in range(len(table))]
        return table

    def design(self) -> pd.DataFrame:
        """What is taken: `image_id, label, prompt` and what the set tells of sex, age, view, seed and model."""
        return self._rows.drop(columns=["file", "row", "class", "image"], errors="ignore")

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Copy each image's bytes to `folder/images/`, and tell and write the counts (`folder/import_counts.csv`)."""
        write_table(self.counts, folder / "import_counts.csv")
        print(f"{self.name}, images by published labels:\n{self.counts.to_string(index=False)}")
        rows = self._rows[self._rows["image_id"].isin(design["image_id"])]
        found: dict[str, tuple[str, str]] = {}
        bar = progress(total=len(rows), desc=f"importing {self.name}", unit="image")
        for number, part in rows.groupby("file"):
            wanted = dict(zip(part["row"], part["image_id"], strict=True))
            for row, data in _images_of(self._files[int(str(number))], set(wanted)):
                found[wanted[row]] = _keep(folder, wanted[row], data)
                bar.update(1)
        bar.close()
        records = [(image_id, *found.get(image_id, ("", "missing image"))) for image_id in rows["image_id"]]
        return pd.DataFrame(records, columns=["image_id", "path", "status"])


def classify(table: pd.DataFrame, labels: Mapping[str, list[str]], where: str = "") -> pd.Series:
    """Class of each film from its CheXpert findings: `pneumonia`, `normal`, `both`, `uncertain` or `neither`.

    Findings are columns of their own (1 yes, 0 no, -1 uncertain, empty not mentioned), or the words of a column
    `label`, `labels` or `chexpert` (a text, several of them separated by `;` or `|`, or a list). Case, spaces and
    underscores do not matter.

    A `UserError` when a finding that `labels` names is nowhere in the table.
    """
    columns = {_plain(name): name for name in table.columns}
    words = next((columns[name] for name in ("label", "labels", "chexpert") if name in columns), None)
    said = _words(table[words]) if words else None
    values: dict[str, list[pd.Series]] = {}
    for label, findings in labels.items():
        for finding in findings:
            name = columns.get(_plain(finding))
            if name is not None:
                number = pd.to_numeric(table[name], errors="coerce").fillna(0.0)
            elif said is not None:
                plain = _plain(finding)
                number = pd.Series([float(plain in held) for held in said], index=table.index)
            else:
                raise UserError(
                    f"no finding {finding!r}", where, f"roentgen_labels may name {', '.join(map(str, table.columns))}"
                )
            values.setdefault(label, []).append(number)
    yes = {label: pd.concat(found, axis=1).eq(1).any(axis=1) for label, found in values.items()}
    unsure = pd.concat([series for found in values.values() for series in found], axis=1).eq(-1).any(axis=1)
    result = pd.Series("neither", index=table.index)
    result[yes["normal"]] = "normal"
    result[yes["pneumonia"]] = "pneumonia"
    result[unsure] = "uncertain"
    result[yes["normal"] & yes["pneumonia"]] = "both"
    return result


def _take(listed: pd.DataFrame, per_class: int, seed: int, where: str, labels: Mapping[str, list[str]]) -> pd.DataFrame:
    parts = []
    for label in LABELS:
        rows = listed[listed["class"] == label]
        if rows.empty:
            held = ", ".join(f"{name} {count}" for name, count in listed["class"].value_counts().items()) or "nothing"
            do = f"choose other findings than {labels[label]} in roentgen_labels (the set holds {held})"
            raise UserError(f"no image of class {label}", where, do)
        chosen = np.random.default_rng([seed, LABELS.index(label)]).permutation(len(rows))[:per_class]
        parts.append(rows.iloc[np.sort(chosen)])
    taken = pd.concat(parts, ignore_index=True)
    taken["label"] = taken["class"]
    taken["pair_id"] = taken["image_id"]
    return taken


def _files_of(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    for pattern in ("*.parquet", "*.csv"):
        files = sorted(root.rglob(pattern)) if root.is_dir() else []
        if pattern == "*.csv" and len(files) > 1:
            raise UserError(f"{len(files)} CSV files", str(root), "name the one that lists image,label")
        if files:
            return files
    raise UserError("nothing to import", str(root), "name a parquet file, a CSV of image,label, or a folder with them")


def _metadata(file: Path) -> pd.DataFrame:
    """All columns but the pixels; those that the project has names for are renamed."""
    if file.suffix.lower() == ".parquet":
        parquet = _open_parquet(file)
        names = [name for name in parquet.schema_arrow.names if name != "image"]
        if len(names) == len(parquet.schema_arrow.names):
            raise UserError("no column 'image'", str(file), "not a parquet file of images")
        table = parquet.read(columns=names).to_pandas()
    else:
        table = read_listed(file, ("image", "label"), "roentgen_import").reset_index(drop=True)
    plain_names = {_plain(name): name for name in table.columns}
    renamed = {plain_names[old]: new for old, new in _RENAMED.items() if old in plain_names and new not in table}
    table = table.rename(columns=renamed)
    if "sex" in table:
        plain = table["sex"].astype("string").str.strip().str.lower()
        table["sex"] = plain.map({"m": "male", "f": "female"}).fillna(plain)
    taken = {"path", "sha256", "width", "height", "status", "source", "image_id"}
    return table.drop(columns=[name for name in taken if name in table])


def _open_parquet(file: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError("reading parquet needs the package 'pyarrow'", str(file), INSTALL) from None
    try:
        return parquet.ParquetFile(file)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"not readable as parquet: {error}", str(file), "fetch the file again") from None


def _images_of(file: Path, wanted: set[int]) -> Iterator[tuple[int, bytes | None]]:
    """The bytes of the wanted rows, by row number; a row group at a time, since a set is larger than memory."""
    if file.suffix.lower() != ".parquet":
        names = read_listed(file, ("image",), "roentgen_import")["image"].fillna("").tolist()
        for row in sorted(wanted):
            try:
                yield row, inside(file.parent, names[row]).read_bytes()
            except OSError:
                yield row, None
        return
    parquet = _open_parquet(file)
    start = 0
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        here = sorted(row for row in wanted if start <= row < start + count)
        if here:
            column = parquet.read_row_group(group, columns=["image"]).column("image")
            for row in here:
                value = column[row - start].as_py()
                yield row, value.get("bytes") if isinstance(value, dict) else value
        start += count


def _keep(folder: Path, image_id: str, data: bytes | None) -> tuple[str, str]:
    if data is None:
        return "", "missing image"
    try:
        return copy_original(data, folder, image_id), "ok"
    except UserError as error:
        return "", f"unreadable: {error.what}"


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]+", "", str(name).lower())


def _words(column: pd.Series) -> pd.Series:
    def held(value: Any) -> frozenset[str]:
        listed = value if isinstance(value, (list, tuple, np.ndarray)) else re.split(r"[;|,]", str(value))
        return frozenset(_plain(word) for word in listed)

    return column.map(held)
