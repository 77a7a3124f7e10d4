"""The data-flow diagram of a run: from what was wanted to what was trained on and scored, with what was left out."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from nbhelpers.style import PAGE_WIDTH, marked

PER_ROW = 3
NAMES = {
    "wanted": "Requested",
    "drawn": "Generated",
    "cropped": "Cropped",
    "train": "Training",
    "validation": "Validation",
    "listed": "Listed",
    "scored": "Scored",
}
_LINE = 0.13  # inches that a line of text takes
_GAP = 0.2
_ARROW: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 7, "linewidth": 0.8, "color": "#444444"}
_ARROW |= {"shrinkA": 0, "shrinkB": 0}
_SHOWN = 4  # reasons shown in a box; the rest are added up


def figure_flow(counts: pd.DataFrame) -> Figure:
    """Diagram of `flow.flow_counts`: a column for each arm and each data set, three beside each other.

    Boxes hold what went on, by class; dashed boxes beside the arrows what was left out, by reason.
    """
    flows = [flow for _, flow in counts.groupby(["part", "name"], sort=False)]
    training = [flow for flow in flows if flow["part"].iloc[0] == "training"]
    evaluation = [flow for flow in flows if flow["part"].iloc[0] == "evaluation"]
    bands = [
        (part[i : i + PER_ROW], part is training)
        for part in (training, evaluation)
        for i in range(0, len(part), PER_ROW)
    ]
    # Titles of a row take the same height, so that its boxes stand level.
    titles = [max(len(_wrapped(_title(flow), 32)) for flow in band) for band, _ in bands]
    heights = [max(_height(flow, n) for flow in band) + 0.45 for (band, _), n in zip(bands, titles, strict=True)]
    figure = plt.figure(figsize=(PAGE_WIDTH, sum(heights) + 0.1))
    figure.set_layout_engine("none")
    top = sum(heights)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, PAGE_WIDTH), ylim=(-0.1, sum(heights)))
    axes.axis("off")
    colours = sns.color_palette("colorblind").as_hex()
    for (band, trains), height, n_title in zip(bands, heights, titles, strict=True):
        heading = "Training images" if trains else "Evaluation films"
        axes.text(0.08, top - 0.06, heading, fontsize=9.5, fontweight="bold", va="top")
        width = PAGE_WIDTH / PER_ROW
        for index, flow in enumerate(band):
            _draw_flow(axes, flow, index * width, top - 0.28, width, n_title, colours[0] if trains else colours[2])
        top -= height
    return figure


def _height(flow: pd.DataFrame, n_title: int) -> float:
    steps = flow[flow["kept"]]
    boxes = sum(_box_height(row) for row in _stacked(steps))
    gaps = sum(max(_GAP, _lost_height(flow, str(row["step"])) + 0.1) for row in _stacked(steps)[1:])
    return n_title * _LINE + 0.1 + boxes + gaps + 0.15


def _stacked(steps: pd.DataFrame) -> list[dict[str, Any]]:
    """Steps from top to bottom; training and validation stand beside each other, as one."""
    rows = [{str(key): value for key, value in row.items()} for row in steps.to_dict("records")]
    if [row["step"] for row in rows[-2:]] == ["train", "validation"]:
        rows[-2:] = [{**rows[-2], "beside": rows[-1]}]
    return rows


def _box_height(row: dict[str, Any]) -> float:
    return (3 if _by_class(row) else 1) * _LINE + 0.12


def _lost(flow: pd.DataFrame, step: str) -> list[str]:
    rows = flow[~flow["kept"] & (flow["step"] == step)]
    lines = [f"{row['n']:,} {str(row['reason']).replace('_', ' ')}" for row in rows.head(_SHOWN).to_dict("records")]
    rest = rows.iloc[_SHOWN:]
    lines += [f"{int(rest['n'].sum()):,} for {len(rest)} other reasons"] if len(rest) else []
    return [part for line in lines for part in _wrapped(line, 18, hanging=True)]


def _lost_height(flow: pd.DataFrame, step: str) -> float:
    lines = _lost(flow, step)
    return len(lines) * _LINE + _LINE + 0.1 if lines else 0.0


def _draw_flow(
    axes: Axes, flow: pd.DataFrame, left: float, top: float, width: float, n_title: int, colour: str
) -> None:
    title = _wrapped(_title(flow), 32)
    axes.text(left + 0.08, top, "\n".join(title), fontsize=8, va="top", linespacing=1.15)
    y = top - n_title * _LINE - 0.1
    box = 1.12
    x = left + 0.08
    for number, row in enumerate(_stacked(flow[flow["kept"]])):
        if number:
            lost = _lost(flow, str(row["step"]))
            gap = max(_GAP, _lost_height(flow, str(row["step"])) + 0.1)
            _arrow(axes, x + box / 2, y, x + box / 2, y - gap)
            if "beside" in row:
                _arrow(axes, x + box / 2, y, x + width - 0.24 - box / 2, y - gap)
            if lost:
                high = gap - 0.1
                _box(axes, x + box + 0.1, y - 0.05, width - box - 0.26, high, "#777777", dashed=True)
                _arrow(axes, x + box / 2, y - gap / 2, x + box + 0.1, y - gap / 2)
                axes.text(
                    x + box + 0.14, y - 0.09, "\n".join(["Excluded", *lost]), fontsize=8, va="top", linespacing=1.15
                )
            y -= gap
        high = _box_height(row)
        if "beside" in row:
            half = (width - 0.24) / 2
            for offset, part in ((0.0, row), (half + 0.06, row["beside"])):
                _box(axes, x + offset, y, half, high, colour)
                _write(axes, x + offset + half / 2, y - high / 2, part)
        else:
            _box(axes, x, y, box, high, colour)
            _write(axes, x + box / 2, y - high / 2, row)
        y -= high


def _write(axes: Axes, x: float, y: float, row: dict[str, Any]) -> None:
    lines = [f"{NAMES.get(row['step'], row['step'])}: {row['n']:,}"]
    lines += (
        [f"{row['n_pneumonia']:,} pneumonia", f"{row['n_normal']:,} {row.get('negatives', 'normal')}"]
        if _by_class(row)
        else []
    )
    axes.text(x, y, "\n".join(lines), fontsize=8, ha="center", va="center", linespacing=1.15)


def _by_class(row: dict[str, Any]) -> bool:
    return bool(pd.notna(row["n_pneumonia"]))


def _box(axes: Axes, x: float, top: float, width: float, height: float, colour: str, dashed: bool = False) -> None:
    style: dict[str, Any] = {"linestyle": (0, (3, 2)), "facecolor": "none"} if dashed else {"facecolor": colour + "1a"}
    axes.add_patch(Rectangle((x, top - height), width, height, edgecolor=colour, linewidth=0.9, **style))


def _arrow(axes: Axes, x: float, y: float, to_x: float, to_y: float) -> None:
    axes.add_patch(FancyArrowPatch((x, y), (to_x, to_y), **_ARROW))


def _title(flow: pd.DataFrame) -> str:
    return marked(str(flow["title"].iloc[0]), bool(flow["simulated"].iloc[0]))


def _wrapped(text: str, width: int, hanging: bool = False) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  " if hanging else "") or [""]
