"""Notebook 02 at the screen: margins and the content crop over one image, and what was left out, by reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from PIL import Image

from nbhelpers.cropping.crop import left_out
from nbhelpers.cropping.methods import METHODS, crop_box
from nbhelpers.errors import UserError
from nbhelpers.images.contact_sheet import grid, show, tile_or_blank
from nbhelpers.images.files import Gray, read_image, to_gray
from nbhelpers.images.masks import Box
from nbhelpers.images.widgets import LINE, Pixels, choice, outlined, pages, picture, row, slider, words
from nbhelpers.runs import front_end
from nbhelpers.runs.files import inside
from nbhelpers.style import readable, simulated_note

SIDES = ("left", "top", "right", "bottom")
MOST = 0.45  # a margin's share of the image, at most


def boxed(image: Gray, box: Box) -> Pixels:
    """The image in RGB with the box drawn in, two pixels wide or more on a large one."""
    inside_box = np.zeros(image.shape, dtype=np.bool_)
    inside_box[box.top : box.bottom, box.left : box.right] = True
    return outlined(image, {LINE: inside_box}, max(2, max(image.shape) // 180))


def parameters_to_copy(method: str, margins: Sequence[float], source: str) -> str:
    """What a parameter file holds for a crop chosen by eye."""
    arm = f"  mine: {{source: {source}, crop: {method}}}"
    given = f"crop_margins: [{', '.join(f'{share:.2f}' for share in margins)}]\n" if method == "margins" else ""
    return f"{given}arms:\n{arm}"


def crops(
    drawn: Mapping[str, pd.DataFrame], folder_in: Path, margins: Sequence[float], count: int = 40
) -> widgets.Widget | Figure | None:
    """One drawn image with the box of a crop, what is left of it, and the parameters that give this crop.

    Margins are turned, the content crop looks for its box itself. Where nobody is at the screen: the first image, with
    each crop. `drawn` is by source `01_prompting/<source>/images.csv`; its first `count` images can be looked at.
    """
    tables = {name: table[table["status"] == "ok"].head(count).assign(source=name) for name, table in drawn.items()}

    def load(row: pd.Series) -> Gray:
        try:
            return to_gray(read_image(inside(folder_in / row["source"], row["path"])))
        except UserError:  # it is excluded as unreadable, and stops nothing
            return to_gray(Image.fromarray(tile_or_blank(folder_in, None)))

    if not front_end.live():
        first = next((table for table in tables.values() if len(table)), None)
        if first is None:
            return None
        image, methods = load(first.iloc[0]), list(METHODS)
        figure, axes = grid(2, len(methods), title_room=0.2)
        for column, method in enumerate(methods):
            box = crop_box(image, method, margins)
            show(axes[0][column], boxed(image, box))
            show(axes[1][column], image[box.top : box.bottom, box.left : box.right])
            axes[0][column].set_title(method, fontsize=8)
        figure.suptitle("One image under each crop" + simulated_note(first["simulated"]), fontsize=9)
        plt.close(figure)  # it is shown as what the cell gives, and once is enough
        return figure
    source, method = choice("source", list(tables)), choice("crop", ["margins", "content"])
    shares = [
        slider(name, share, 0, MOST, 0.01, readout_format=".2f") for name, share in zip(SIDES, margins, strict=True)
    ]
    copied = widgets.Textarea(description="to copy", rows=4, layout=widgets.Layout(width="520px"))
    (before, to_before), (after, to_after) = picture(), picture()

    def look(shown: pd.Series | None, _: str) -> None:
        if shown is None:
            return
        image, given = load(shown), [one.value for one in shares]
        box = crop_box(image, method.value, given)
        to_before(boxed(image, box), "before")
        to_after(image[box.top : box.bottom, box.left : box.right], f"after, {method.value}")
        copied.value = parameters_to_copy(method.value, given, source.value)
        for one in shares:
            one.disabled = method.value != "margins"

    at, _ = pages("image", lambda: tables[source.value], look, source, turned=[method, *shares])
    turned = widgets.VBox([*shares, copied])
    return widgets.VBox([row(source, method, at), row(before, after, turned)])


def exclusions(cropped: pd.DataFrame, folder_in: Path, raw: pd.DataFrame) -> widgets.Widget | Styler:
    """The images that were left out, by reason, one at a time; as a table where nobody is at the screen.

    Parameters are those of `figures.figure_exclusions`. Where no image was excluded, it says so.
    """
    out = left_out(cropped)
    if out.empty or not front_end.live():
        return readable(out, nothing="no image was excluded")
    files = out.merge(raw[["source", "image_id", "path"]], on=["source", "image_id"], how="left")
    counts = files["reason"].value_counts()
    reason = choice("reason", [(f"{str(name).replace('_', ' ')} ({n})", name) for name, n in counts.items()])
    told, (shown, to) = widgets.HTML(), picture()

    def look(image: pd.Series | None, _: str) -> None:
        assert image is not None  # each reason of the menu has an image
        to(tile_or_blank(folder_in / image["source"], image["path"]), f"{image['image_id']}, {image['label']}")
        told.value = words(f"{image['reason'].replace('_', ' ')}: {escape(str(image['detail'] or ''))}")

    at, _ = pages("image", lambda: files[files["reason"] == reason.value], look, reason)
    return widgets.VBox([row(reason, at), shown, told])
