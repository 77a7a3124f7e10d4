"""Contact sheets: what was drawn (figure 1), what cropping keeps of it, and what quality control left out."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nbhelpers.images.contact_sheet import TILE, grid, row_title, show, shrink, tile_or_blank
from nbhelpers.images.files import read_image
from nbhelpers.images.masks import Box
from nbhelpers.runs import Stage
from nbhelpers.runs.files import inside
from nbhelpers.style import in_lines, named, simulated_note

BOX_COLOUR = "#DE8F05"  # orange of the colour-blind-safe palette


def figure_crops(cropped: pd.DataFrame, raw_folder: Path, raw: pd.DataFrame, columns: int = 7, seed: int = 0) -> Figure:
    """Before and after: the raw image with the box of its crop drawn in, and below it the crop.

    Crops (of `crop.crop_sources`) that keep all of the image are left out, unless no other was asked for. `raw` has
    `source, image_id, path` of the raw images, which lie in `raw_folder/<source>/<path>`; `seed` chooses which are
    shown, half of each class.
    """
    fit = cropped[cropped["status"] == "ok"]
    if (fit["crop"] != "none").any():
        fit = fit[fit["crop"] != "none"]
    fit = fit.merge(raw[["source", "image_id", "path"]], on=["source", "image_id"], suffixes=("", "_raw"))
    groups = [(key, _mixed(table, columns, seed)) for key, table in fit.groupby(["source", "crop"], sort=False)]
    figure, axes = grid(2 * len(groups), columns)
    for number, (key, table) in enumerate(groups):
        source, crop = str(key[0]), str(key[1])
        for column, row in enumerate(table.to_dict("records")):
            image = read_image(inside(raw_folder / source, str(row["path_raw"])))
            scale = TILE / max(image.size)
            left, top, right, bottom = (float(row[side]) * scale for side in Box._fields)
            tile = shrink(image)
            show(axes[2 * number][column], tile)
            box = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=BOX_COLOUR, lw=1.2)
            axes[2 * number][column].add_patch(box)
            show(axes[2 * number + 1][column], tile[round(top) : round(bottom), round(left) : round(right)])
        row_title(axes[2 * number][0], f"{in_lines(named(source))}\nraw")
        row_title(axes[2 * number + 1][0], f"crop:\n{crop}")
    figure.suptitle("Images before and after cropping" + simulated_note(fit["simulated"]), fontsize=9.5)
    return figure


def figure_exclusions(
    cropped: pd.DataFrame, raw_folder: Path, raw: pd.DataFrame, columns: int = 7, rows: int = 3
) -> Figure:
    """Images that quality control or a reviewer left out, each with its reason; there must be one at least.

    Parameters are those of `figure_crops`; of many, the first of each reason are shown.
    """
    images = cropped.drop_duplicates(["source", "image_id"])
    out = images[images["status"] != "ok"].merge(
        raw[["source", "image_id", "path"]], on=["source", "image_id"], suffixes=("", "_raw")
    )
    # The first of each reason, then the second of each, so that no reason crowds out another.
    rank = out.groupby("reason").cumcount()
    shown = out.assign(rank=rank).sort_values(["rank", "reason"], kind="stable").head(columns * rows)
    shown = shown.sort_values("reason", kind="stable")
    figure, axes = grid(-(-len(shown) // columns), columns, title_room=0.45)
    for axis, row in zip([axis for line in axes for axis in line], shown.to_dict("records"), strict=False):
        show(axis, tile_or_blank(raw_folder / str(row["source"]), row["path_raw"]))
        axis.set_title("\n".join(textwrap.wrap(str(row["reason"]).replace("_", " "), 16)), fontsize=8)
    figure.suptitle(f"Excluded: {len(out)} of {len(images)}" + simulated_note(out["simulated"]))
    return figure


def save_exclusions(cropped: pd.DataFrame, raw_folder: Path, raw: pd.DataFrame, stage: Stage) -> None:
    """Draw and save `figure_exclusions` as `figures/exclusions`; where nothing was left out, say so instead."""
    if (cropped["status"] == "ok").all():
        images = len(cropped.drop_duplicates(["source", "image_id"]))
        print(f"no exclusions: all {images} images passed quality control")
    else:
        stage.save_figure(figure_exclusions(cropped, raw_folder, raw), "exclusions")


def _mixed(table: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """`count` images, the classes in turn."""
    shuffled = table.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("label").cumcount()
    return shuffled.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(count)
