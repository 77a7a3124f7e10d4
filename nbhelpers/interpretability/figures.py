"""Figures 3 and 4: the films as each network sees them, where it looks, and how well that meets what is there."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from skimage.measure import find_contours

from nbhelpers.interpretability.chosen_films import CELLS, Examples, notes_without_map
from nbhelpers.interpretability.grad_cam import resize_maps
from nbhelpers.interpretability.localisation import BASELINES, SCORES, map_title
from nbhelpers.metrics.wording import interval
from nbhelpers.runs import Stage
from nbhelpers.style import (
    LABEL_COLOURS,
    PAGE_WIDTH,
    UNTRAINED_COLOUR,
    arm_looks,
    in_lines,
    in_rows,
    panels,
    remove,
    shared_legend,
    short,
)

_BOX_COLOUR = "#56e0ff"
_MARKERS = {"normal": "o", "pneumonia": "^"}


def draw_clusters(
    embedding: pd.DataFrame,
    clusters: pd.DataFrame,
    network_titles: Mapping[str, str],
    set_titles: Mapping[str, str],
    negatives: str = "normal",
) -> Figure:
    """UMAP of every network on every data set: rows in twos, films by true label and by K-means cluster.

    `embedding` and `clusters` are of `features.Clusters`, the latter its `summary`. The titles also give the order of
    columns and rows; `negatives` is what the films without pneumonia are called. Colour and marker both tell the
    class, so that it reads without colour too.
    """
    rows = [(dataset, some) for dataset in set_titles for some in in_rows(network_titles)]
    figure, axes = panels(2 * len(rows), len(rows[0][1]), 0.55 + 3.5 * len(rows))
    found = {(row["arm"], row["dataset"]): row for row in clusters.to_dict("records")}
    for number, (dataset, some) in enumerate(rows):
        remove(axes[2 * number : 2 * number + 2, len(some) :])
        for column, arm in enumerate(some):
            here = embedding[(embedding["arm"] == arm) & (embedding["dataset"] == dataset)]
            truth, grouped = axes[2 * number, column], axes[2 * number + 1, column]
            _scatter(truth, here, "label")
            _scatter(grouped, here, "cluster")
            row = found[arm, dataset]
            truth.set_title(in_lines(network_titles[arm]).replace(", ", "\n", 1), fontsize=9)
            grouped.set_title(f"{_of_seeds(row, 'accuracy', 'acc.')}\n{_of_seeds(row, 'ari', 'ARI')}", fontsize=8)
            grouped.set_xlabel("UMAP 1", fontsize=8)
            if column == 0:
                truth.set_ylabel(f"{set_titles[dataset]}\ntrue label (n = {len(here):,})\nUMAP 2", fontsize=8)
                share = f"(majority: {row['majority']:.3f})"
                grouped.set_ylabel(f"K-means, best-matching label\n{share}\nUMAP 2", fontsize=8)
    handles = [
        Line2D([], [], ls="", marker=marker, color=LABEL_COLOURS[name], markersize=5, label=label)
        for (name, marker), label in zip(_MARKERS.items(), (negatives, "pneumonia"), strict=True)
    ]
    handles.append(Line2D([], [], ls="", label="accuracy and ARI: mean and range over seeds"))
    shared_legend(figure, handles)
    return figure


def _of_seeds(row: Mapping[Hashable, Any], name: str, short: str) -> str:
    return f"{short} {interval(row[name], row[f'{name}_low'], row[f'{name}_high'])}"


def _scatter(axes: Axes, films: pd.DataFrame, name: str) -> None:
    size = 9 if len(films) <= 500 else 4
    # In the table's own order, so that neither class hides the other.
    for value, (label, marker) in enumerate(_MARKERS.items()):
        shown = films[films[name] == value]
        look: dict[str, Any] = {"c": LABEL_COLOURS[label], "marker": marker, "alpha": 0.75, "linewidths": 0}
        axes.scatter(shown["umap_1"], shown["umap_2"], s=size, rasterized=True, **look)
    axes.set_xticks([])
    axes.set_yticks([])


def heat() -> Colormap:
    """Colours from clear to bright: nothing is laid over a film where a map is zero."""
    colours = plt.get_cmap("inferno")(np.linspace(0.25, 1, 256))
    colours[:, 3] = 0.75 * np.linspace(0, 1, 256)
    return ListedColormap(colours, "heat").with_extremes(bad=(0, 0, 0, 0))


def draw_examples(examples: Sequence[Examples]) -> Figure:
    """Each film beside every arm's map, all on one colour scale; a known lesion is outlined as it is scored.

    Rows are true and false positives and negatives of each data set, as the first arm calls them at the threshold
    that the foot of the figure names; a cell without a film has no row, and the foot says so. Where no arm has a map,
    the films stand side by side.
    """
    arms = list(examples[0].maps)
    if not arms:
        return _draw_originals(examples)
    lines = in_rows(("original", *arms), 6)
    n_rows = sum(len(shown.films) for shown in examples) * len(lines)
    notes = _notes(examples)
    panel = (PAGE_WIDTH - 1.45) / len(lines[0])  # what row labels and colour bar leave
    foot = 0.25 * len(notes)
    each = panel + (0.22 if len(lines) == 1 else 0.6)  # with its heading
    figure, axes = panels(n_rows, len(lines[0]), 0.3 + n_rows * each + foot)
    remove(axes[len(lines) - 1 :: len(lines), len(lines[-1]) :])
    # One scale for all maps: from zero to the largest value that any of them holds.
    largest = max((float(maps.max()) for shown in examples for maps in shown.maps.values() if maps.size), default=0.0)
    scale, colours = Normalize(0.0, largest or 1.0), heat()
    row, first = 0, next(iter(examples[0].titles.values()))
    for shown in examples:
        for number, film in enumerate(shown.films.to_dict("records")):
            for place, name in enumerate(("original", *arms)):
                here: Axes = axes[row + place // len(lines[0]), place % len(lines[0])]
                _draw_film(here, shown, number)
                size = shown.images.shape[-1]
                if place:
                    map_ = resize_maps(shown.maps[name][number : number + 1], size)[0]
                    # Where a map is zero nothing is drawn, interpolation or not.
                    here.imshow(np.ma.masked_less_equal(map_, 0), cmap=colours, norm=scale, interpolation="nearest")
                title = in_lines(shown.titles[name]) if place else "original"
                heading = f"{title}\n" if row == 0 or len(lines) > 1 else ""
                here.set_title(
                    heading + (f"p = {film[f'score_{name}']:.3f}" if place else short(film["image_id"], 16)),
                    fontsize=8,
                )
            cell = f"{film['cell']} of\n{in_lines(first)}\n(n = {film['n_cell']:,})"
            axes[row, 0].set_ylabel(f"{shown.title}\n{cell}", fontsize=8)
            row += len(lines)
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes, shrink=min(1.0, 2.4 / n_rows), aspect=30, pad=0.015)
    bar.ax.set_facecolor("0.35")
    kinds = list(_kinds(examples))
    bar.set_label(
        f"{kinds[0] if len(kinds) == 1 else 'maps, see below'} (logit units, one scale for all panels)", fontsize=8
    )
    if notes:
        figure.supxlabel("\n".join(notes), fontsize=8)
    return figure


def _kinds(examples: Sequence[Examples]) -> dict[str, list[str]]:
    """Kinds of maps, each with the networks of which it is, as figures call them."""
    found: dict[str, list[str]] = {}
    for arm, kind in examples[0].kinds.items():
        found.setdefault(kind, []).append(examples[0].titles[arm])
    return found


def _notes(examples: Sequence[Examples]) -> list[str]:
    missing = [f"{shown.title}: no {', no '.join(shown.missing)}" for shown in examples if shown.missing]
    boxed = any(shown.truth.lesion_known.any() for shown in examples)
    rules = dict.fromkeys(shown.rule for shown in examples if shown.rule)
    told = [*rules, *missing, *notes_without_map(examples)]
    kinds = _kinds(examples)
    told += [f"{kind}: {', '.join(of)}" for kind, of in kinds.items()] if len(kinds) > 1 else []
    told += ["dashed: the known lesion, or the box around it"] if boxed else []
    told.append("whole film names: examples.csv")
    return [line for note in told for line in textwrap.wrap(note, 105, break_long_words=False)]


def _draw_film(axes: Axes, shown: Examples, number: int) -> None:
    axes.imshow(shown.images[number], cmap="gray", vmin=0, vmax=255)
    if shown.truth.lesion_known[number]:
        # What the scores use: boxes that touch are one outline, a film with two apart has two.
        for outline in find_contours(np.pad(shown.truth.lesion[number], 1).astype(float), 0.5):
            axes.add_patch(Polygon(outline[:, ::-1] - 1, fill=False, ls="--", lw=1.1, edgecolor=_BOX_COLOUR))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_originals(examples: Sequence[Examples]) -> Figure:
    """The films alone, as many rows a data set as it needs, one column a cell of the confusion table at most."""
    notes = _notes(examples)
    n_rows = [math.ceil(len(shown.films) / len(CELLS)) for shown in examples]
    figure = plt.figure(figsize=(PAGE_WIDTH, sum(n_rows) * 2.2 + 0.3 * len(examples) + 0.25 * len(notes)))
    parts: list[SubFigure] = list(figure.subfigures(len(examples), 1, squeeze=False, height_ratios=n_rows).ravel())
    for part, rows, shown in zip(parts, n_rows, examples, strict=True):
        part.suptitle(f"{shown.title}: the films, without Grad-CAM", fontsize=9.5)
        places = part.subplots(rows, min(len(CELLS), len(shown.films)), squeeze=False).ravel()
        for number, film in enumerate(shown.films.to_dict("records")):
            _draw_film(places[number], shown, number)
            places[number].set_title(f"{film['cell']} (n = {film['n_cell']})\n{short(film['image_id'])}", fontsize=8)
        for unused in places[len(shown.films) :]:
            unused.remove()
    parts[-1].supxlabel("\n".join(notes), fontsize=8)
    return figure


def draw_scores(
    summary: pd.DataFrame, set_titles: Mapping[str, str], network_titles: Mapping[str, str]
) -> Figure | None:
    """How well each arm's maps meet lesion and lungs, beside control maps: means with 95 % intervals.

    `summary` is from `localisation.summarise_scores`. A row a data set, a column a score that is known there; None when
    nothing is known anywhere.
    """
    shown = summary[summary["metric"].isin(list(SCORES))]
    datasets = [name for name in set_titles if name in set(shown["dataset"])]
    if not datasets:
        return None
    n_maps = shown["map"].nunique()
    figure = plt.figure(figsize=(PAGE_WIDTH, len(datasets) * (0.95 + 0.24 * n_maps)))
    for part, dataset in zip(figure.subfigures(len(datasets), 1, squeeze=False)[:, 0], datasets, strict=True):
        here = shown[shown["dataset"] == dataset]
        metrics = [name for name in SCORES if name in set(here["metric"])]
        names = list(here["map"].unique())
        looks = arm_looks(name for name in names if not name.startswith(BASELINES))
        other: dict[str, Any] = {"color": UNTRAINED_COLOUR, "marker": "|"}
        part.suptitle(f"Saliency maps on {set_titles[dataset]}", fontsize=9.5)
        for axes, metric in zip(part.subplots(1, len(metrics), sharey=True, squeeze=False)[0], metrics, strict=True):
            rows = here[here["metric"] == metric].set_index("map")
            for place, name in enumerate(names):
                if name not in rows.index:  # none of its maps could be scored
                    continue
                row = rows.loc[name]
                look = looks.get(name, other) | {"linestyle": ""}
                axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=look["color"], lw=1.4)
                axes.plot(row["value"], place, **look, ms=5 if name in looks else 9)
            axes.set_yticks(range(len(names)), [network_titles.get(name, map_title(name)) for name in names])
            axes.set_ylim(len(names) - 0.5, -0.5)
            room = 0.04 * max(float(rows["ci_high"].max()), 0.01)  # for a marker at zero
            axes.set_xlim(left=min(float(rows["ci_low"].min()), 0.0) - room)
            axes.set_title(f"{SCORES[metric]}\nn = {int(rows['n'].max())}", fontsize=8)
            axes.set_xlabel("mean (95 % interval)")
    return figure


def save_scores(
    summary: pd.DataFrame, set_titles: Mapping[str, str], network_titles: Mapping[str, str], stage: Stage
) -> None:
    """Draw and save `draw_scores` as `figures/saliency`; where nothing is scored, say so and draw nothing."""
    figure = draw_scores(summary, set_titles, network_titles)
    if figure is None:
        print("no figure: no network has a saliency map, or no data set has known lesions")
    else:
        stage.save_figure(figure, "saliency")
