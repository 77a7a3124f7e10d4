"""Figures on drawing: what the requests came to, and how diverse the images are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nbhelpers.images.contact_sheet import grid, load_tile, row_title, show
from nbhelpers.runs.files import inside
from nbhelpers.style import LABEL_COLOURS, PAGE_WIDTH, in_lines, marked, named, simulated_note

_PALETTE = sns.color_palette("colorblind").as_hex()
_GOOD, _LOST, _CHANCE = _PALETTE[2], _PALETTE[3], "#999999"


def figure_outcomes(outcomes: pd.DataFrame) -> Figure:
    """A bar an outcome and source: how many requests came to it (`costs.request_outcomes`)."""
    shown = outcomes[outcomes["requests"] > 0].reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 1.0 + 0.26 * max(len(shown), 1)))
    colours = [_GOOD if kind == "ok" else _LOST for kind in shown["outcome"]]
    bars = axis.barh(np.arange(len(shown)), shown["requests"], color=colours, height=0.7)
    axis.bar_label(bars, padding=3, fontsize=8)
    names = [f"{_title(row)}: {row['outcome']}" for row in shown.to_dict("records")]
    axis.set_yticks(np.arange(len(shown)), names)
    axis.invert_yaxis()
    axis.margins(x=0.1)
    axis.set_xlabel("number of requests")
    axis.set_title("Outcomes of the requests")
    return figure


def figure_diversity(spread: pd.DataFrame, visible: pd.DataFrame) -> Figure:
    """Left: effective number of images and mean distance by source and class; right: detectability of attributes.

    A side for which there are too few images is left out.
    """
    if spread.empty:
        figure, axis = plt.subplots(figsize=(PAGE_WIDTH, 0.6))
        axis.set_axis_off()
        axis.text(0.5, 0.5, "too few images of a class to measure their diversity", ha="center", va="center")
        return figure
    figure = plt.figure(figsize=(PAGE_WIDTH, 4.2))
    grid = figure.add_gridspec(2, 1 if visible.empty else 2, width_ratios=(1.0,) if visible.empty else (1.0, 1.15))
    upper = figure.add_subplot(grid[0, 0])
    lower = figure.add_subplot(grid[1, 0], sharex=upper)
    upper.tick_params(labelbottom=False)
    _grouped(upper, spread, "vendi_centred", "Vendi score, centred\n(effective images)")
    _grouped(lower, spread, "mean_distance", "mean cosine\ndistance")
    upper.legend(loc="upper right", ncols=2, fontsize=8)
    upper.set_ylim(top=1.35 * float(spread["vendi_centred"].max()))
    few, many = int(spread["images"].min()), int(spread["images"].max())
    upper.set_title(f"Diversity (n = {few}{f' to {many}' * (many > few)} images per bar)", fontsize=10)
    lower.set_xticks(
        np.arange(spread["source"].nunique()),
        [in_lines(_title(row)) for row in spread.drop_duplicates("source").to_dict("records")],
    )
    if not visible.empty:
        _told(figure.add_subplot(grid[:, 1]), visible)
    return figure


def _title(row: Any) -> str:
    return marked(named(str(row["source"])), bool(row["simulated"]))


def _grouped(axis: Axes, spread: pd.DataFrame, column: str, label: str) -> None:
    sources = list(spread["source"].unique())
    for shift, (name, colour) in zip((-0.19, 0.19), LABEL_COLOURS.items(), strict=True):
        rows = spread[spread["label"] == name].set_index("source").reindex(sources)
        axis.bar(np.arange(len(sources)) + shift, rows[column], width=0.36, color=colour, label=name)
    axis.set_ylabel(label)
    axis.set_xlim(-0.6, len(sources) - 0.4)


def _told(axis: Axes, visible: pd.DataFrame) -> None:
    attributes = list(visible["attribute"].unique())
    markers = ("o", "s", "^", "D", "v", "P")
    thick = 0.16 * visible["source"].nunique()
    # One bar an attribute, up to the widest chance of its sources: two beside each other would show a seam.
    chance = visible.groupby("attribute")["chance_95"].max().reindex(attributes)
    axis.barh(np.arange(len(attributes)), chance, height=thick, color=_CHANCE, alpha=0.6, linewidth=0)
    for number, (_, rows) in enumerate(visible.groupby("source", sort=False)):
        places = [attributes.index(name) for name in rows["attribute"]]
        height = np.array(places) + 0.16 * (number - (visible["source"].nunique() - 1) / 2)
        colour, marker = _PALETTE[(4 + number) % len(_PALETTE)], markers[number % len(markers)]
        axis.plot(rows["told"], height, marker, color=colour, markersize=4.5, label=_title(rows.iloc[0]))
    axis.plot([], [], color=_CHANCE, linewidth=5, alpha=0.6, solid_capstyle="butt", label="within chance (95 %)")
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(np.arange(len(attributes)), [name.replace("_", " ") for name in attributes])
    axis.invert_yaxis()
    axis.set_xlabel("chance-corrected accuracy (0: chance, 1: perfect)")
    axis.set_title("Are the requested attributes detectable?")
    axis.legend(loc="upper center", bbox_to_anchor=(0.4, -0.14), fontsize=8)


def figure_1(images: pd.DataFrame, folder: Path, columns: int = 7, seed: int = 0) -> Figure:
    """Figure 1: images as drawn, one row a source and class; where pairs are known, a column shows one pair.

    `images` are those of `drawing.draw_all`, with their files in `folder/<source>/<path>`; `seed` chooses which.
    """
    rows: list[tuple[str, list[Path]]] = []
    for source, table in images[images["status"] == "ok"].groupby("source", sort=False):
        chosen = _choose(table, columns, seed)
        for label, group in chosen.items():
            paths = [inside(folder / str(source), path) for path in group["path"]]
            rows.append((f"{in_lines(named(str(source)))}\n{label}", paths))
    figure, axes = grid(len(rows), columns)
    for line, (title, paths) in zip(axes, rows, strict=True):
        for axis, path in zip(line, paths, strict=False):
            show(axis, load_tile(path))
        row_title(line[0], title)
    figure.suptitle("Images as generated, before cropping" + simulated_note(images["simulated"]), fontsize=9.5)
    return figure


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
