"""What the widgets of the notebooks share: an image under a title, a wipe, outlines, filters, and paging through rows.

A function that gives a widget gives a figure or a table in its place where nobody is at the screen (`front_end.live`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageColor
from scipy.ndimage import binary_erosion

from nbhelpers.images.masks import Mask

Pixels = NDArray[np.uint8]
SIDE = 360  # pixels of a picture's longer side on the screen
LINE = "#DE8F05"  # orange of the colour-blind-safe palette: where a wipe stands


def fitted(pixels: Pixels, side: int = SIDE) -> Pixels:
    """A picture, uint8 `(h, w)` or `(h, w, 3)`, as RGB whose longer side has `side` pixels."""
    image = Image.fromarray(pixels).convert("RGB")
    scale = side / max(image.size)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    return np.asarray(image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC), np.uint8)


def as_png(pixels: Pixels) -> bytes:
    """A picture's pixels as a PNG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def picture(side: int = SIDE) -> tuple[widgets.VBox, Callable[[Pixels | None, str], None]]:
    """A picture under a title, and the function `(pixels, title)` that changes both; None hides them."""
    heading, shown = (
        widgets.HTML(),
        widgets.Image(format="png", layout=widgets.Layout(max_width="100%", align_self="flex-start")),
    )

    whole = widgets.VBox([heading, shown], layout=widgets.Layout(margin="0 12px 0 0"))

    def change(pixels: Pixels | None, text: str = "") -> None:
        whole.layout.display = "none" if pixels is None else ""
        if pixels is not None:
            shown.value, shown.alt, heading.value = as_png(fitted(pixels, side)), text, f"<b>{escape(text)}</b>"

    return whole, change


def row(*parts: widgets.Widget) -> widgets.HBox:
    """Widgets beside one another, on further lines where there is no room."""
    return widgets.HBox(list(parts), layout=widgets.Layout(flex_flow="row wrap", align_items="flex-start"))


def slider(name: str, value: float, low: float, high: float, step: float, **more: Any) -> widgets.FloatSlider:
    """A slider, whose name is read in full."""
    return widgets.FloatSlider(value, min=low, max=high, step=step, description=name, **_look(), **more)


def whole(name: str, value: int, low: int, high: int) -> widgets.IntSlider:
    """A slider over whole numbers, which tells them when it is let go."""
    return widgets.IntSlider(value, low, high, description=name, continuous_update=False, **_look())


def choice(name: str, options: Sequence[Any], **more: Any) -> widgets.Dropdown:
    """A menu; its options are values, or pairs of a name and its value."""
    return widgets.Dropdown(options=options, description=name, **_look(), **more)


def words(*paragraphs: str) -> str:
    """Paragraphs of HTML, set as the text of a notebook is."""
    return "".join(f'<p style="line-height:1.45;margin:4px 0;max-width:46em">{one}</p>' for one in paragraphs)


def _look() -> dict[str, Any]:
    # A name that does not fit is cut off; names of one width stand in a column.
    return {"style": {"description_width": "150px"}, "layout": widgets.Layout(width="370px")}


def filters(table: pd.DataFrame, names: Sequence[str]) -> dict[str, widgets.Dropdown]:
    """A menu for each of these columns that a table has with two values or more: one of its values, or all."""
    found = {name: sorted({str(one) for one in table[name].dropna()} - {""}) for name in names if name in table}
    return {
        name: choice(name.replace("_", " "), [("all", ""), *((one, one) for one in values)])
        for name, values in found.items()
        if len(values) > 1
    }


def filtered(table: pd.DataFrame, menus: Mapping[str, widgets.Dropdown]) -> pd.DataFrame:
    """The rows that these menus leave."""
    for name, menu in menus.items():
        table = table[table[name].astype(str) == menu.value] if menu.value else table
    return table


def watch(change: Callable[[], None], *turned: widgets.Widget) -> None:
    """Call a function now, and whenever one of these widgets is turned."""
    for widget in turned:
        widget.observe(lambda _: change(), "value")
    change()


def pages(
    name: str,
    rows: Callable[[], pd.DataFrame],
    show: Callable[[pd.Series | None, str], None],
    *menus: widgets.Widget,
    turned: Sequence[widgets.Widget] = (),
) -> tuple[widgets.IntSlider, Callable[[], None]]:
    """A slider over the rows that some menus leave, one at a time, and the function that shows the row again.

    `rows` gives them as the menus stand; `show` is given a row and its place, as `2 of 7`, or None where none is left.
    Another menu begins with the first row; what else is `turned` shows the same one again.
    """
    at, found = whole(name, 0, 0, 0), [rows()]

    def look() -> None:
        one = None if found[0].empty else found[0].iloc[min(at.value, len(found[0]) - 1)]
        show(one, f"{at.value + 1} of {len(found[0])}")

    def choose() -> None:
        found[0], elsewhere = rows(), at.value > 0
        at.value, at.max = 0, max(len(found[0]) - 1, 0)
        if not elsewhere:  # else the slider has shown it
            look()

    at.observe(lambda _: look(), "value")
    for widget in turned:
        widget.observe(lambda _: look(), "value")
    watch(choose, *menus)
    return at, look


def wiped(before: Pixels, after: Pixels, share: float, side: int = SIDE) -> Pixels:
    """Two pictures in one: the left `share` of it (0 to 1) is `after`, the rest `before`, a line between them.

    The second is brought to the first one's shape.
    """
    under = fitted(before, side)
    over = np.asarray(Image.fromarray(after).convert("RGB").resize(under.shape[1::-1]), dtype=np.uint8)
    edge = round(share * under.shape[1])
    mixed = np.concatenate([over[:, :edge], under[:, edge:]], axis=1)
    if 0 < edge < under.shape[1]:
        mixed[:, edge - 1 : edge + 1] = ImageColor.getrgb(LINE)
    return mixed


def outlined(image: Pixels, masks: Mapping[str, Mask], width: int = 1) -> Pixels:
    """An image, uint8 `(h, w)` or `(h, w, 3)`, in RGB with the edge of each mask, `width` pixels, in its hex colour."""
    shown = np.array(Image.fromarray(image).convert("RGB"))
    for colour, mask in masks.items():
        shown[mask & ~binary_erosion(mask, iterations=width)] = ImageColor.getrgb(colour)
    return shown
