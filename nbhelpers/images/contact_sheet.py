"""Contact sheets: tiles of images in a grid."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.images.files import read_image, to_gray
from nbhelpers.runs.files import inside
from nbhelpers.style import PAGE_WIDTH

TILE = 256  # pixels of a tile's longer side: enough at 200 dpi and 8 tiles a page


def load_tile(path: Path) -> NDArray[np.uint8]:
    """An image file, shrunk to `TILE` pixels on its longer side: uint8 `(h, w)` gray, or `(h, w, 3)` RGB."""
    return shrink(read_image(path))


def grid(rows: int, columns: int, title_room: float = 0.0) -> tuple[Figure, list[list[Axes]]]:
    """A figure of page width with `rows` times `columns` axes, and room for a title at each row's left.

    `title_room` is the height in inches that each row keeps for titles over its tiles.
    """
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


def show(axis: Axes, tile: NDArray[np.uint8]) -> None:
    """Draw a tile into its axes, black 0 and white 255."""
    axis.imshow(tile, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")


def side_by_side(images: Mapping[str, NDArray[np.uint8]], title_room: float = 0.3) -> Figure:
    """Images in a row, each under its title of any length: what a notebook's cell gives in a widget's place."""
    figure, axes = grid(1, len(images), title_room)
    for axis, (title, tile) in zip(axes[0], images.items(), strict=True):
        show(axis, tile)
        axis.set_anchor("S")  # all room above the image is the title's
        axis.set_title(textwrap.fill(title, 132 // len(images)), fontsize=7, loc="left")
    plt.close(figure)  # it is shown as what the cell gives, and once is enough
    return figure


def row_title(axis: Axes, title: str) -> None:
    """Write a row's title to the left of its first axes."""
    axis.text(-0.06, 0.5, title, transform=axis.transAxes, ha="right", va="center", fontsize=8)


def shrink(image: Image.Image) -> NDArray[np.uint8]:
    """An image as a tile of `TILE` pixels on its longer side: uint8 `(h, w)` gray, or `(h, w, 3)` RGB."""
    # Deep gray images need stretching, which `to_gray` does; colour is shown as colour, so that a reader sees it.
    plain = image.convert("RGB") if image.mode in ("RGB", "RGBA", "P", "CMYK") else Image.fromarray(to_gray(image))
    scale = TILE / max(plain.size)
    size = max(round(plain.width * scale), 1), max(round(plain.height * scale), 1)
    return np.asarray(plain.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC), np.uint8)


def tile_or_blank(folder: Path, path: object) -> NDArray[np.uint8]:
    """The tile of an image file, or a grey one where there is no file that can be read."""
    if isinstance(path, str) and path:
        try:
            return load_tile(inside(folder, path))
        except UserError:
            pass
    return np.full((TILE, TILE), 220, dtype=np.uint8)
