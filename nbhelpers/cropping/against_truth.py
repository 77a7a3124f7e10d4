"""Crops of simulated images against what the simulator knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.images.masks import Box
from nbhelpers.runs.progress import progress
from nbhelpers.simulator.truth import read_truth


def truth_table(cropped: pd.DataFrame, folder_in: Path) -> pd.DataFrame:
    """How well each crop did where the truth is known (`folder_in/<source>/truth/<image_id>.png`): simulated images.

    Nothing here looked at it before. One row a source and crop: `images`, `watermark_gone` (share of those that carry
    one whose box lies outside the crop; empty when none does), `lung_kept` (mean share of lung pixels within the crop),
    `under_98` (share of images that keep less than 98 % of them), `overlay_left` (mean share of frame, caption, marker
    and watermark pixels within the crop) and `area` (mean share of the image). No rows without truth.
    """
    measured = []
    for row in progress(cropped[cropped["status"] == "ok"].to_dict("records"), desc="against the truth", unit="image"):
        path = folder_in / str(row["source"]) / "truth" / f"{row['image_id']}.png"
        if path.is_file():
            measured.append(_against_truth(row, path))
    columns = ["watermark_gone", "lung_kept", "under_98", "overlay_left", "area"]
    if not measured:
        return pd.DataFrame(columns=["source", "crop", "images", *columns])
    table = pd.DataFrame(measured).groupby(["source", "crop"], sort=False)
    return table[columns].mean().assign(images=table.size()).reset_index()[["source", "crop", "images", *columns]]


def check_crops(truth: pd.DataFrame, gone: float = 0.99, kept: float = 0.98) -> str:
    """`content crop against the truth: ok`, or a `UserError` when a content crop left watermarks or took lungs.

    `gone` is the least share of images without their watermark, `kept` the least mean share of lung pixels.
    """
    content = truth[truth["crop"] == "content"]
    if content.empty:
        return "content crop against the ground truth: nothing to check (no simulated source is cropped by content)"
    bad = content[(content["watermark_gone"].fillna(1) < gone) | (content["lung_kept"] < kept)]
    if len(bad):
        row = bad.iloc[0]
        gone_in, do = f"watermark gone in {row['watermark_gone']:.1%}", "look at the figure of crops; use crop: margins"
        if pd.isna(row["watermark_gone"]):  # a corner was cleared for nothing
            gone_in, do = "no image has a watermark", "use crop: none for this source"
        raise UserError(f"content crop: {gone_in}, {row['lung_kept']:.1%} of lung pixels kept", str(row["source"]), do)
    return f"content crop against the ground truth: ok ({int(content['images'].sum())} images)"


def _against_truth(row: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    lungs, _, overlay = read_truth(path)
    box = Box(*(int(row[side]) for side in Box._fields))
    part = np.s_[box.top : box.bottom, box.left : box.right]
    marked = not pd.isna(row.get("watermark_left", np.nan))
    gone = marked and (
        row["watermark_left"] >= box.right
        or row["watermark_top"] >= box.bottom
        or row["watermark_right"] <= box.left
        or row["watermark_bottom"] <= box.top
    )
    kept = lungs[part].sum() / max(lungs.sum(), 1)
    return {
        "source": row["source"],
        "crop": row["crop"],
        "watermark_gone": float(gone) if marked else np.nan,
        "lung_kept": kept,
        "under_98": float(kept < 0.98),
        "overlay_left": overlay[part].sum() / overlay.sum() if overlay.any() else np.nan,
        "area": (box.right - box.left) * (box.bottom - box.top) / lungs.size,
    }
