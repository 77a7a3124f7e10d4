"""How many synthetic images it takes, and of which sources: AUROC against their number, by method and source."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from nbhelpers import style
from nbhelpers.films.film_set import FilmSet
from nbhelpers.networks.trained import Network
from nbhelpers.runs import Stage


def dose_table(by_seed: pd.DataFrame, networks: Mapping[str, Network]) -> pd.DataFrame:
    """AUROC of every seed of every arm beside the number of images that the arm was trained on.

    `by_seed` is from `seed_spread.seeds_table`, `networks` from `trained.load_arms`. `line` is what the arms of one
    curve share: method, source and crop.
    """
    rows = []
    for row in by_seed[by_seed["metric"] == "auroc"].to_dict("records"):
        made = networks[row["arm"]].description
        source, crop, method = (str(made.arm.get(key, "")) for key in ("source", "crop", "method"))
        images = int(made.training.get("images", {}).get("train", 0))
        line = f"{method}, {style.named(source)}" + (f", crop {crop}" if crop != "none" else "")
        line = style.marked(line, made.simulated)
        rows.append((line, row["arm"], source, crop, method, images, row["dataset"], row["seed"], row["value"]))
    return pd.DataFrame(rows, columns=["line", "arm", "source", "crop", "method", "images", "dataset", "seed", "auroc"])


def save_curve(table: pd.DataFrame, sets: Mapping[str, FilmSet], stage: Stage) -> None:
    """Save the figure `dose` (see `draw_curve`); where all arms have as many images, a line says so."""
    if len(set(table["images"])) > 1:
        stage.save_figure(draw_curve(table, sets), "dose")
    else:
        print("all arms have as many images: no dose curve")


def draw_curve(table: pd.DataFrame, sets: Mapping[str, FilmSet]) -> Figure:
    """AUROC against the number of training images, a panel a data set: a dot a seed, a line through their means."""
    names, lines = list(dict.fromkeys(table["dataset"])), list(dict.fromkeys(table["line"]))
    looks = style.arm_looks(lines)
    figure, axes = style.panels(1, len(names), 3.0, [sets[name].title for name in names])
    for axis, name in zip(axes.ravel(), names, strict=True):
        for line in lines:
            part = table[(table["dataset"] == name) & (table["line"] == line)]
            mean = part.groupby("images")["auroc"].mean()
            axis.plot(mean.index, mean, **looks[line], markersize=0, linewidth=1.2)
            axis.plot(part["images"], part["auroc"], **looks[line] | {"linestyle": ""}, markersize=4)
            axis.plot([], [], **looks[line], markersize=4, linewidth=1.2, label=line)
        axis.set(xscale="log", xlabel="synthetic training images", ylabel="AUROC")
    style.shared_legend(figure, axes.ravel()[0], "lower center", 2)
    return figure
