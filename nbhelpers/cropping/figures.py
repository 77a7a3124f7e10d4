"""Contact sheets: what was drawn (figure 1), what cropping keeps of it, and what quality control left out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.images.files import read_image, to_gray
from nbhelpers.prompting.drawing import is_simulated
from nbhelpers.runs import Stage
from nbhelpers.runs.files import inside
from nbhelpers.style import PAGE_WIDTH, save_figure

TILE = 256  # pixels of a tile's longer side: enough at 200 dpi and 8 tiles a page
BOX_COLOUR = "#DE8F05"  # orange of the colour-blind-safe palette


def figure_1(images: pd.DataFrame, folder: Path, columns: int = 7, seed: int = 0) -> Figure:
    """Figure 1: images as drawn, one row a source and class; where pairs are known, a column shows one pair.

    Parameters
    ----------
    images : DataFrame
        From `generation.draw_all`.
    folder : pathlib.Path
        Holds `<source>/<path>`.
    columns : int
        Images a row.
    seed : int
        Chooses which.
    """
    rows: list[tuple[str, list[Path]]] = []
    for source, table in images[images["status"] == "ok"].groupby("source", sort=False):
        chosen = _choose(table, columns, seed)
        for label, group in chosen.items():
            paths = [inside(folder / str(source), path) for path in group["path"]]
            rows.append((f"{title_of(str(source))}\n{label}", paths))
    figure, axes = _grid(len(rows), columns)
    for line, (title, paths) in zip(axes, rows, strict=True):
        for axis, path in zip(line, paths, strict=False):
            _show(axis, load_tile(path))
        _row_title(line[0], title)
    figure.suptitle("Images as drawn, before cropping" + _simulated_note(images["source"].unique()), fontsize=9.5)
    return figure


def figure_crops(cropped: pd.DataFrame, raw_folder: Path, raw: pd.DataFrame, columns: int = 7, seed: int = 0) -> Figure:
    """Before and after: the raw image with the box of its crop drawn in, and below it the crop.

    Crops that keep all of the image are left out, unless no other was asked for.

    Parameters
    ----------
    cropped : DataFrame
        From `cropping.crop_sources`.
    raw_folder : pathlib.Path
        Holds `<source>/<path>` of the raw images.
    raw : DataFrame
        `source, image_id, path` of the raw images.
    columns : int
        Images a row.
    seed : int
        Chooses which; half of each class.
    """
    fit = cropped[cropped["status"] == "ok"]
    if (fit["crop"] != "none").any():
        fit = fit[fit["crop"] != "none"]
    fit = fit.merge(raw[["source", "image_id", "path"]], on=["source", "image_id"], suffixes=("", "_raw"))
    groups = [(key, _mixed(table, columns, seed)) for key, table in fit.groupby(["source", "crop"], sort=False)]
    figure, axes = _grid(2 * len(groups), columns)
    for number, (key, table) in enumerate(groups):
        source, crop = str(key[0]), str(key[1])
        for column, row in enumerate(table.to_dict("records")):
            image = read_image(inside(raw_folder / source, str(row["path_raw"])))
            scale = TILE / max(image.size)
            left, top, right, bottom = (float(row[side]) * scale for side in ("left", "top", "right", "bottom"))
            tile = _shrink(image)
            _show(axes[2 * number][column], tile)
            box = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=BOX_COLOUR, lw=1.2)
            axes[2 * number][column].add_patch(box)
            _show(axes[2 * number + 1][column], tile[round(top) : round(bottom), round(left) : round(right)])
        _row_title(axes[2 * number][0], f"{title_of(source)}\nraw")
        _row_title(axes[2 * number + 1][0], f"crop:\n{crop}")
    figure.suptitle("What each crop keeps" + _simulated_note(fit["source"].unique()), fontsize=9.5)
    return figure


def figure_exclusions(
    cropped: pd.DataFrame, raw_folder: Path, raw: pd.DataFrame, columns: int = 7, rows: int = 3
) -> Figure:
    """Images that quality control left out, each with its reason; there must be one at least.

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
    figure, axes = _grid(-(-len(shown) // columns), columns, title_room=0.45)
    for axis, row in zip([axis for line in axes for axis in line], shown.to_dict("records"), strict=False):
        _show(axis, _tile_or_blank(raw_folder / str(row["source"]), row["path_raw"]))
        axis.set_title("\n".join(textwrap.wrap(str(row["reason"]).replace("_", " "), 16)), fontsize=8)
    figure.suptitle(
        f"Left out by quality control: {len(out)} of {len(images)}" + _simulated_note(out["source"].unique())
    )
    return figure


def save_exclusions(cropped: pd.DataFrame, raw_folder: Path, raw: pd.DataFrame, stage: Stage) -> None:
    """Draw and save `figure_exclusions` as `figures/exclusions`; where nothing was left out, say so instead."""
    if (cropped["status"] == "ok").all():
        images = len(cropped.drop_duplicates(["source", "image_id"]))
        print(f"nothing was left out: all {images} images passed quality control")
    else:
        save_figure(figure_exclusions(cropped, raw_folder, raw), stage, "exclusions")


def load_tile(path: Path) -> NDArray[np.uint8]:
    """An image file, shrunk to `TILE` pixels on its longer side: uint8 `(h, w)` gray, or `(h, w, 3)` RGB."""
    return _shrink(read_image(path))


def title_of(source: str) -> str:
    """A source's name for a figure; `(simulated)` goes with what a simulator drew."""
    return f"{source.removesuffix('_roentgen')}\n(RoentGen-like)" if source == "simulator_roentgen" else source


def _simulated_note(sources: Sequence[str] | NDArray[np.object_]) -> str:
    drawn = [is_simulated(str(source)) for source in sources]
    return " (simulated)" if all(drawn) else " (in part simulated)" if any(drawn) else ""


def _choose(table: pd.DataFrame, count: int, seed: int) -> dict[str, pd.DataFrame]:
    """`count` images of each class: of the same pairs where enough pairs have both."""
    classes = {str(label): group for label, group in table.groupby("label", sort=False)}
    pairs = set.intersection(*(set(group["pair_id"]) for group in classes.values())) if "pair_id" in table else set()
    rng = np.random.default_rng(seed)
    if len(classes) == 2 and len(pairs) >= count:
        chosen = list(rng.permutation(sorted(pairs))[:count])
        return {
            name: group.drop_duplicates("pair_id").set_index("pair_id").loc[chosen] for name, group in classes.items()
        }
    return {name: group.sample(min(count, len(group)), random_state=seed) for name, group in classes.items()}


def _mixed(table: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """`count` images, the classes in turn."""
    shuffled = table.sample(frac=1, random_state=seed)
    turn = shuffled.groupby("label").cumcount()
    return shuffled.assign(turn=turn).sort_values(["turn", "label"], kind="stable").head(count)


def _grid(rows: int, columns: int, title_room: float = 0.0) -> tuple[Figure, list[list[Axes]]]:
    # Tiles are square at most, and the row titles take about an inch.
    tile = (PAGE_WIDTH - 0.95) / columns
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(PAGE_WIDTH, rows * (tile + 0.03 + title_room) + 0.25),
        squeeze=False,
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0),
    )
    for axis in axes.ravel():
        axis.axis("off")
    return figure, [list(line) for line in axes]


def _show(axis: Axes, tile: NDArray[np.uint8]) -> None:
    axis.imshow(tile, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")


def _row_title(axis: Axes, title: str) -> None:
    axis.text(-0.06, 0.5, title, transform=axis.transAxes, ha="right", va="center", fontsize=8)


def _shrink(image: Image.Image) -> NDArray[np.uint8]:
    # Deep gray images need stretching, which `to_gray` does; colour is shown as colour, so that a reader sees it.
    plain = image.convert("RGB") if image.mode in ("RGB", "RGBA", "P", "CMYK") else Image.fromarray(to_gray(image))
    scale = TILE / max(plain.size)
    size = max(round(plain.width * scale), 1), max(round(plain.height * scale), 1)
    return np.asarray(plain.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC), np.uint8)


def _tile_or_blank(folder: Path, path: object) -> NDArray[np.uint8]:
    if isinstance(path, str) and path:
        try:
            return load_tile(inside(folder, path))
        except UserError:
            pass
    return np.full((TILE, TILE), 220, dtype=np.uint8)
