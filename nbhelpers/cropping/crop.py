"""From a raw image to the radiograph in it, by named methods, and what quality control leaves of the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count

from nbhelpers.cropping import quality
from nbhelpers.cropping.content import find_content
from nbhelpers.cropping.methods import MARGINS, check_margins, crop_box, crops_of
from nbhelpers.errors import UserError
from nbhelpers.images import duplicates
from nbhelpers.images.files import read_image, to_gray, write_png
from nbhelpers.images.masks import Box
from nbhelpers.runs import Stage, reviews
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import sources_of, suggest
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import gathered
from nbhelpers.runs.tables import LABELS, read_table, write_table

SHOWN = ["source", "crop", "image_id", "label", "width", "height", *Box._fields, "status", "path"]


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """The crops that the arms ask for are known, and the margins leave something."""
    faults = gathered([(crops_of, parameters["arms"]), (check_margins, parameters["crop_margins"])])
    if faults:
        raise UserError.of(faults)


def load_reviews(stage: Stage) -> pd.DataFrame:
    """Reviewers' decisions of the run, noted as an input where there are any; a `UserError` for a source not drawn."""
    if (path := stage.run_folder / reviews.FILE).is_file():
        stage.input(path)
    found = reviews.read(stage.run_folder)
    drawn = [one.parent.name for one in stage.run_folder.glob("01_prompting/*/images.csv")]
    for source in set(found["source"]) - set(drawn):
        raise UserError(f"unknown source {source!r}", str(path), suggest(source, drawn))
    return found


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
    rejected: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Judge and crop the images of one source, and write `folder_out/images.csv`.

    Quality control looks at an image once, within its `content` box, so that every crop, and so every arm of a
    source, holds the same images. What it leaves out keeps its row, with the reason.

    `images` is `01_prompting/<source>/images.csv`, which lies in `folder_in`; crops go to `<crop>/<image_id>.png` below
    `folder_out`, gray. `methods` and `margins` are those of `crop_box`, `min_side` (pixels) is for `quality.measure`,
    `duplicate_distance` for `images.duplicates.near_duplicates`. `workers` are threads (decoding and filtering run
    outside Python's lock); 0 is one per CPU core. `rejected` are the images that a reviewer left out, by identifier,
    with who and why (`runs.reviews`).

    Gives one row an image and crop: the columns of `images`, with `path` the crop's (empty when left out), `crop`, its
    box `left, top, right, bottom` in pixels of the raw image, `status` (`ok` or `excluded`), `reason` (a key of
    `quality.REASONS`, `not drawn` or `reviewer`) and `detail`. When no image of a class is left, it is written, and a
    `UserError` is raised.
    """
    check_margins(margins)
    work = partial(
        _crop_image,
        folder_in=folder_in,
        folder_out=folder_out,
        methods=methods,
        margins=margins,
        min_side=min_side,
        rejected=rejected or {},
    )
    rows = images[["image_id", "path", "status"]].fillna("").to_dict("records")
    with ThreadPoolExecutor(workers or cpu_count()) as pool:
        bar = progress(pool.map(work, rows), desc=f"cropping {folder_out.name}", total=len(rows), unit="image")
        measured, boxes = zip(*bar, strict=True) if rows else ((), ())
    reasons, details = [one.reason for one in measured], [one.detail for one in measured]
    fit = np.flatnonzero([reason == "" for reason in reasons])
    if len(fit):
        hashes = np.array([measured[index].hash for index in fit], dtype=np.uint64)
        thumbnails = np.array([measured[index].thumbnail for index in fit], dtype=np.uint8)
        for place, twin in zip(fit, duplicates.near_duplicates(hashes, thumbnails, duplicate_distance), strict=True):
            if twin >= 0:
                reasons[place] = "near_duplicate"
                details[place] = f"of {images['image_id'].iloc[fit[twin]]}"
    cropped = _rows(images, boxes, reasons, details, methods)
    write_table(cropped, folder_out / "images.csv", "cropped")
    left = cropped.loc[cropped["status"] == "ok", "label"].to_numpy()
    for label in LABELS:
        if label not in left:
            where = str(folder_out / "images.csv")
            raise UserError(f"quality control excluded all images of class {label}", where, "see column reason")
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
        path = (f"{method}/" + kept["image_id"].astype(str) + ".png").where(kept["reason"] == "", "")
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
    reviewed: pd.DataFrame | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """`crop_source` for every source of the arms, with every crop that they ask of it; the tables one below another.

    `tables` holds each source's `images.csv`; its images lie in `folder_in/<source>`, and the crops go to
    `folder_out/<source>`. `reviewed` are reviewers' decisions (`runs.reviews.read`), `settings` those of `crop_source`.
    """
    cropped = []
    for source, methods in crops_of(arms).items():
        out = {} if reviewed is None else reviews.rejected(reviewed, source)
        if unknown := sorted(out.keys() - set(tables[source]["image_id"])):
            told = f"rejected images that {source} does not have: {', '.join(unknown[:5])} ({len(unknown)} in all)"
            raise UserError(told, reviews.FILE, "correct image_id, or remove these rows")
        folders = folder_in / source, folder_out / source
        cropped.append(crop_source(tables[source], *folders, methods, rejected=out, **settings))
    return pd.concat(cropped, ignore_index=True)


def left_out(cropped: pd.DataFrame) -> pd.DataFrame:
    """Every image that was left out, once: `source, image_id, label, reason, detail`; of a reviewer's, who and why."""
    images = cropped[cropped["status"] != "ok"].drop_duplicates(["source", "image_id"])
    return images[["source", "image_id", "label", "reason", "detail"]].reset_index(drop=True)


def exclusions(cropped: pd.DataFrame) -> pd.DataFrame:
    """What was left out, by source: `source, images, <each reason>, kept`, counted once an image."""
    images = cropped.drop_duplicates(["source", "image_id"])
    reasons = images["reason"].mask(images["status"] == "ok", "kept")
    counts = pd.crosstab(images["source"], reasons).reindex(images["source"].unique())
    counts = counts.reindex(columns=["not drawn", *quality.REASONS, "reviewer", "kept"], fill_value=0)
    counts.insert(0, "images", images.groupby("source").size())
    return counts.rename_axis(columns=None).reset_index()


def _crop_image(
    row: Mapping[Any, Any],
    folder_in: Path,
    folder_out: Path,
    methods: Sequence[str],
    margins: Sequence[float],
    min_side: int,
    rejected: Mapping[str, str],
) -> tuple[quality.Measures, dict[str, Box]]:
    if row["status"] != "ok":
        return quality.Measures("not drawn", str(row["status"])), {}
    if row["image_id"] in rejected:
        return quality.Measures("reviewer", rejected[row["image_id"]]), {}
    try:
        image = read_image(inside(folder_in, str(row["path"])))
    except UserError as error:
        return quality.Measures("unreadable", error.what), {}
    gray = to_gray(image)
    content = find_content(gray)
    measured = quality.measure(image, gray, content, min_side)
    boxes = {method: content if method == "content" else crop_box(gray, method, margins) for method in methods}
    if not measured.reason:
        for method, box in boxes.items():
            crop = gray[box.top : box.bottom, box.left : box.right]
            write_png(inside(folder_out, f"{method}/{row['image_id']}.png"), crop)
    return measured, boxes
