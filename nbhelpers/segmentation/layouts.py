"""The published data sets as users have them, and a folder or table of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import read_listed
from nbhelpers.segmentation.datasets import SegmentationSet, bare_stem, image_files, located, pairs_in, stem, twins

# First frames of CVC-ClinicDB's 29 sequences: neighbours within one are near-duplicates.
CLINICDB_STARTS = (
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298),
    *(318, 343, 364, 384, 409, 429, 448, 467, 479, 504, 529, 547, 572, 592),
)


# PraNet's layout of polyp sets: title, folders that hold it, and what a reader should know.
POLYPS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "colondb": ("CVC-ColonDB", ("CVC-ColonDB",), "the 380 frames of PraNet's release"),
    "kvasir": ("Kvasir", ("Kvasir", "kvasir-seg", "Kvasir-SEG"), ""),
    "etis": ("ETIS", ("ETIS-LaribPolypDB",), ""),
    "cvc300": ("CVC-300", ("CVC-300",), "its frames come from CVC-ColonDB: not independent of it"),
}


def folder(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """`segmentation_folder`: a folder with `images/` and `masks/`, or a CSV of `image, mask[, group, split]`."""
    given = parameters.get("segmentation_folder")
    if not given:
        raise UserError(
            "the parameter segmentation_folder is not set", "parameters", "give a folder, or a CSV of image, mask"
        )
    path = root = user_path(given)
    if path.is_file() or path.suffix.lower() == ".csv":
        cases, root = read_listed(path, ("image", "mask"), "segmentation_folder"), path.parent
        if cases["image"].isna().any():
            raise UserError("a row names no image", str(path), "image, mask[, group, split]; a mask may be empty")
        cases["masks"] = [list(filter(None, map(str.strip, names.split(";")))) for names in cases["mask"].fillna("")]
        files = [PureWindowsPath(file) for file in cases["image"]]  # of either system
        alike = len({stem(file) for file in files}) < len(set(files))  # a name in several folders
        cases["case"] = ["_".join((*file.parent.parts, stem(file))) if alike else stem(file) for file in files]
        if "quality" in cases:
            cases["quality"] = pd.to_numeric(cases["quality"], errors="coerce")
    else:
        cases = pairs_in(path / "images", path / "masks", path)
    title, target = parameters.get("segmentation_title") or path.stem, parameters.get("segmentation_target", "object")
    return SegmentationSet(name, title, target, cases, root)


def busi(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """Breast ultrasound (Al-Dhabyani 2020): `benign`, `malignant`, `normal`, or `images/` and `masks/`."""
    root = located("BUSI", "busi", "Dataset_BUSI_with_GT", "BUSI")
    if (root / "images").is_dir():
        cases = pairs_in(root / "images", root / "masks", root)
    else:
        parts = [pairs_in(root / kind, root / kind, root) for kind in ("benign", "malignant", "normal")]
        cases = pd.concat(parts, ignore_index=True)
    found = SegmentationSet(name, "Breast ultrasound (BUSI)", "lesion", cases, root)
    cases["duplicate_of"] = twins(found)
    # A picture and its copies stay together, whatever their names say.
    groups: dict[str, str] = {}
    for case, earlier in zip(cases["case"], cases["duplicate_of"], strict=True):
        groups[case] = groups.get(earlier, case)
    cases["group"] = list(groups.values())
    copies = int((cases["duplicate_of"] != "").sum())
    found.notes = [f"{copies} near-duplicates, kept on one side of the split", "patients are not published"]
    return found


def fives(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """Fundus photographs (Jin 2022): `train/` and `test/`, each `Original/` and `Ground truth/`; the letter is the
    disease."""
    root = located("FIVES", "fives", "FIVES")
    parts = []
    for split in ("train", "test"):
        part = pairs_in(root / split / "Original", root / split / "Ground truth", root)
        parts.append(part.assign(split=split, case=f"{split}_" + part["case"]))
    cases = pd.concat(parts, ignore_index=True)
    cases["disease"] = cases["case"].str[-1]
    return SegmentationSet(name, "Fundus (FIVES)", "vessels", cases, root, notes=["patients are not published"])


def polyps(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """A set of `POLYPS`, in PraNet's layout: `images/` and `masks/`."""
    title, folders, note = POLYPS[name]
    root = located(title, name, *folders, *(f"TestDataset/{folder}" for folder in folders))
    cases = pairs_in(root / "images", root / "masks", root)
    notes = [*filter(None, [note]), "sequences are not known"]
    return SegmentationSet(name, f"Polyps ({title})", "polyp", cases, root, notes=notes)


def clinicdb(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """CVC-ClinicDB (Bernal 2015): PraNet's layout or `Original/` and `Ground Truth/`; grouped by its 29 sequences."""
    root = located("CVC-ClinicDB", "cvc_clinicdb", "clinicdb", "CVC-ClinicDB", "TestDataset/CVC-ClinicDB")
    images, masks = ("images", "masks") if (root / "images").is_dir() else ("Original", "Ground Truth")
    cases = pairs_in(root / images, root / masks, root)
    frames = [int("".join(filter(str.isdigit, case)) or 0) for case in cases["case"]]
    cases["group"] = [f"sequence {np.searchsorted(CLINICDB_STARTS, frame, 'right'):02d}" for frame in frames]
    return SegmentationSet(name, "Polyps (CVC-ClinicDB)", "polyp", cases, root, notes=["split by sequence"])


def drive(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """DRIVE (Staal 2004), as published or as `images/`, `masks/`, `fov/`: 01-20 are the test, scored in the view."""
    root = located("DRIVE", "drive_native", "drive", "DRIVE")
    if (root / "images").is_dir():
        cases = pairs_in(root / "images", root / "masks", root)
        cases["fov"] = [f"fov/{case}.png" for case in cases["case"]]
    else:
        rows = []
        for part in ("training", "test"):
            for image in sorted((root / part / "images").glob("*.tif")):
                number, place = image.stem.partition("_")[0], f"{part}/"
                row: dict[str, Any] = {"case": image.stem, "image": f"{place}images/{image.name}"}
                row |= {"masks": [f"{place}1st_manual/{number}_manual1.gif"]}
                row |= {"fov": f"{place}mask/{image.stem}_mask.gif"}
                if (root / place / "2nd_manual" / f"{number}_manual2.gif").is_file():
                    row["annotator_2"] = f"{place}2nd_manual/{number}_manual2.gif"
                if not (root / row["masks"][0]).is_file():
                    do = "this copy lacks labels: take one that has 1st_manual in test/ too"
                    raise UserError("the vessels are missing (the field of view is not them)", row["masks"][0], do)
                rows.append(row)
        cases = pd.DataFrame(rows, columns=["case", "image", "masks", "fov", "annotator_2"]).dropna(axis=1, how="all")
    cases["split"] = ["test" if int(case[:2]) <= 20 else "train" for case in cases["case"]]
    notes = ["scored inside the field of view"]
    return SegmentationSet(name, "Fundus (DRIVE)", "vessels", cases, root, notes=notes)


def stare(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """STARE (Hoover 2000): `images/`, `labels-ah/`, `labels-vk/` with `.ppm` or `.ppm.gz`; ah is the truth."""
    root = located("STARE", "stare", "STARE")
    cases = pairs_in(root / "images", root / "labels-ah", root)
    if (root / "labels-vk").is_dir():
        second = {bare_stem(path): str(path.relative_to(root)) for path in image_files(root / "labels-vk")}
        cases["annotator_2"] = cases["case"].map(second)
    return SegmentationSet(name, "Fundus (STARE)", "vessels", cases, root)


def chase_db1(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """CHASE_DB1 (Fraz 2012): `Image_01L.jpg`, `_1stHO.png`, `_2ndHO.png`; both eyes of a child stay together."""
    root = located("CHASE_DB1", "chase_db1", "CHASEDB1", "CHASE_DB1")
    images = sorted(root.glob("Image_*.jpg"))
    cases = pd.DataFrame({"case": [path.stem for path in images], "image": [path.name for path in images]})
    cases["masks"] = [[f"{case}_1stHO.png"] for case in cases["case"]]
    second = [f"{case}_2ndHO.png" for case in cases["case"]]
    cases["annotator_2"] = [file if (root / file).is_file() else None for file in second]
    cases["group"] = [f"child {case[6:8]}" for case in cases["case"]]
    return SegmentationSet(name, "Fundus (CHASE_DB1)", "vessels", cases, root)
