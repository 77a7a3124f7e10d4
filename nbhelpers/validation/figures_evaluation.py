"""What a score does not tell: subgroups, calibration, decision curves and robustness, drawn."""

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

from nbhelpers import style
from nbhelpers.films.registry import FilmSet
from nbhelpers.validation import calibration, operating_point, robustness
from nbhelpers.validation.figures import FLOOR


def forest(
    results: pd.DataFrame, subgroup_results: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """AUROC of all films and of each subgroup with its interval, by arm: a panel a data set.

    `results` is from `evaluation.metrics_table`, `subgroup_results` from `subgroups.metrics_table`. The number of films
    stands behind each name; subgroups with too few films have no point. `titles` are the arms'.
    """
    table = pd.concat([results[results["primary"]], subgroup_results], ignore_index=True)
    table = table[table["metric"] == "auroc"]
    names, arms = list(dict.fromkeys(table["dataset"])), list(dict.fromkeys(table["arm"]))
    colours = style.arm_colours(arms)
    rows = [len(table.loc[table["dataset"] == name, "subgroup"].unique()) for name in names]
    figure, axes = plt.subplots(
        len(names),
        1,
        figsize=(style.PAGE_WIDTH, 0.9 * len(names) + 0.12 * (len(arms) + 1.2) * sum(rows)),
        height_ratios=[count + 1 for count in rows],
        squeeze=False,
        sharex=True,
    )
    for letter, axis, name in zip(ascii_uppercase, axes[:, 0], names, strict=False):
        part = table[table["dataset"] == name]
        groups = part.drop_duplicates("subgroup")
        for offset, arm in enumerate(arms):
            mine = part[part["arm"] == arm].set_index("subgroup").reindex(groups["subgroup"])
            places = np.arange(len(groups)) + (offset - (len(arms) - 1) / 2) * 0.7 / len(arms)
            value = mine["value"].to_numpy(dtype=float)
            ends = [value - mine["ci_low"].to_numpy(dtype=float), mine["ci_high"].to_numpy(dtype=float) - value]
            axis.errorbar(
                value,
                places,
                xerr=np.maximum(ends, 0),
                **{"fmt": "o", "markersize": 4, "capsize": 2, "color": colours[arm], "label": titles[arm]},
            )
        axis.axvline(0.5, color=FLOOR, linestyle="--", linewidth=1)
        labels = [f"{row['subgroup']} (n = {int(row['n'])})" for row in groups.to_dict("records")]
        axis.set_yticks(np.arange(len(groups)), labels)
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.set_title(f"{letter}   {sets[name].title}", loc="left")
    axes[-1, 0].set_xlabel("AUROC (95 % interval)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(arms))
    return figure


def reliability_and_decision(
    recalibrated: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """Two rows a data set: above the reliability of each arm, a panel an arm, below their decision curves.

    Filled points and solid lines are probabilities as they come; hollow points and dotted lines are recalibrated on
    the set itself, out of fold. Takes what `calibration.add_recalibrated` gives, and the arms' `titles`.
    """
    names, arms = list(dict.fromkeys(recalibrated["dataset"])), list(dict.fromkeys(recalibrated["arm"]))
    colours = style.arm_colours(arms)
    side = min(style.PAGE_WIDTH / len(arms), 2.6)
    heights = [side + 0.55, 2.3] * len(names)
    figure = plt.figure(figsize=(style.PAGE_WIDTH, sum(heights) + 0.5))
    grid = figure.add_gridspec(2 * len(names), len(arms), height_ratios=heights)
    letters = iter(ascii_uppercase)
    for number, name in enumerate(names):
        letter, title = next(letters), style.two_lines(sets[name].title)
        below = figure.add_subplot(grid[2 * number + 1, :])
        for column, arm in enumerate(arms):
            part = recalibrated[(recalibrated["dataset"] == name) & (recalibrated["arm"] == arm)]
            above = figure.add_subplot(grid[2 * number, column])
            above.plot([0, 1], [0, 1], color=FLOOR, linestyle="--", linewidth=1)
            for kind, face, line in (("score", colours[arm], "-"), ("recalibrated", "white", ":")):
                if part[kind].isna().any():
                    continue
                _reliability(above, part, kind, colours[arm], face)
                curve = operating_point.decision_curve(part["label"], part[kind])
                below.plot(curve["threshold"], curve["net_benefit"], color=colours[arm], linestyle=line, linewidth=1.4)
            above.set(xlabel="mean probability", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), box_aspect=1)
            above.set_title(style.two_lines(titles[arm]), fontsize=8)
            if column == 0:
                above.set_title(letter, loc="left")
                above.set_ylabel(f"{title}\nshare with pneumonia")
        share = float(part["label"].mean())
        below.plot(curve["threshold"], curve["treat_all"], color=FLOOR, linestyle="--", linewidth=1)
        below.axhline(0, color=FLOOR, linewidth=1)
        below.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.35 * share, 1.08 * share))
        below.set_title(f"{next(letters)}   {sets[name].title}: decision curve", loc="left")
    handles = [Line2D([], [], color=colours[arm], marker="o", markersize=4, label=titles[arm]) for arm in arms]
    handles += [
        Line2D([], [], color="black", linestyle=":", marker="o", markerfacecolor="white", label="recalibrated here"),
        Line2D([], [], color=FLOOR, linestyle="--", label="perfect (above), treat all (below)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _reliability(axis: Axes, films: pd.DataFrame, kind: str, colour: str, face: str) -> None:
    bins = calibration.reliability(films["label"], films[kind], films["patient_id"])
    ends = [bins["observed"] - bins["ci_low"], bins["ci_high"] - bins["observed"]]
    look: dict[str, Any] = {"fmt": "o", "markersize": 4, "color": colour, "markerfacecolor": face, "linewidth": 0.9}
    axis.errorbar(bins["mean_score"], bins["observed"], yerr=np.maximum(ends, 0), **look)


def robustness_curves(table: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """AUROC against the strength of each change, by arm, with 95 % intervals: a row a data set, a column a change."""
    names, arms = list(dict.fromkeys(table["dataset"])), list(dict.fromkeys(table["arm"]))
    colours = style.arm_colours(arms)
    changes = list(dict.fromkeys(table["change"]))
    figure, axes = plt.subplots(
        len(names),
        len(changes),
        figsize=(style.PAGE_WIDTH, 2.1 * len(names) + 0.6),
        squeeze=False,
        sharey=True,
        sharex="col",
    )
    for row, name in zip(axes, names, strict=True):
        for axis, change in zip(row, changes, strict=True):
            for arm in arms:
                part = table[(table["dataset"] == name) & (table["change"] == change) & (table["arm"] == arm)]
                look: dict[str, Any] = {"marker": "o", "markersize": 3, "color": colours[arm], "label": titles[arm]}
                axis.plot(part["strength"], part["auroc"], **look)
                axis.fill_between(
                    part["strength"], part["ci_low"], part["ci_high"], color=colours[arm], alpha=0.15, linewidth=0
                )
            axis.axhline(0.5, color=FLOOR, linestyle="--", linewidth=1)
        row[0].set_ylabel(f"{style.two_lines(sets[name].title)}\nAUROC")
    for axis, change in zip(axes[-1], changes, strict=True):
        axis.set_xlabel(robustness.AXES[change].replace(": ", "\n"), fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(arms))
    counts = " and ".join(dict.fromkeys(f"{n:,}" for n in table.groupby("dataset", sort=False)["n"].max()))
    figure.supxlabel(f"bands: 95 % intervals, n = {counts} films", fontsize=8)
    return figure
