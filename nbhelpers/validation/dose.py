"""How many synthetic images it takes, and of which sources: AUROC against their number, by method and source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from nbhelpers import style
from nbhelpers.films.film_set import FilmSet
from nbhelpers.networks.trained import Network
from nbhelpers.runs import Stage

COLUMNS = ["line", "arm", "source", "crop", "method", "backbone", "images", "dataset", "seed", "auroc"]


def dose_table(by_seed: pd.DataFrame, networks: Mapping[str, Network], spread: pd.DataFrame) -> pd.DataFrame:
    """AUROC of every seed of every arm beside the number of images that the arm was trained on.

    `by_seed` is from `seed_spread.seeds_table`, `spread` from `seed_spread.summary`, `networks` from
    `trained.load_arms`. `line` is what the arms of one curve share: method, source and crop, and the backbone and the
    learning rate where a method has several. `ci_low, ci_high`: the 95 % interval of the arm's first seed, empty for
    the others.
    """
    rows = []
    described = [networks[arm].description for arm in by_seed["arm"]]
    backbones = _several((made.arm.get("method", ""), made.backbone) for made in described)
    rates = _several((made.arm.get("method", ""), made.training.get("learning_rate")) for made in described)
    for row in by_seed[by_seed["metric"] == "auroc"].to_dict("records"):
        made = networks[row["arm"]].description
        source, crop, method = (str(made.arm.get(key, "")) for key in ("source", "crop", "method"))
        images = int(made.training.get("images", {}).get("train", 0))
        line = f"{method}, {style.named(source)}" + (f", crop {crop}" if crop != "none" else "")
        line += f", {made.backbone}" if method in backbones else ""
        line += f", learning rate {made.training['learning_rate']:g}" if method in rates else ""
        line = style.marked(line, made.simulated)
        told = (made.backbone, images, row["dataset"], row["seed"], row["value"])
        rows.append((line, row["arm"], source, crop, method, *told))
    table = pd.DataFrame(rows, columns=COLUMNS)
    first = spread.loc[spread["metric"] == "auroc", ["arm", "dataset", "ci_low", "ci_high"]]
    found = table.merge(first, on=["arm", "dataset"], how="left", validate="many_to_one")
    others = found["seed"] != found["arm"].map({arm: network.description.seed for arm, network in networks.items()})
    found.loc[others, ["ci_low", "ci_high"]] = float("nan")
    return found


def _several(pairs: Iterable[tuple[str, Any]]) -> set[str]:
    """Methods that stand beside more than one value."""
    return {method for method, count in Counter(method for method, _ in set(pairs)).items() if count > 1}


def save_curve(table: pd.DataFrame, sets: Mapping[str, FilmSet], stage: Stage) -> None:
    """Save the figure `dose` (see `draw_curve`); where all arms have as many images, a line says so."""
    if len(set(table["images"])) > 1:
        stage.save_figure(draw_curve(table, sets), "dose")
    else:
        print("all arms have the same number of images: no dose curve")


def draw_curve(table: pd.DataFrame, sets: Mapping[str, FilmSet]) -> Figure:
    """AUROC against the number of training images, a panel a data set: a dot a seed, a line through their means.

    A bar is the 95 % interval of an arm's first seed. Lines stand beside each other by a few per cent of the number, so
    that their bars can be told apart.
    """
    names, lines = list(dict.fromkeys(table["dataset"])), list(dict.fromkeys(table["line"]))
    looks = style.arm_looks(lines)
    figure, axes = style.panels(1, len(names), 3.0 + 0.17 * len(lines), [sets[name].title for name in names])
    for axis, name in zip(axes.ravel(), names, strict=True):
        for number, line in enumerate(lines):
            part = table[(table["dataset"] == name) & (table["line"] == line)]
            beside = 1.04 ** (number - (len(lines) - 1) / 2)
            mean = part.groupby("images")["auroc"].mean()
            axis.plot(mean.index * beside, mean, **looks[line], markersize=0, linewidth=1.2)
            axis.plot(part["images"] * beside, part["auroc"], **looks[line] | {"linestyle": ""}, markersize=4)
            bars = part.dropna(subset=["ci_low", "ci_high"])
            axis.vlines(bars["images"] * beside, bars["ci_low"], bars["ci_high"], looks[line]["color"], linewidth=0.8)
            axis.plot([], [], **looks[line], markersize=4, linewidth=1.2, label=line)
        axis.set(xscale="log", xlabel="synthetic training images", ylabel="AUROC")
        axis.xaxis.set_major_locator(FixedLocator(_apart(table["images"])))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.xaxis.set_minor_locator(NullLocator())
    style.shared_legend(figure, axes.ravel()[0], most=2)
    return figure


def _apart(numbers: Iterable[int]) -> list[int]:
    """Of some numbers those that can be written beside each other on a logarithmic axis: a third apart, or more."""
    kept: list[int] = []
    for number in sorted(set(numbers), reverse=True):
        if not kept or number * 4 / 3 <= kept[-1]:
            kept.append(number)
    return kept[::-1]
