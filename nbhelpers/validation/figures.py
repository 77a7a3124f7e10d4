"""Figure 2 and its companions: bars with intervals, ROC and precision-recall curves, distributions of scores."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.metrics import precision_recall_curve, roc_curve

from nbhelpers import style
from nbhelpers.films.registry import FilmSet
from nbhelpers.validation import published
from nbhelpers.validation.evaluation import Films

METRIC_NAMES = {"auroc": "AUROC", "aupr": "AUPR"}
MARK, FLOOR, TRIVIAL = "#222222", "#777777", "#a03030"


def figure_2(
    metrics_table: pd.DataFrame,
    sets: Mapping[str, FilmSet],
    titles: Mapping[str, str],
    baselines_table: pd.DataFrame | None = None,
) -> Figure:
    """Bars with 95 % intervals by arm: AUROC on the left, AUPR on the right, a row a data set.

    Parameters
    ----------
    metrics_table : DataFrame
        From `evaluation.metrics_table`; the primary interval of each metric is drawn.
    sets : mapping
        The sets by name, for titles.
    titles : mapping
        What each arm is called, from `figures.arm_titles`.
    baselines_table : DataFrame, optional
        From `baselines.table`, all sets; the best one-number baseline of each panel is drawn as a line.

    A dashed line marks what a score that knows nothing reaches: 0.5, and in AUPR the prevalence. The paper's own
    value is marked on the matching set alone, at the one arm whose figures are known.
    """
    shown = metrics_table[metrics_table["primary"] & (metrics_table["subgroup"] == "all")]
    names, arms = list(dict.fromkeys(shown["dataset"])), list(dict.fromkeys(shown["arm"]))
    colours = style.arm_colours(arms)
    figure, axes = plt.subplots(
        len(names), 2, figsize=(style.PAGE_WIDTH, 2.7 * len(names) + 0.5), squeeze=False, sharey=True
    )
    letters = iter(ascii_uppercase)
    marked = False
    for row, dataset in zip(axes, names, strict=True):
        for axis, (metric, text) in zip(row, METRIC_NAMES.items(), strict=True):
            part = shown[(shown["dataset"] == dataset) & (shown["metric"] == metric)].set_index("arm").loc[arms]
            _bars(axis, part, colours, titles)
            floor = 0.5 if metric == "auroc" else float(part["prevalence"].iloc[0])
            axis.axhline(floor, color=FLOOR, linestyle="--", linewidth=1)
            if baselines_table is not None:
                mine = baselines_table[(baselines_table["dataset"] == dataset) & (baselines_table["metric"] == metric)]
                mine = mine[mine["kind"] != "trained"]
                axis.axhline(float(mine["value"].max()), color=TRIVIAL, linestyle=":", linewidth=1.4)
            paper = published.reference(dataset, int(part["n"].iloc[0]))
            if paper and published.ARM in arms:
                marked = True
                value = getattr(paper, metric)
                axis.errorbar(
                    arms.index(published.ARM) + 0.3,
                    value.value,
                    yerr=[[value.value - value.low], [value.high - value.value]],
                    **{"fmt": "D", "color": MARK, "markersize": 4, "capsize": 3, "zorder": 5},
                )
            axis.set_ylabel(text)
            axis.set_title(f"{next(letters)}   {sets[dataset].title}", loc="left")
    handles = [Line2D([], [], color=FLOOR, linestyle="--", label="knows nothing (0.5; in AUPR the prevalence)")]
    if baselines_table is not None:
        handles.append(Line2D([], [], color=TRIVIAL, linestyle=":", label="best trivial baseline (one number)"))
    if marked:
        handles.append(
            Line2D(
                [],
                [],
                color=MARK,
                marker="D",
                linestyle="",
                label="published, Nano Banana images (arXiv 2512.00428)",
            )
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) if len(handles) < 3 else 2)
    return figure


def _bars(axis: Axes, part: pd.DataFrame, colours: Mapping[str, str], titles: Mapping[str, str]) -> None:
    """Bars of one panel; `part` is indexed by arm."""
    values = part["value"].to_numpy(dtype=float)
    low, high = (part[name].to_numpy(dtype=float) for name in ("ci_low", "ci_high"))
    places = np.arange(len(part))
    # A percentile interval need not hold its value, and matplotlib refuses a negative length.
    lengths = np.maximum([values - low, high - values], 0)
    axis.bar(
        places,
        values,
        width=0.62,
        color=[colours[arm] for arm in part.index],
        yerr=lengths,
        error_kw={"capsize": 3, "linewidth": 1.1},
    )
    for place, value, top in zip(places, values, high, strict=True):
        height = min(max(value, top) + 0.02, 1.03)
        text = axis.text(float(place), height, f"{value:.3f}", ha="center", va="bottom", fontsize=8, zorder=6)
        # Lines of reference run behind the number, not through it.
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9})
    axis.set_xticks(places, [style.two_lines(titles[arm]) for arm in part.index])
    axis.set_xlim(-0.6, len(part) - 0.4)
    axis.set_ylim(0, 1.1)
    axis.set_yticks(np.linspace(0, 1, 6))


def curves(predictions: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """ROC curve on the left and precision-recall curve on the right, a row a data set, a line an arm.

    The dashed line is a score that knows nothing: the diagonal, and the prevalence. `titles` are the arms'.
    """
    names, arms = list(dict.fromkeys(predictions["dataset"])), list(dict.fromkeys(predictions["arm"]))
    colours = style.arm_colours(arms)
    figure, axes = plt.subplots(len(names), 2, figsize=(style.PAGE_WIDTH, 3.3 * len(names) + 0.3), squeeze=False)
    letters = iter(ascii_uppercase)
    for row, dataset in zip(axes, names, strict=True):
        for arm in arms:
            part = predictions[(predictions["dataset"] == dataset) & (predictions["arm"] == arm)]
            false, true, _ = roc_curve(part["label"], part["score"])
            row[0].plot(false, true, color=colours[arm], label=titles[arm], linewidth=1.4)
            precision, recall, _ = precision_recall_curve(part["label"], part["score"])
            row[1].plot(recall, precision, color=colours[arm], label=titles[arm], linewidth=1.4, drawstyle="steps-post")
        prevalence = predictions.loc[predictions["dataset"] == dataset, "label"].mean()
        row[0].plot([0, 1], [0, 1], color=FLOOR, linestyle="--", linewidth=1)
        row[1].axhline(prevalence, color=FLOOR, linestyle="--", linewidth=1)
        row[0].set(xlabel="1 - specificity", ylabel="sensitivity")
        row[1].set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")
        for axis, kind in zip(row, ("ROC", "PR"), strict=True):
            axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), box_aspect=1)
            axis.set_title(f"{next(letters)}   {sets[dataset].title}, {kind}", loc="left")
    axes[0, 0].legend(loc="lower right")
    return figure


def score_distributions(predictions: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """Histograms of scores by label: a row a data set, a column an arm; each label's bars add up to 1."""
    names, arms = list(dict.fromkeys(predictions["dataset"])), list(dict.fromkeys(predictions["arm"]))
    figure, axes = plt.subplots(
        len(names),
        len(arms),
        figsize=(style.PAGE_WIDTH, 1.9 * len(names) + 0.5),
        squeeze=False,
        sharex=True,
        sharey="row",
    )
    looks: dict[str, dict[str, Any]] = {
        "normal": {"color": style.LABEL_COLOURS["normal"], "histtype": "stepfilled"},
        "pneumonia": {"color": style.LABEL_COLOURS["pneumonia"], "histtype": "step", "linewidth": 1.6},
    }
    for row, dataset in zip(axes, names, strict=True):
        for axis, arm in zip(row, arms, strict=True):
            part = predictions[(predictions["dataset"] == dataset) & (predictions["arm"] == arm)]
            for label, (text, look) in enumerate(looks.items()):
                scores = part.loc[part["label"] == label, "score"]
                weights = np.full(len(scores), 1 / len(scores))
                axis.hist(scores, bins=np.linspace(0, 1, 26), weights=weights, label=text, **look)
            axis.set_title(titles[arm], loc="left")
        row[0].set_ylabel(f"{style.two_lines(sets[dataset].title)}\nshare of films")
    for axis in axes[-1]:
        axis.set_xlabel("score (probability)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


def film_examples(films: Mapping[str, Films], each: int = 6) -> Figure:
    """`each` films of both labels of every set, evenly over its list, as the networks get them (square)."""
    rows = [(name, label) for name in films for label in (0, 1)]
    figure, axes = plt.subplots(len(rows), each, figsize=(style.PAGE_WIDTH, 1.25 * len(rows) + 0.2), squeeze=False)
    for row, (name, label) in zip(axes, rows, strict=True):
        found = films[name]
        images = found.arrays[max(found.arrays)]
        places = np.flatnonzero(found.table["label"] == label)
        chosen = places[np.linspace(0, len(places) - 1, each).astype(int)]
        for axis, place in zip(row, chosen, strict=True):
            axis.imshow(images[place], cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
        title = row[0].set_title(f"{found.film_set.title}: {('normal', 'pneumonia')[label]}", loc="left", fontsize=8)
        title.set_in_layout(False)
    return figure
