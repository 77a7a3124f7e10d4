"""Training seeds drawn beside the sampling interval of the first one."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nbhelpers import style
from nbhelpers.films.registry import FilmSet
from nbhelpers.runs import Stage
from nbhelpers.validation.figures import METRIC_NAMES


def save_spread(
    by_seed: pd.DataFrame, spread: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str], stage: Stage
) -> None:
    """Save the figure `seeds` (see `draw_spread`); with one seed of every arm a line says so."""
    if (spread["n_seeds"] > 1).any():
        style.save_figure(draw_spread(by_seed, spread, sets, titles), stage, "seeds")
    else:
        print("one training seed: no spread to show")


def draw_spread(
    by_seed: pd.DataFrame, spread: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """AUROC on the left, AUPR on the right, a row a data set; a dot a seed above the first seed's sampling interval.

    Takes what `seed_spread.table` and `seed_spread.summary` give, and the arms' `titles`.
    """
    names, arms = list(dict.fromkeys(spread["dataset"])), list(dict.fromkeys(spread["arm"]))
    colours = style.arm_colours(arms)
    height = (0.36 * len(arms) + 0.75) * len(names) + 0.5
    figure, axes = plt.subplots(len(names), 2, figsize=(style.PAGE_WIDTH, height), squeeze=False)
    letters = iter(ascii_uppercase)
    for row, name in zip(axes, names, strict=True):
        for axis, (metric, title) in zip(row, METRIC_NAMES.items(), strict=True):
            for place, arm in enumerate(arms):
                chosen = {"dataset": name, "metric": metric, "arm": arm}
                interval = spread.loc[(spread[list(chosen)] == pd.Series(chosen)).all(axis=1)].iloc[0]
                seeds = by_seed.loc[(by_seed[list(chosen)] == pd.Series(chosen)).all(axis=1), "value"].to_numpy()
                axis.plot(
                    [interval["ci_low"], interval["ci_high"]],
                    [place + 0.18] * 2,
                    **{"color": colours[arm], "linewidth": 5, "alpha": 0.35, "solid_capstyle": "butt"},
                )
                faces = [colours[arm], *["white"] * (len(seeds) - 1)]
                heights = np.full(len(seeds), place - 0.14)
                axis.scatter(seeds, heights, s=22, facecolors=faces, edgecolors=colours[arm], linewidths=1.1)
            axis.set_yticks(range(len(arms)), [style.two_lines(titles[arm]) for arm in arms])
            axis.set_ylim(len(arms) - 0.5, -0.5)
            axis.set_xlabel(title)
            axis.set_title(f"{next(letters)}   {sets[name].title}", loc="left")
    handles = [
        Line2D([], [], color="#444444", marker="o", markersize=4.7, linestyle="", label="first seed"),
        Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle="", label="other seeds"),
        Line2D([], [], color="#444444", linewidth=5, alpha=0.35, label="95 % sampling interval of the first seed"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
