"""RSNA 2018 pneumonia challenge as Kaggle lays it out: films, boxes, header fields, and patients where they are known.

Shih et al., Radiology: Artificial Intelligence 2019 (doi 10.1148/ryai.2019180041). The films are from NIH ChestX-ray14.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.films.cache import default_cache
from nbhelpers.films.film_set import FilmSet, Truth
from nbhelpers.films.layouts import find_below, subfolders
from nbhelpers.images import dicom
from nbhelpers.images.masks import Box, box_mask
from nbhelpers.runs import stage
from nbhelpers.runs.files import read_json
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress
from nbhelpers.runs.tables import write_table

FOLDERS = ("rsna", "rsna-pneumonia-detection-challenge", "rsna_2018")
IMAGES = "stage_2_train_images"
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
HARD_NEGATIVE = "No Lung Opacity / Not Normal"
PUBLISHED = {"Normal": 8851, "Lung Opacity": 6012, HARD_NEGATIVE: 11821}  # films in the stage 2 training set
COHORTS = {"paper": ("Normal", "Lung Opacity"), "full": tuple(PUBLISHED)}
CROSS_REFERENCE = "pneumonia-challenge-dataset-mappings_2018.json"  # as the RSNA publishes it
PUBLISHED_PATIENTS = {"paper": 8462}  # NIH patients behind the 14,863 films
LICENCE = (
    "RSNA 2018 / NIH ChestX-ray14: free to use with attribution under the challenge's terms; cite Shih et al. 2019 "
    "and Wang et al. 2017. The films are not redistributed here."
)
HOW_TO_GET = (
    "python -m nbhelpers fetch rsna (needs a Kaggle account that has accepted the challenge's rules), "
    f"or unpack the challenge's zip to data/rsna so that it holds {IMAGES}/, {LABELS} and {CLASSES}"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEADER_COLUMNS = ("view", "sex", "age", "age_text", "pixel_spacing", "rows", "columns", "photometric", "bits")
_PAIRS = (("subset_img_id", "img_id"), ("patientId", "nih_file"))  # columns of a cross-reference
_BATCH = 4096  # films between two writes of the header cache


def load(parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """The films of one cohort, with what their headers say of them.

    Read are `rsna_cohort`: `paper` (Normal against Lung Opacity) or `full` (the third class is negative too: the hard
    negatives); and `rsna_patients`: the published cross-reference to NIH file names, JSON or CSV; when None,
    `CROSS_REFERENCE` in the data set's folder is taken if it lies there. Without it patients are unknown, since the
    challenge's `patientId` names a film. What is read from headers is cached for all runs, beside the decoded films.

    Returns
    -------
    FilmSet
        `films` holds `image_id, path, label, patient_id, view, sex, age, class, boxes` (JSON: `[[x, y, width, height],
        ...]` in pixels of the film), `width, height, pixel_spacing` (mm) and `photometric`. Films that are listed but
        cannot be used are in `excluded`; every difference from the published counts is in `notes`.

    Raises
    ------
    UserError
        When the data set is not found or its tables lack a column, or a parameter is not understood.
    """
    cohort = str(parameters.get("rsna_cohort", "paper"))
    if cohort not in COHORTS:
        raise UserError(f"unknown cohort {cohort!r}", "rsna_cohort", suggest(cohort, COHORTS))
    return _load("rsna", cohort, parameters)


def load_full(parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """The data set `rsna_full`: all 26,684 films, hard negatives in, whatever `rsna_cohort` says; else as `load`."""
    return _load("rsna_full", "full", parameters)


def _load(name: str, cohort: str, parameters: Mapping[str, Any]) -> FilmSet:
    root = find_root(stage.data_root())
    listed = read_tables(root)
    there = _files(root)
    notes = compare_counts(listed, listed["image_id"].isin(there))
    outside = (listed["reason"] == "") & ~listed["class"].isin(COHORTS[cohort])
    listed.loc[outside, "reason"] = "not in the cohort: " + listed.loc[outside, "class"]
    wanted = listed[listed["reason"] == ""]
    present = wanted["image_id"].isin(there)
    films, missing = wanted[present].drop(columns="reason"), wanted[~present].assign(reason="file missing")
    films["path"] = films["image_id"].map(there)
    headers = read_headers(films["path"], root, default_cache())
    films = films.reset_index(drop=True).join(headers)
    films["reason"] = ("unreadable: " + films["error"]).fillna("")
    films = films.drop(columns="error").rename(columns={"rows": "height", "columns": "width"})
    excluded = pd.concat([listed[listed["reason"] != ""], missing, films[films["reason"] != ""]])
    films = films[films["reason"] == ""].drop(columns=["reason", "bits"]).reset_index(drop=True)
    if films.empty:
        raise UserError("no film of the data set can be read", str(root), HOW_TO_GET)
    films["patient_id"], patient_notes = _patients(films["image_id"], parameters.get("rsna_patients"), root, cohort)
    implausible = int((films["age"].isna() & films["age_text"].fillna("").ne("")).sum())
    if implausible:
        notes.append(f"{implausible:,} films with an age over {dicom.OLDEST} years, or no age at all: age unknown")
    notes += patient_notes
    if extra := there.keys() - set(listed["image_id"]):
        notes.append(f"{len(extra):,} files in {IMAGES} are not listed in any table and are not used")
    return FilmSet(
        name=name,
        title="RSNA 2018" + (" (all classes)" if cohort == "full" else ""),
        simulated=False,
        root=root,
        films=films.drop(columns="age_text").assign(truth_known=films["boxes"] != "[]"),
        notes=notes,
        licence=LICENCE,
        excluded=excluded[["image_id", "reason"]].sort_values("image_id", ignore_index=True),
        read=dicom.read_film,
        truth=_truth,
        # The third class is neither: its films show no lung opacity, and something else.
        negatives="normal" if HARD_NEGATIVE not in COHORTS[cohort] else "no lung opacity",
        published=sum(PUBLISHED[name] for name in COHORTS[cohort]),
    )


def _truth(film: Mapping[str, Any], size: int, box: Box) -> Truth:
    return Truth(box_mask(film["boxes"], int(film["width"]), int(film["height"]), size, box), None)


def find_root(data: Path) -> Path:
    """The folder of the data set below `data`: in one of `FOLDERS`, however deep its archive wraps the tables."""
    found = find_below(data, FOLDERS, lambda folder: _table_file(folder, LABELS) is not None)
    found = found or next(
        (data / name for name in FOLDERS if (data / name).is_dir()), None
    )  # what it lacks is said later
    if found:
        return found
    raise UserError("data set rsna was not found", f"looked for {', '.join(FOLDERS)} in {data}", HOW_TO_GET)


def read_tables(root: Path) -> pd.DataFrame:
    """Labels and detailed classes joined: one row a film, in the order of the labels table.

    Columns `image_id, path, class, label` (1 = Lung Opacity), `boxes` (JSON) and `reason`: empty, or why the two
    tables do not settle what the film is (a class without a label, two classes, class and target that disagree).
    """
    labels = _read(root, LABELS, ("patientId", "x", "y", "width", "height", "Target"))
    classes = _read(root, CLASSES, ("patientId", "class"))
    # Both tables have a row for each box: a film with three boxes has its class three times.
    class_of = classes.groupby("patientId")["class"].agg(lambda names: " | ".join(sorted(set(names.astype(str)))))
    targets = labels.groupby("patientId", sort=False)["Target"].agg(["min", "max"])
    films = targets.join(class_of, how="outer", sort=False)
    films = films.join(_boxes(labels)).rename_axis("image_id").reset_index()
    films["boxes"] = films["boxes"].fillna("[]")
    target, name = films["max"], films["class"]
    reasons = {
        "not a possible file name": ~films["image_id"].map(lambda text: bool(_NAME.fullmatch(text))),
        f"not in {LABELS}": target.isna(),
        f"not in {CLASSES}": name.isna(),
        "two classes, or an unknown class": name.notna() & ~name.isin(list(PUBLISHED)),
        "class and target disagree": (films["min"] != target) | (target != (name == "Lung Opacity").astype(float)),
    }
    films["reason"] = np.select(list(reasons.values()), list(reasons), default="")
    films["label"] = (name == "Lung Opacity").astype(int)
    films["path"] = IMAGES + "/" + films["image_id"] + ".dcm"
    return films[["image_id", "path", "class", "label", "boxes", "reason"]]


def compare_counts(listed: pd.DataFrame, present: pd.Series) -> list[str]:
    """Where films published, films listed and files that are there (`present`) differ, a sentence a class; or that
    they agree.
    """
    settled = listed["reason"] == ""
    counts, files = (listed.loc[rows, "class"].value_counts() for rows in (settled, settled & present))
    lines = [
        f"{name}: {published:,} films published, {counts.get(name, 0):,} listed, {files.get(name, 0):,} found"
        for name, published in PUBLISHED.items()
        if not published == counts.get(name, 0) == files.get(name, 0)
    ]
    total = sum(PUBLISHED.values())
    return lines or [f"all {total:,} published films are listed and present, in each class"]


def read_patients(path: Path) -> dict[str, str]:
    """NIH patient of each film, by the challenge's name of the film.

    `path` is the published JSON (a list of `{"subset_img_id": ..., "img_id": "PPPPPPPP_SSS.png", ...}`), or a CSV with
    those two columns, or with `patientId, nih_file`. The first eight digits of the NIH file are the patient.
    """
    if path.suffix.lower() == ".json":
        entries = read_json(path)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError("the cross-reference is not a list of entries", str(path), "use the published file")
        table = pd.DataFrame.from_records(entries)
    else:
        table = _read_csv(path)
    names = next((pair for pair in _PAIRS if set(pair) <= set(table.columns)), None)
    if names is None:
        raise UserError(
            "the cross-reference lacks its columns", str(path), "it needs " + ", or ".join(map(" and ".join, _PAIRS))
        )
    table = table.dropna(subset=list(names)).astype(str)
    patients = table[names[1]].str.extract(r"^(\d{8})_\d+", expand=False)
    if patients.isna().any():
        odd = table.loc[patients.isna(), names[1]].iloc[0]
        raise UserError(f"{odd!r} is not an NIH file name", str(path), "names are like 00001234_005.png")
    return dict(zip(table[names[0]], patients, strict=True))


def read_headers(paths: Iterable[str], root: Path, cache: Path, workers: int = 8) -> pd.DataFrame:
    """Header fields of films, one row each, in the order of `paths`; a film is read once and then known from a CSV.

    The fields of `dicom.Header`, and `error`: None, or why the header could not be read. `paths` count from `root`.
    The CSV in the folder `cache` holds each film's size and time: a film that has changed is read again. `workers`
    threads hide a slow disk; the parsing itself is one core's work.
    """
    store = cache / f"rsna_headers_{sha256(str(root.resolve()).encode()).hexdigest()[:12]}.csv"
    wanted = pd.DataFrame({"path": list(paths)})
    stats = [(root / path).stat() for path in wanted["path"]]
    wanted["bytes"] = [stat.st_size for stat in stats]
    wanted["modified"] = [stat.st_mtime_ns for stat in stats]
    known = _known_headers(store)
    merged = wanted.merge(known, how="left", on=["path", "bytes", "modified"], indicator=True)
    todo = wanted[(merged["_merge"] == "left_only").to_numpy()]
    for start in range(0, len(todo), _BATCH):
        batch = todo.iloc[start : start + _BATCH]
        with ThreadPoolExecutor(max(1, workers)) as pool:
            read = pool.map(lambda path: _header_row(root / path), batch["path"])
            rows = list(progress(read, desc="RSNA 2018: headers", total=len(batch), unit="film"))
        fresh = pd.concat([batch.reset_index(drop=True), pd.DataFrame(rows)], axis=1)
        known = pd.concat([known[~known["path"].isin(fresh["path"])], fresh], ignore_index=True)
        write_table(known, store)
    merged = wanted.merge(_known_headers(store), how="left", on=["path", "bytes", "modified"])
    return merged[[*_HEADER_COLUMNS, "error"]]


def _read(root: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    path = _table_file(root, name)
    if path is None:
        raise UserError("a table of the data set is missing", str(root / name), HOW_TO_GET)
    table = _read_csv(path)
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise UserError(f"the table lacks {', '.join(absent)}", str(path), "use the challenge's stage 2 tables")
    return table.dropna(subset=["patientId"])


def _table_file(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / f"{name}.zip") if path.is_file()), None)


def _read_csv(path: Path) -> pd.DataFrame:
    text = {name: "str" for pair in _PAIRS for name in pair}
    try:
        if path.suffix != ".zip":
            return pd.read_csv(path, dtype=text, encoding="utf-8")
        # A Mac puts a twin `__MACOSX/._name` beside each file, and pandas takes an archive of one file alone.
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if re.search(r"(^|/)[^./][^/]*\.csv$", name)]
            if len(names) != 1:
                raise UserError(f"{len(names)} tables in the archive", str(path), "download it again")
            with archive.open(names[0]) as handle:
                return pd.read_csv(handle, dtype=text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"table cannot be read: {error.strerror or error}", str(path), "check the path") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError, zipfile.BadZipFile) as error:
        raise UserError(f"not readable as CSV: {error}", str(path), "download it again") from None


def _boxes(labels: pd.DataFrame) -> pd.Series:
    corners = labels[["x", "y", "width", "height"]].apply(pd.to_numeric, errors="coerce")
    whole = corners.notna().all(axis=1) & (corners[["width", "height"]] > 0).all(axis=1)
    boxes = pd.Series(corners[whole].to_numpy().tolist(), index=labels.loc[whole, "patientId"], name="boxes")
    return boxes.groupby(level=0).agg(lambda found: json.dumps(list(found)))


def _files(root: Path) -> dict[str, str]:
    """Path below `root` of each film by its name: with the suffix in any case or without, in a folder twice nested."""
    found: dict[str, str] = {}
    folders = [folder for folder in subfolders(root) if folder.name.lower() == IMAGES]
    if not folders:
        raise UserError("the films cannot be read: No such file or directory", str(root / IMAGES), HOW_TO_GET)
    for folder in [*folders, *(inner for outer in folders for inner in subfolders(outer))]:
        below = folder.relative_to(root).as_posix()
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if entry.name[0] not in "._" and not entry.is_dir())
        except OSError as error:
            raise UserError(f"the films cannot be read: {error.strerror}", str(folder), HOW_TO_GET) from None
        for name in names:
            found.setdefault(re.sub(r"\.dcm$", "", name, flags=re.IGNORECASE), f"{below}/{name}")
    return found


def _patients(image_ids: pd.Series, path: str | None, root: Path, cohort: str) -> tuple[pd.Series, list[str]]:
    beside = root / CROSS_REFERENCE
    if path is None and not beside.is_file():
        note = (
            f"patients are unknown: put the published cross-reference {CROSS_REFERENCE} into {root.name}/, or name it "
            "in rsna_patients, for intervals by patient"
        )
        return pd.Series(None, index=image_ids.index, dtype="str"), [note]
    patients = image_ids.map(read_patients(beside if path is None else stage.user_path(path)))
    unknown, n_patients = int(patients.isna().sum()), int(patients.nunique())
    notes = [f"{unknown:,} films are not in the cross-reference: patient unknown"] if unknown else []
    if cohort in PUBLISHED_PATIENTS:
        published = PUBLISHED_PATIENTS[cohort]
        known = "as published" if n_patients == published else f"{published:,} published"
        notes.append(f"{n_patients:,} patients, {known}")
    return patients, notes


def _header_row(path: Path) -> dict[str, Any]:
    try:
        return {**asdict(dicom.read_header(path)), "error": None}
    except UserError as error:
        return {**dict.fromkeys(_HEADER_COLUMNS), "error": error.what}


def _known_headers(store: Path) -> pd.DataFrame:
    columns = ["path", "bytes", "modified", *_HEADER_COLUMNS, "error"]
    text = dict.fromkeys(("path", "view", "sex", "age_text", "photometric", "error"), "str")
    if store.is_file():
        try:
            table = pd.read_csv(store, dtype=text, encoding="utf-8", keep_default_na=False, na_values=[""])
            if list(table.columns) == columns:
                return table
        except (OSError, ValueError):
            pass  # a cache that cannot be read is made again
    types = {"bytes": "int64", "modified": "int64", **text}
    return pd.DataFrame({name: pd.Series(dtype=types.get(name, "float64")) for name in columns})
