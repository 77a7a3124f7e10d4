"""Figure 3: the films as each network sees them, on two coordinates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nbhelpers.style import LABEL_COLOURS, PAGE_WIDTH, two_lines

_MARKERS = {"normal": "o", "pneumonia": "^"}


def draw_clusters(
    embedding: pd.DataFrame, clusters: pd.DataFrame, network_titles: Mapping[str, str], set_titles: Mapping[str, str]
) -> Figure:
    """UMAP of every network on every data set: two rows a set, films by true label and by K-means cluster.

    Parameters
    ----------
    embedding : DataFrame
        `arm, dataset, label, cluster, umap_1, umap_2`.
    clusters : DataFrame
        From `clustering.summarise_seeds`: accuracy and ARI, mean and range over the seeds, and the majority's share.
    network_titles, set_titles : mapping
        What arms and data sets are called; they also give the order of columns and rows.

    Returns
    -------
    Figure
        Colour and marker both tell the class, so that it reads without colour too.
    """
    arms, datasets = list(network_titles), list(set_titles)
    figure, axes = plt.subplots(
        2 * len(datasets),
        len(arms),
        figsize=(PAGE_WIDTH, 0.55 + 3.5 * len(datasets)),
        squeeze=False,
        sharex=False,
    )
    found = {(row["arm"], row["dataset"]): row for row in clusters.to_dict("records")}
    for column, arm in enumerate(arms):
        for number, dataset in enumerate(datasets):
            here = embedding[(embedding["arm"] == arm) & (embedding["dataset"] == dataset)]
            truth, grouped = axes[2 * number, column], axes[2 * number + 1, column]
            _scatter(truth, here, "label")
            _scatter(grouped, here, "cluster")
            row = found[arm, dataset]
            if number == 0:
                truth.set_title(two_lines(network_titles[arm]).replace(", ", "\n", 1), fontsize=9)
            grouped.set_title(f"{_of_seeds(row, 'accuracy', 'acc.')}\n{_of_seeds(row, 'ari', 'ARI')}", fontsize=8)
            if column == 0:
                truth.set_ylabel(f"{set_titles[dataset]}\ntrue label\nUMAP 2", fontsize=8)
                share = f"(majority: {row['majority']:.2f})"
                grouped.set_ylabel(f"K-means, nearest label\n{share}\nUMAP 2", fontsize=8)
            if number == len(datasets) - 1:
                grouped.set_xlabel("UMAP 1", fontsize=8)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=2)
    return figure


def _of_seeds(row: Mapping[Hashable, Any], name: str, short: str) -> str:
    value, low, high = (round(float(row[part]), 2) + 0.0 for part in (name, f"{name}_low", f"{name}_high"))  # no -0.00
    return f"{short} {value:.2f} ({low:.2f} to {high:.2f})"


def _scatter(axes: Axes, films: pd.DataFrame, name: str) -> None:
    size = 9 if len(films) <= 500 else 4
    # In the table's own order, so that neither class hides the other.
    for value, (label, marker) in enumerate(_MARKERS.items()):
        shown = films[films[name] == value]
        look: dict[str, Any] = {
            "c": LABEL_COLOURS[label],
            "marker": marker,
            "alpha": 0.75,
            "linewidths": 0,
            "rasterized": True,
        }
        axes.scatter(shown["umap_1"], shown["umap_2"], s=size, **look)
    axes.set_xticks([])
    axes.set_yticks([])


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], ls="", marker=marker, color=LABEL_COLOURS[name], markersize=5, label=name)
        for name, marker in _MARKERS.items()
    ]
