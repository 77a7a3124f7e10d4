"""From a raw image to the radiograph in it, by named methods, and what quality control leaves of the images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.cropping import quality
from nbhelpers.cropping.content import find_content
from nbhelpers.cropping.methods import MARGINS, METHODS, check_margins, crop_box, crops_of
from nbhelpers.errors import UserError
from nbhelpers.images import duplicates
from nbhelpers.images.files import Gray, read_image, to_gray, write_png
from nbhelpers.images.masks import Box
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import sources_of, suggest
from nbhelpers.runs.progress import progress
from nbhelpers.runs.tables import LABELS, read_table, write_table


class _Result(NamedTuple):
    """What came of one image; hash and thumbnail are missing when there was nothing to measure."""

    reason: str
    detail: str
    boxes: dict[str, Box]
    hash: NDArray[np.uint64] | None
    thumbnail: Gray | None


SHOWN = ["source", "crop", "image_id", "label", "width", "height", *Box._fields, "status", "path"]


def load_tables(
    arms: Mapping[str, Mapping[str, str]], folder_in: Path, note: Callable[[Path], Path] = Path
) -> dict[str, pd.DataFrame]:
    """`images.csv` of every source that the arms name, by source; `note` is told of each file (`stage.input`)."""
    return {source: read_table(note(folder_in / source / "images.csv"), "images") for source in crops_of(arms)}


def crop_source(
    images: pd.DataFrame,
    folder_in: Path,
    folder_out: Path,
    methods: Sequence[str],
    margins: Sequence[float] = MARGINS,
    min_side: int = 128,
    duplicate_distance: int = 8,
    workers: int = 0,
) -> pd.DataFrame:
    """Judge and crop the images of one source, and write `folder_out/images.csv`.

    Quality control looks at an image once, within its `content` box, so that every crop, and so every arm of a
    source, holds the same images. What it leaves out keeps its row, with the reason.

    Parameters
    ----------
    images : DataFrame
        `01_prompting/<source>/images.csv`.
    folder_in, folder_out : pathlib.Path
        Where that table lies, and where crops go: `<crop>/<image_id>.png`, gray.
    methods : sequence of str
        Names of `METHODS`.
    margins : sequence of 4 floats
        For `margins`; see `crop_box`.
    min_side, duplicate_distance : int
        See `quality.measure` and `images.duplicates.near_duplicates`.
    workers : int
        Threads (decoding and filtering run outside Python's lock); 0 is one per CPU core.

    Returns
    -------
    DataFrame
        One row an image and crop: the columns of `images`, with `path` the crop's (empty when left out), `crop`, its
        box `left, top, right, bottom` in pixels of the raw image, `status` (`ok` or `excluded`), `reason` (a key of
        `quality.REASONS`, or `not drawn`) and `detail`.

    Raises
    ------
    UserError
        When no image of a class is left; the table is written first.
    """
    for method in methods:
        if method not in METHODS:
            raise UserError(f"unknown crop {method!r}", "arms", suggest(method, METHODS))
    check_margins(margins)
    work = partial(
        _crop_image, folder_in=folder_in, folder_out=folder_out, methods=methods, margins=margins, min_side=min_side
    )
    rows = images[["image_id", "path", "status"]].fillna("").to_dict("records")
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        results = list(
            progress(pool.map(work, rows), desc=f"cropping {folder_out.name}", total=len(rows), unit="image")
        )
    reasons, details = [result.reason for result in results], [result.detail for result in results]
    fit = np.flatnonzero([reason == "" for reason in reasons])
    if len(fit):
        hashes = np.array([results[index].hash for index in fit], dtype=np.uint64)
        thumbnails = np.array([results[index].thumbnail for index in fit], dtype=np.uint8)
        for place, twin in zip(fit, duplicates.near_duplicates(hashes, thumbnails, duplicate_distance), strict=True):
            if twin >= 0:
                reasons[place] = "near_duplicate"
                details[place] = f"of {images['image_id'].iloc[fit[twin]]}"
    cropped = _rows(images, [result.boxes for result in results], reasons, details, methods)
    write_table(cropped, folder_out / "images.csv", "cropped")
    left = cropped.loc[cropped["status"] == "ok", "label"]
    for label in LABELS:
        if not (left == label).any():
            raise UserError(
                f"quality control left no image of class {label}", str(folder_out / "images.csv"), "see column reason"
            )
    return cropped


def _rows(
    images: pd.DataFrame,
    boxes: Sequence[Mapping[str, Box]],
    reasons: Sequence[str],
    details: Sequence[str],
    methods: Sequence[str],
) -> pd.DataFrame:
    """One row an image and crop, as `crop_source` gives them."""
    # Paths of an earlier stage's files mean nothing beside this table; image_id leads back to them.
    kept = images.drop(columns=["path", "status", "detail", "truth_path"], errors="ignore").reset_index(drop=True)
    kept = kept.assign(status=["excluded" if reason else "ok" for reason in reasons], reason=reasons, detail=details)
    tables = []
    for method in methods:
        sides = pd.DataFrame([found.get(method, (np.nan,) * 4) for found in boxes], columns=list(Box._fields))
        path = [
            f"{method}/{name}.png" if not reason else "" for name, reason in zip(kept["image_id"], reasons, strict=True)
        ]
        tables.append(pd.concat([kept.assign(crop=method, path=path), sides], axis=1))
    cropped = pd.concat(tables, ignore_index=True)
    first = ["image_id", "path", "label", "crop", *Box._fields, "status", "reason", "detail"]
    return cropped[first + [name for name in cropped.columns if name not in first]]


def crops_table(tables: Mapping[str, pd.DataFrame], arms: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """By source: how many images were drawn, their commonest size, the crops made of them, and the arms that ask."""
    rows = []
    for source, crops in crops_of(arms).items():
        table = tables[source]
        sizes = [f"{width:.0f} x {height:.0f}" for width, height in zip(table["width"], table["height"], strict=True)]
        common = pd.Series(sizes).mode().iloc[0]
        asking = [name for name, arm in arms.items() if source in sources_of(arm)]
        usable = int((table["status"] == "ok").sum())
        rows.append((source, usable, common, ", ".join(crops), ", ".join(asking)))
    return pd.DataFrame(rows, columns=["source", "images", "commonest_size", "crops", "arms"])


def raw_paths(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`source, image_id, path` of all raw images, for figures that show them beside their crops."""
    return pd.concat([table[["source", "image_id", "path"]] for table in tables.values()], ignore_index=True)


def crop_sources(
    tables: Mapping[str, pd.DataFrame],
    arms: Mapping[str, Mapping[str, str]],
    folder_in: Path,
    folder_out: Path,
    **settings: Any,
) -> pd.DataFrame:
    """`crop_source` for every source of the arms, with every crop that they ask of it; the tables one below another.

    `tables` holds each source's `images.csv`; its images lie in `folder_in/<source>`, and the crops go to
    `folder_out/<source>`. `settings` are those of `crop_source`.
    """
    return pd.concat(
        [
            crop_source(tables[source], folder_in / source, folder_out / source, methods, **settings)
            for source, methods in crops_of(arms).items()
        ],
        ignore_index=True,
    )


def exclusions(cropped: pd.DataFrame) -> pd.DataFrame:
    """What quality control left out, by source: `source, images, <each reason>, kept`, counted once an image."""
    images = cropped.drop_duplicates(["source", "image_id"])
    rows = []
    for source, group in images.groupby("source", sort=False):
        counts = group["reason"].fillna("").value_counts()
        known = {reason: int(counts.get(reason, 0)) for reason in ("not drawn", *quality.REASONS)}
        rows.append({"source": source, "images": len(group), **known, "kept": int((group["status"] == "ok").sum())})
    return pd.DataFrame(rows)


def _crop_image(
    row: Mapping[Any, Any],
    folder_in: Path,
    folder_out: Path,
    methods: Sequence[str],
    margins: Sequence[float],
    min_side: int,
) -> _Result:
    if row["status"] != "ok":
        return _Result("not drawn", str(row["status"]), {}, None, None)
    try:
        image = read_image(inside(folder_in, str(row["path"])))
    except UserError as error:
        return _Result("unreadable", error.what, {}, None, None)
    gray = to_gray(image)
    content = find_content(gray)
    measured = quality.measure(image, gray, content, min_side)
    boxes = {method: content if method == "content" else crop_box(gray, method, margins) for method in methods}
    if not measured.reason:
        for method, box in boxes.items():
            crop = gray[box.top : box.bottom, box.left : box.right]
            write_png(inside(folder_out, f"{method}/{row['image_id']}.png"), crop)
    return _Result(measured.reason, measured.detail, boxes, measured.hash, measured.thumbnail)
