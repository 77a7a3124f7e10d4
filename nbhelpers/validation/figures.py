"""Figure 2 and its companions: results with intervals, curves, scores, subgroups, calibration, robustness, seeds."""

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
from nbhelpers.films.film_set import FilmSet
from nbhelpers.metrics import decisions
from nbhelpers.metrics.calibration import reliability
from nbhelpers.runs import Stage
from nbhelpers.validation import published, robustness
from nbhelpers.validation.scores import Films

METRIC_NAMES = {"auroc": "AUROC", "aupr": "AUPR"}
MARK, FLOOR, TRIVIAL = "#222222", "#777777", "#a03030"


def _shown(table: pd.DataFrame) -> tuple[list[str], list[str], dict[str, str]]:
    """Data sets and arms of a table in its order, and the arms' colours."""
    arms = list(table["arm"].unique())
    return list(table["dataset"].unique()), arms, style.arm_colours(arms)


def _of(table: pd.DataFrame, **chosen: str) -> pd.DataFrame:
    """The rows of a table that hold these values."""
    return table[(table[list(chosen)] == pd.Series(chosen)).all(axis=1)]


def figure_2(
    metrics_table: pd.DataFrame,
    sets: Mapping[str, FilmSet],
    titles: Mapping[str, str],
    baselines_table: pd.DataFrame | None = None,
) -> Figure:
    """Bars with 95 % intervals by arm: AUROC on the left, AUPR on the right, a row a data set.

    Of `evaluation.metrics_table` the primary interval of each metric is drawn, of `baselines.baselines_table` the best
    one-number baseline of each panel, as a line. `titles` are the arms', from `style.arm_titles`. A dashed line marks
    what a score that knows nothing reaches: 0.5, and in AUPR the prevalence. The paper's own value is marked on the
    matching set alone, at the one arm whose figures are known.
    """
    shown = metrics_table[metrics_table["primary"] & (metrics_table["subgroup"] == "all")]
    names, arms, colours = _shown(shown)
    set_titles = [sets[name].title for name in names for _ in METRIC_NAMES]
    figure, axes = style.panels(len(names), 2, 2.7 * len(names) + 0.5, set_titles, sharey=True)
    marked = False
    for row, dataset in zip(axes, names, strict=True):
        for axis, (metric, text) in zip(row, METRIC_NAMES.items(), strict=True):
            part = _of(shown, dataset=dataset, metric=metric).set_index("arm").loc[arms]
            _bars(axis, part, colours, titles)
            floor = 0.5 if metric == "auroc" else float(part["prevalence"].iloc[0])
            axis.axhline(floor, color=FLOOR, linestyle="--", linewidth=1)
            if baselines_table is not None:
                mine = _of(baselines_table[baselines_table["kind"] != "trained"], dataset=dataset, metric=metric)
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
    handles = [Line2D([], [], color=FLOOR, linestyle="--", label="knows nothing (0.5; in AUPR the prevalence)")]
    if baselines_table is not None:
        handles.append(Line2D([], [], color=TRIVIAL, linestyle=":", label="best trivial baseline (one number)"))
    if marked:
        told = "published, Nano Banana images (arXiv 2512.00428)"
        handles.append(Line2D([], [], color=MARK, marker="D", linestyle="", label=told))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) if len(handles) < 3 else 2)
    return figure


def _bars(axis: Axes, part: pd.DataFrame, colours: Mapping[str, str], titles: Mapping[str, str]) -> None:
    """Bars of one panel; `part` is indexed by arm."""
    values = part["value"].to_numpy(dtype=float)
    low, high = (part[name].to_numpy(dtype=float) for name in ("ci_low", "ci_high"))
    places = np.arange(len(part))
    # A percentile interval need not hold its value, and matplotlib refuses a negative length.
    lengths = np.maximum([values - low, high - values], 0)
    faces = [colours[arm] for arm in part.index]
    axis.bar(places, values, width=0.62, color=faces, yerr=lengths, error_kw={"capsize": 3, "linewidth": 1.1})
    for place, value, top in zip(places, values, high, strict=True):
        height = min(max(value, top) + 0.02, 1.03)
        text = axis.text(float(place), height, f"{value:.3f}", ha="center", va="bottom", fontsize=8, zorder=6)
        # Lines of reference run behind the number, not through it.
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9})
    axis.set_xticks(places, [style.in_lines(titles[arm]) for arm in part.index])
    axis.set_xlim(-0.6, len(part) - 0.4)
    axis.set_ylim(0, 1.1)
    axis.set_yticks(np.linspace(0, 1, 6))


def curves(predictions: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """ROC curve on the left and precision-recall curve on the right, a row a data set, a line an arm.

    The dashed line is a score that knows nothing: the diagonal, and the prevalence. `titles` are the arms'.
    """
    names, arms, colours = _shown(predictions)
    panel_titles = [f"{sets[name].title}, {kind}" for name in names for kind in ("ROC", "PR")]
    figure, axes = style.panels(len(names), 2, 3.3 * len(names) + 0.3, panel_titles)
    for row, dataset in zip(axes, names, strict=True):
        for arm in arms:
            part = _of(predictions, dataset=dataset, arm=arm)
            false, true, _ = roc_curve(part["label"], part["score"])
            row[0].plot(false, true, color=colours[arm], label=titles[arm], linewidth=1.4)
            precision, recall, _ = precision_recall_curve(part["label"], part["score"])
            row[1].plot(recall, precision, color=colours[arm], label=titles[arm], linewidth=1.4, drawstyle="steps-post")
        prevalence = predictions.loc[predictions["dataset"] == dataset, "label"].mean()
        row[0].plot([0, 1], [0, 1], color=FLOOR, linestyle="--", linewidth=1)
        row[1].axhline(prevalence, color=FLOOR, linestyle="--", linewidth=1)
        row[0].set(xlabel="1 - specificity", ylabel="sensitivity")
        row[1].set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")
        for axis in row:
            axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), box_aspect=1)
    axes[0, 0].legend(loc="lower right")
    return figure


def score_distributions(predictions: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """Histograms of scores by label: a row a data set, a column an arm; each label's bars add up to 1."""
    names, arms, _ = _shown(predictions)
    figure, axes = style.panels(len(names), len(arms), 1.9 * len(names) + 0.5, sharex=True, sharey="row")
    looks: dict[str, dict[str, Any]] = {
        "normal": {"color": style.LABEL_COLOURS["normal"], "histtype": "stepfilled"},
        "pneumonia": {"color": style.LABEL_COLOURS["pneumonia"], "histtype": "step", "linewidth": 1.6},
    }
    for row, dataset in zip(axes, names, strict=True):
        for axis, arm in zip(row, arms, strict=True):
            part = _of(predictions, dataset=dataset, arm=arm)
            for label, (text, look) in enumerate(looks.items()):
                scores = part.loc[part["label"] == label, "score"]
                weights = np.full(len(scores), 1 / len(scores))
                axis.hist(scores, bins=np.linspace(0, 1, 26), weights=weights, label=text, **look)
            axis.set_title(titles[arm], loc="left")
        row[0].set_ylabel(f"{style.in_lines(sets[dataset].title)}\nshare of films")
    for axis in axes[-1]:
        axis.set_xlabel("score (probability)")
    style.shared_legend(figure, axes[0, 0], "upper right", 2)
    return figure


def film_examples(films: Mapping[str, Films], each: int = 6) -> Figure:
    """`each` films of both labels of every set, evenly over its list, as the networks get them (square)."""
    rows = [(name, label) for name in films for label in (0, 1)]
    figure, axes = style.panels(len(rows), each, 1.25 * len(rows) + 0.2)
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


def forest(
    results: pd.DataFrame, subgroup_results: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """AUROC of all films and of each subgroup with its interval, by arm: a panel a data set.

    `results` is from `evaluation.metrics_table`, `subgroup_results` from `subgroups.metrics_table`. The number of films
    stands behind each name; subgroups with too few films have no point. `titles` are the arms'.
    """
    table = pd.concat([results[results["primary"]], subgroup_results], ignore_index=True)
    table = table[table["metric"] == "auroc"]
    names, arms, colours = _shown(table)
    rows = [len(table.loc[table["dataset"] == name, "subgroup"].unique()) for name in names]
    height, ratios = 0.9 * len(names) + 0.12 * (len(arms) + 1.2) * sum(rows), [count + 1 for count in rows]
    set_titles = [sets[name].title for name in names]
    figure, axes = style.panels(len(names), 1, height, set_titles, height_ratios=ratios, sharex=True)
    for axis, name in zip(axes[:, 0], names, strict=True):
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
    axes[-1, 0].set_xlabel("AUROC (95 % interval)")
    style.shared_legend(figure, axes[0, 0], "lower center", len(arms))
    return figure


def reliability_and_decision(
    recalibrated: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """Two rows a data set: above the reliability of each arm, a panel an arm, below their decision curves.

    Filled points and solid lines are probabilities as they come; hollow points and dotted lines are recalibrated on
    the set itself, out of fold. Takes what `calibration.add_recalibrated` gives, and the arms' `titles`.
    """
    names, arms, colours = _shown(recalibrated)
    side = min(style.PAGE_WIDTH / len(arms), 2.6)
    heights = [side + 0.55, 2.3] * len(names)
    figure = plt.figure(figsize=(style.PAGE_WIDTH, sum(heights) + 0.5))
    grid = figure.add_gridspec(2 * len(names), len(arms), height_ratios=heights)
    letters = iter(ascii_uppercase)
    for number, name in enumerate(names):
        letter, title = next(letters), style.in_lines(sets[name].title)
        below = figure.add_subplot(grid[2 * number + 1, :])
        for column, arm in enumerate(arms):
            part = _of(recalibrated, dataset=name, arm=arm)
            above = figure.add_subplot(grid[2 * number, column])
            above.plot([0, 1], [0, 1], color=FLOOR, linestyle="--", linewidth=1)
            for kind, face, line in (("score", colours[arm], "-"), ("recalibrated", "white", ":")):
                if part[kind].isna().any():
                    continue
                _reliability(above, part, kind, colours[arm], face)
                curve = decisions.decision_curve(part["label"], part[kind])
                below.plot(curve["threshold"], curve["net_benefit"], color=colours[arm], linestyle=line, linewidth=1.4)
            above.set(xlabel="mean probability", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), box_aspect=1)
            above.set_title(style.in_lines(titles[arm]), fontsize=8)
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
    bins = reliability(films["label"], films[kind], films["patient_id"])
    ends = [bins["observed"] - bins["ci_low"], bins["ci_high"] - bins["observed"]]
    look: dict[str, Any] = {"fmt": "o", "markersize": 4, "color": colour, "markerfacecolor": face, "linewidth": 0.9}
    axis.errorbar(bins["mean_score"], bins["observed"], yerr=np.maximum(ends, 0), **look)


def robustness_curves(table: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """AUROC against the strength of each change, by arm, with 95 % intervals: a row a data set, a column a change."""
    names, arms, colours = _shown(table)
    changes = list(table["change"].unique())
    figure, axes = style.panels(len(names), len(changes), 2.1 * len(names) + 0.6, sharey=True, sharex="col")
    for row, name in zip(axes, names, strict=True):
        for axis, change in zip(row, changes, strict=True):
            for arm in arms:
                part = _of(table, dataset=name, change=change, arm=arm)
                look: dict[str, Any] = {"marker": "o", "markersize": 3, "color": colours[arm], "label": titles[arm]}
                axis.plot(part["strength"], part["auroc"], **look)
                band = {"color": colours[arm], "alpha": 0.15, "linewidth": 0}
                axis.fill_between(part["strength"], part["ci_low"], part["ci_high"], **band)
            axis.axhline(0.5, color=FLOOR, linestyle="--", linewidth=1)
        row[0].set_ylabel(f"{style.in_lines(sets[name].title)}\nAUROC")
    for axis, change in zip(axes[-1], changes, strict=True):
        axis.set_xlabel(robustness.AXES[change].replace(": ", "\n"), fontsize=8)
    style.shared_legend(figure, axes[0, 0], "upper center", len(arms))
    counts = " and ".join(dict.fromkeys(f"{n:,}" for n in table.groupby("dataset", sort=False)["n"].max()))
    figure.supxlabel(f"bands: 95 % intervals, n = {counts} films", fontsize=8)
    return figure


def save_spread(
    by_seed: pd.DataFrame, spread: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str], stage: Stage
) -> None:
    """Save the figure `seeds` (see `draw_spread`); with one seed of every arm a line says so."""
    if (spread["n_seeds"] > 1).any():
        stage.save_figure(draw_spread(by_seed, spread, sets, titles), "seeds")
    else:
        print("one training seed: no spread to show")


def draw_spread(
    by_seed: pd.DataFrame, spread: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """AUROC on the left, AUPR on the right, a row a data set; a dot a seed above the first seed's sampling interval.

    Takes what `seed_spread.seeds_table` and `seed_spread.summary` give, and the arms' `titles`.
    """
    names, arms, colours = _shown(spread)
    set_titles = [sets[name].title for name in names for _ in METRIC_NAMES]
    figure, axes = style.panels(len(names), 2, (0.36 * len(arms) + 0.75) * len(names) + 0.5, set_titles)
    for row, name in zip(axes, names, strict=True):
        for axis, (metric, title) in zip(row, METRIC_NAMES.items(), strict=True):
            for place, arm in enumerate(arms):
                interval = _of(spread, dataset=name, metric=metric, arm=arm).iloc[0]
                seeds = _of(by_seed, dataset=name, metric=metric, arm=arm)["value"].to_numpy()
                axis.plot(
                    [interval["ci_low"], interval["ci_high"]],
                    [place + 0.18] * 2,
                    **{"color": colours[arm], "linewidth": 5, "alpha": 0.35, "solid_capstyle": "butt"},
                )
                faces = [colours[arm], *["white"] * (len(seeds) - 1)]
                heights = np.full(len(seeds), place - 0.14)
                axis.scatter(seeds, heights, s=22, facecolors=faces, edgecolors=colours[arm], linewidths=1.1)
            axis.set_yticks(range(len(arms)), [style.in_lines(titles[arm]) for arm in arms])
            axis.set_ylim(len(arms) - 0.5, -0.5)
            axis.set_xlabel(title)
    handles = [
        Line2D([], [], color="#444444", marker="o", markersize=4.7, linestyle="", label="first seed"),
        Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle="", label="other seeds"),
        Line2D([], [], color="#444444", linewidth=5, alpha=0.35, label="95 % sampling interval of the first seed"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
