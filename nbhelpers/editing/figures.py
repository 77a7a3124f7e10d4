"""Figures of notebook 06: the pictures side by side, what came back, the measures, the chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nbhelpers.editing.chain import CHAIN
from nbhelpers.editing.edit import Answers, edit_id
from nbhelpers.editing.pictures import Picture
from nbhelpers.editing.tables import CAME, OPTIONAL
from nbhelpers.style import LINES, MARKERS, PAGE_WIDTH, arm_colours, panels, remove, shared_legend, simulated_note

Pixels = NDArray[np.uint8]

SCALE = 64  # grey levels at which the difference maps end
_CELL = 1.02  # inches of a picture
_MOST = 4  # tasks of figure 5


def figure_5(pictures: Sequence[Picture], edits: pd.DataFrame, answers: Answers) -> Figure:
    """Input beside every editor, a pair of rows a task; below each what differs from the input, all on one scale.

    The first picture of up to four tasks, of different kinds first. The column `ground truth` is there where any is
    known. What came back as something else than a picture says what it was.
    """
    editors = list(dict.fromkeys(edits["editor"]))
    shown = _examples(pictures)
    truth = any(picture.target is not None for picture in shown)
    titles = ["input", *(["ground truth"] if truth else []), *editors]
    width = max(PAGE_WIDTH, 0.9 + _CELL * len(titles))
    side = (width - 0.9) / len(titles)
    figure, axes = plt.subplots(
        2 * len(shown), len(titles), figsize=(width, 0.6 + 2.1 * side * len(shown)), squeeze=False
    )
    rows = edits.set_index(["editor", "edit_id"])
    drawn = None
    for line, picture in enumerate(shown):
        above, below = axes[2 * line], axes[2 * line + 1]
        told = [(picture.image, ""), *([(picture.target, "")] if truth else [])]
        for name in editors:
            row = rows.loc[(name, edit_id(picture))]
            told.append((answers[name, edit_id(picture)].image, _note(row, picture)))
        for column, (image, note) in enumerate(told):
            drawn = _cell(above[column], below[column], picture, image, note) or drawn
        above[0].set_ylabel(picture.task.replace("_", "\n", 2).replace("_", " "), fontsize=7)
        below[0].axis("off")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title.replace("_", " "), fontsize=8)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=axes, shrink=0.4, pad=0.01, aspect=30, extend="max")
        bar.set_label("difference from the input (grey levels)", fontsize=8)
    note = simulated_note(picture.simulated for picture in shown)
    figure.suptitle(f"The same edits by each editor{note}", fontsize=10)
    return figure


def _examples(pictures: Sequence[Picture]) -> list[Picture]:
    """The first picture of each task, of a kind not yet shown first, in the tasks' order."""
    first = {picture.task if picture.task != "own" else picture.image_id: picture for picture in reversed(pictures)}
    ordered = list(reversed(first.values()))
    by_kind = list({picture.kind: picture for picture in reversed(ordered)}.values())
    chosen = [*by_kind, *(picture for picture in ordered if picture not in by_kind)][:_MOST]
    return [picture for picture in ordered if picture in chosen]


def _note(row: pd.Series, picture: Picture) -> str:
    kind = str(row["answer_kind"])
    if kind not in CAME:
        detail = row["detail"] if isinstance(row["detail"], str) and row["detail"] else ""
        return "\n".join(filter(None, (kind.replace("_", " "), fill(detail[:90], 18))))
    size = (row["height"], row["width"])
    notes = [kind.replace("_", " ")] if kind != "edited" else []
    if not pd.isna(size[0]) and tuple(map(int, size)) != picture.image.shape[:2]:
        notes.append(f"{int(size[1])} x {int(size[0])}")
    if row.get("alignment"):
        notes.append(fill(row["alignment"], 18))
    return "\n".join(notes)


def _cell(above: Axes, below: Axes, picture: Picture, image: Pixels | None, note: str) -> Any:
    """One answer and its difference map; an answer without a picture is its note on an empty field."""
    for axis in (above, below):
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set_visible(False)
    if image is None:
        above.set(xlim=(0, 1), ylim=(0, 1), facecolor="0.93")
        above.set_box_aspect(picture.image.shape[0] / picture.image.shape[1])
        above.text(0.5, 0.5, note or "not known", ha="center", va="center", fontsize=6)
        below.axis("off")
        return None
    above.imshow(image)
    if note:
        above.set_xlabel(note, fontsize=6, labelpad=1)
    if image is picture.image:
        return None
    difference = np.abs(image.astype(np.float32) - picture.image).mean(axis=2)
    if picture.mask is not None and picture.mask.any():
        below.contour(picture.mask, [0.5], colors="white", linewidths=0.4)
    return below.imshow(difference, cmap="inferno", vmin=0, vmax=SCALE)


def measures(overall: pd.DataFrame, simulated: bool) -> Figure:
    """Error inside the mask and outside it, by editor and kind of task: means with 95 % intervals over pictures.

    Optional measures that the table has follow, a panel each.
    """
    errors = {"error_inside": "inside the mask", "error_outside": "outside"}
    errors |= {"error_outside_aligned": "outside, aligned"}
    titles = errors | {name: told for name, (told, _) in OPTIONAL.items() if name in overall}
    editors = list(dict.fromkeys(overall["editor"]))
    overall = overall[overall["task"] == "all"]
    kinds = [kind for kind in dict.fromkeys(overall["kind"]) if kind != "all"]
    lines = -(-len(titles) // 3)
    height = lines * (1.5 + 0.24 * len(editors) * max(len(kinds) / 2, 1))
    figure, axes = panels(lines, 3, height, list(titles.values()), sharey=True)
    colours = arm_colours(kinds)
    places: Any = axes.flat  # whose types know no Axes
    remove(axes.ravel()[len(titles) :])
    for axis, name in zip(places, titles, strict=False):
        for number, kind in enumerate(kinds):
            part = overall[overall["kind"] == kind].set_index("editor").reindex(editors)
            place = np.arange(len(editors)) + (number - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            value = part[name].to_numpy(dtype=float)
            ends = [np.abs(value - part[f"{name}{end}"].to_numpy(dtype=float)) for end in ("_low", "_high")]
            axis.errorbar(
                value, place, xerr=np.nan_to_num(np.stack(ends)), fmt=MARKERS[number], ms=4, lw=1,
                color=colours[kind], label=f"{kind} (n = {int(part['n'].max())})",
            )  # fmt: skip
        if name in errors:
            axis.set_xlim(left=0)
            axis.set_xlabel("RMS error (grey levels)")
        axis.grid(axis="y", lw=0.3)
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(editors)), [name.replace("_", " ") for name in editors])
    axes[0, 0].invert_yaxis()
    shared_legend(figure, axes[0, 0], most=len(kinds))
    figure.suptitle(f"Error of the edits: means and 95 % intervals, n edits per editor{simulated_note([simulated])}")
    return figure


def chain(table: pd.DataFrame) -> Figure:
    """What drifts over five edits in a row where nothing was ever to change; means over the films."""
    titles = {"error_outside": "RMS error (grey levels)", "brightness": "brightness (grey levels)"}
    titles |= {"sharpness": "sharpness (start: 1)", "zoom": "zoom", "embedding_similarity": "embedding (cosine)"}
    titles |= {"error": "RMS error, whole image"}
    start = {"sharpness": 1.0, "zoom": 1.0, "embedding_similarity": 1.0}
    figure, axes = panels(2, 3, 4.6, list(titles.values()), sharex=True)
    editors = list(dict.fromkeys(table["editor"]))
    colours = arm_colours(editors)
    places: Any = axes.flat  # whose types know no Axes
    for panel, name in zip(places, titles, strict=True):
        for number, editor in enumerate(editors):
            means = table[table["editor"] == editor].groupby("step")[name].mean()
            steps, values = [*means.index], [*means]
            if name != "error":
                steps, values = [0, *steps], [start.get(name, 0.0), *values]
            look = {"marker": MARKERS[number % len(MARKERS)], "linestyle": LINES[number % len(LINES)], "ms": 4, "lw": 1}
            panel.plot(steps, values, label=editor.replace("_", " "), color=colours[editor], **look)
        panel.set_xticks(range(int(table["step"].max()) + 1))
        panel.ticklabel_format(axis="y", useOffset=False)
    for axis in axes[-1]:
        axis.set_xlabel("number of edits")
    shared_legend(figure, axes[0, 0], most=6)
    figure.suptitle(
        f"Five edits in a row: drift outside all edited regions (simulated, n = {table['image_id'].nunique()})"
    )
    return figure


def chain_pictures(shown: Mapping[str, Sequence[Pixels]]) -> Figure:
    """The film at the start of a chain and after each of its edits, a row an editor."""
    titles = ["start", *(name.replace("_", "\n", 2).replace("_", " ") for name, _ in CHAIN)]
    side = (PAGE_WIDTH - 0.9) / len(titles)
    figure, axes = plt.subplots(len(shown), len(titles), figsize=(PAGE_WIDTH, 0.9 + side * len(shown)), squeeze=False)
    for line, (editor, images) in zip(axes, shown.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(editor.replace("_", " "), fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=7)
    figure.suptitle("Five edits in a row (simulated)")
    return figure
