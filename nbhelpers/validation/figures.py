"""Figure 2 and its companions: results with intervals, curves, scores, subgroups, calibration, robustness, seeds."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
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


def _shown(table: pd.DataFrame) -> tuple[list[str], list[str], dict[str, dict[str, Any]]]:
    """Data sets and arms of a table in its order, and the arms' looks: colour, marker and line."""
    arms = list(table["arm"].unique())
    return list(table["dataset"].unique()), arms, style.arm_looks(arms)


def _dots(look: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What `errorbar` draws of an arm: its marker and its interval, joined by no line."""
    return {"markersize": 4.5, "capsize": 2.5, "elinewidth": 1.1, **look, "linestyle": "", **more}


def _lengths(part: pd.DataFrame, value: str = "value") -> NDArray[np.float64]:
    """From each value down and up to the ends of its interval: `(2, rows)`."""
    values, low, high = (part[name].to_numpy(dtype=float) for name in (value, "ci_low", "ci_high"))
    # A percentile interval need not hold its value, and matplotlib refuses a negative length.
    return np.maximum([values - low, high - values], 0)


def _of(table: pd.DataFrame, **chosen: str) -> pd.DataFrame:
    """The rows of a table that hold these values."""
    return table[(table[list(chosen)] == pd.Series(chosen)).all(axis=1)]


def figure_2(
    metrics_table: pd.DataFrame,
    sets: Mapping[str, FilmSet],
    titles: Mapping[str, str],
    baselines_table: pd.DataFrame | None = None,
) -> Figure:
    """Dots with 95 % intervals by arm: AUROC on the left, AUPR on the right, a row a data set with its n.

    Of `evaluation.metrics_table` the primary interval of each metric is drawn, of `baselines.baselines_table` the best
    one-number baseline of each panel, as a line. `titles` are the arms', from `style.arm_titles`. A dashed line marks
    a non-informative classifier: 0.5, and in AUPR the prevalence. The paper's own value is marked on the
    matching set alone, at the one arm whose figures are known.
    """
    shown = metrics_table[metrics_table["primary"] & (metrics_table["subgroup"] == "all")]
    names, arms, looks = _shown(shown)
    counts = shown.groupby("dataset")["n"].first()
    set_titles = [
        f"{style.in_lines(sets[name].title)}, n = {counts[name]:,.0f}" for name in names for _ in METRIC_NAMES
    ]
    height = (0.42 * len(arms) + 0.95) * len(names) + 0.5
    figure, axes = style.panels(len(names), 2, height, set_titles, sharey=True, sharex="col")
    marked = False
    for row, dataset in zip(axes, names, strict=True):
        for axis, (metric, text) in zip(row, METRIC_NAMES.items(), strict=True):
            part = _of(shown, dataset=dataset, metric=metric).set_index("arm").loc[arms]
            for place, arm in enumerate(arms):
                one = part.loc[[arm]]
                axis.errorbar(one["value"], [place], xerr=_lengths(one), **_dots(looks[arm]))
                at = (float(one["value"].iloc[0]), place - 0.14)
                told = axis.annotate(f"{at[0]:.3f}", at, ha="center", va="bottom", fontsize=8)
                # Lines of reference run behind the number, not through it.
                told.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.9})
            floor = 0.5 if metric == "auroc" else float(part["prevalence"].iloc[0])
            axis.axvline(floor, color=FLOOR, linestyle="--", linewidth=1, zorder=0)
            if baselines_table is not None:
                mine = _of(baselines_table[baselines_table["kind"] != "trained"], dataset=dataset, metric=metric)
                axis.axvline(float(mine["value"].max()), color=TRIVIAL, linestyle=":", linewidth=1.4, zorder=0)
            paper = published.reference(dataset, int(part["n"].iloc[0]))
            if paper and published.ARM in arms:
                marked = True
                found = getattr(paper, metric)
                ends = [[found.value - found.low], [found.high - found.value]]
                look = {"fmt": "D", "color": MARK, "markerfacecolor": "white", "markersize": 4, "capsize": 3}
                axis.errorbar(found.value, arms.index(published.ARM) + 0.25, xerr=ends, **look)
            axis.set_yticks(range(len(arms)), [style.in_lines(titles[arm]) for arm in arms])
            axis.set_ylim(len(arms) - 0.4, -0.6)
            axis.margins(x=0.09)
            if dataset == names[-1]:
                axis.set_xlabel(f"{text} (95 % interval)")
    handles = [Line2D([], [], color=FLOOR, linestyle="--", label="non-informative (0.5; in AUPR the prevalence)")]
    if baselines_table is not None:
        handles.append(
            Line2D([], [], color=TRIVIAL, linestyle=":", label="best trivial baseline, chosen on these labels")
        )
    if marked:
        told = "published, trained on Nano Banana images (arXiv 2512.00428)"
        handles.append(Line2D([], [], color=MARK, marker="D", markerfacecolor="white", linestyle="", label=told))
    if any("(simulated)" in titles[arm] for arm in arms):
        handles.append(Line2D([], [], linestyle="", label="arm (simulated): trained on simulated images"))
    style.shared_legend(figure, handles)
    return figure


def curves(
    predictions: pd.DataFrame,
    sets: Mapping[str, FilmSet],
    titles: Mapping[str, str],
    thresholds: pd.DataFrame | None = None,
) -> Figure:
    """ROC curve on the left and precision-recall curve on the right, a row a data set, a line an arm.

    The dashed grey line is a non-informative classifier: the diagonal, and the prevalence. `titles` are the arms'. With
    `operating_point.thresholds` each arm's frozen threshold is a marker on its curves.
    """
    names, arms, looks = _shown(predictions)
    counts = predictions.groupby("dataset")["image_id"].nunique()
    about = {name: f"{style.in_lines(sets[name].title)}, n = {counts[name]:,}" for name in names}
    figure, axes = style.panels(
        len(names), 2, 4.1 * len(names) + 0.5, [f"{about[name]}, {kind}" for name in names for kind in ("ROC", "PR")]
    )
    frozen = {} if thresholds is None else dict(zip(thresholds["arm"], thresholds["threshold"], strict=True))
    for row, dataset in zip(axes, names, strict=True):
        for arm in arms:
            part, look = _of(predictions, dataset=dataset, arm=arm), looks[arm] | {"linewidth": 1.4}
            line = look | {"marker": "", "label": titles[arm]}
            false, true, _ = roc_curve(part["label"], part["score"])
            row[0].plot(false, true, **line)
            row[1].plot(*_precision(part), drawstyle="steps-post", **line)
            if arm in frozen:
                found = decisions.rates(part["label"], part["score"], frozen[arm])
                point = look | {"linestyle": "", "markersize": 6.5, "markeredgecolor": "black", "zorder": 5}
                row[0].plot(1 - found["specificity"], found["sensitivity"], **point)
                row[1].plot(found["sensitivity"], found["ppv"], **point)
        prevalence = predictions.loc[predictions["dataset"] == dataset, "label"].mean()
        row[0].plot([0, 1], [0, 1], color=FLOOR, linestyle="--", linewidth=0.8)
        row[1].axhline(prevalence, color=FLOOR, linestyle="--", linewidth=0.8)
        row[0].set(xlabel="1 - specificity", ylabel="sensitivity")
        row[1].set(xlabel="recall (sensitivity)", ylabel="precision (PPV)")
        for axis in row:
            axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), box_aspect=1)
    handles = [Line2D([], [], **looks[arm], label=titles[arm]) for arm in arms]
    if frozen:
        told = "marker: threshold frozen on synthetic validation images"
        handles.append(Line2D([], [], color="none", label=told))
    style.shared_legend(figure, handles, most=3)
    return figure


def _precision(part: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall, falling, and the precision at it: the first film with pneumonia's holds down to recall 0.

    scikit-learn's curve ends at recall 0 with the precision of films above it, which is 0, and then jumps to 1.
    """
    precision, recall, _ = precision_recall_curve(part["label"], part["score"])
    reached = recall > 0
    return np.append(recall[reached], 0.0), np.append(precision[reached], precision[reached][-1])


def score_distributions(predictions: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """Histograms of scores by label: a panel an arm, data sets in rows of their own; each label's bars add up to 1."""
    names, arms, _ = _shown(predictions)
    rows = [(dataset, some) for dataset in names for some in style.in_rows(arms)]
    figure, axes = style.panels(len(rows), len(rows[0][1]), 2.0 * len(rows) + 0.5, sharex=True, sharey=True)
    looks: dict[str, dict[str, Any]] = {
        style.negatives(sets[name] for name in names): {
            "color": style.LABEL_COLOURS["normal"],
            "histtype": "stepfilled",
        },
        "pneumonia": {"color": style.LABEL_COLOURS["pneumonia"], "histtype": "step", "linewidth": 1.6},
    }
    for row, (dataset, some) in zip(axes, rows, strict=True):
        style.remove(row[len(some) :])
        for axis, arm in zip(row, some, strict=False):
            part = _of(predictions, dataset=dataset, arm=arm)
            for label, (text, look) in enumerate(looks.items()):
                scores = part.loc[part["label"] == label, "score"]
                weights = np.full(len(scores), 1 / len(scores))
                axis.hist(scores, bins=np.linspace(0, 1, 26), weights=weights, label=text, **look)
            axis.set_title(style.in_lines(titles[arm]), loc="left", fontsize=8)
            axis.tick_params(labelbottom=True)
        row[0].set_ylabel(f"{style.in_lines(sets[dataset].title)}\nshare of films")
    figure.supxlabel("score (probability)", fontsize=9)
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
        title = row[0].set_title(
            f"{found.film_set.title}: {(found.film_set.negatives, 'pneumonia')[label]}", loc="left", fontsize=8
        )
        title.set_in_layout(False)
    return figure


def forest(
    results: pd.DataFrame, subgroup_results: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """AUROC of all films and of each subgroup with its interval, by arm: a panel a data set.

    `results` is from `evaluation.metrics_table`, `subgroup_results` from `subgroups.metrics_table`. The number of films
    stands behind each name; subgroups with too few films have no row and are named below. `titles` are the arms'.
    """
    table = pd.concat([results[results["primary"]], subgroup_results], ignore_index=True)
    table = table[table["metric"] == "auroc"]
    has_value = table.groupby(["dataset", "subgroup"])["value"].transform("count") > 0
    few = table[~has_value].drop_duplicates(["dataset", "subgroup"])
    table = table[has_value]
    names, arms, looks = _shown(table)
    rows = [len(table.loc[table["dataset"] == name, "subgroup"].unique()) for name in names]
    height, ratios = 0.9 * len(names) + 0.12 * (len(arms) + 1.2) * sum(rows), [count + 1 for count in rows]
    set_titles = [sets[name].title for name in names]
    figure, axes = style.panels(len(names), 1, height + 0.4, set_titles, height_ratios=ratios, sharex=True)
    for axis, name in zip(axes[:, 0], names, strict=True):
        part = table[table["dataset"] == name]
        groups = part.drop_duplicates("subgroup")
        for offset, arm in enumerate(arms):
            mine = part[part["arm"] == arm].set_index("subgroup").reindex(groups["subgroup"])
            places = np.arange(len(groups)) + (offset - (len(arms) - 1) / 2) * 0.7 / len(arms)
            axis.errorbar(mine["value"], places, xerr=_lengths(mine), **_dots(looks[arm], label=titles[arm]))
        axis.axvline(0.5, color=FLOOR, linestyle="--", linewidth=1)
        labels = [f"{style.named(row['subgroup'])} (n = {int(row['n']):,})" for row in groups.to_dict("records")]
        axis.set_yticks(np.arange(len(groups)), labels)
        axis.set_ylim(len(groups) - 0.5, -0.5)
    left_out = [f"{row['subgroup']} (n = {int(row['n']):,})" for row in few.to_dict("records")]
    note = f"\ntoo few of a class, not shown: {', '.join(left_out)}" if left_out else ""
    axes[-1, 0].set_xlabel("AUROC (95 % interval)" + "\n".join(textwrap.wrap(note, 100, replace_whitespace=False)))
    style.shared_legend(figure, axes[0, 0])
    return figure


def reliability_and_decision(
    recalibrated: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> Figure:
    """For each data set the reliability of each arm, a panel an arm, and below their decision curves.

    Filled points and thick lines are probabilities as predicted; hollow points and thin lines are recalibrated on
    the set itself, out of fold. A panel says how many films a point stands for. Takes what
    `calibration.add_recalibrated` gives, and the arms' `titles`.
    """
    names, arms, looks = _shown(recalibrated)
    rows = style.in_rows(arms)
    side, each = min(style.PAGE_WIDTH / len(rows[0]), 2.6), len(rows) + 1
    heights = [*[side + 0.55] * len(rows), 2.3] * len(names)
    figure = plt.figure(figsize=(style.PAGE_WIDTH, sum(heights) + 0.5))
    grid = figure.add_gridspec(each * len(names), len(rows[0]), height_ratios=heights)
    letters = iter(ascii_uppercase)
    for number, name in enumerate(names):
        letter, title = next(letters), style.in_lines(sets[name].title)
        below = figure.add_subplot(grid[each * number + len(rows), :])
        for place, arm in enumerate(arms):
            line, column = divmod(place, len(rows[0]))
            part = _of(recalibrated, dataset=name, arm=arm)
            above = figure.add_subplot(grid[each * number + line, column])
            above.plot([0, 1], [0, 1], color=FLOOR, linestyle="--", linewidth=1)
            for kind, width in (("score", 1.5), ("recalibrated", 0.7)):
                if part[kind].isna().any():
                    continue
                face = looks[arm]["color"] if kind == "score" else "white"
                _reliability(above, part, kind, looks[arm], face)
                curve = decisions.decision_curve(part["label"], part[kind])
                below.plot(curve["threshold"], curve["net_benefit"], **looks[arm] | {"marker": "", "linewidth": width})
            above.set(xlabel="mean probability", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), box_aspect=1)
            above.set_title(style.in_lines(titles[arm]), fontsize=8)
            if place == 0:
                above.set_title(letter, loc="left")
            if column == 0:
                above.set_ylabel(f"{title}\nshare with pneumonia")
        share = float(part["label"].mean())
        below.plot(curve["threshold"], curve["treat_all"], color=FLOOR, linestyle="--", linewidth=1)
        below.axhline(0, color=FLOOR, linewidth=1)
        below.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.35 * share, 1.08 * share))
        below.set_title(f"{next(letters)}   {sets[name].title}: decision curve", loc="left")
    handles = [Line2D([], [], **looks[arm], markersize=4, label=titles[arm]) for arm in arms]
    handles += [
        Line2D([], [], color="black", linewidth=0.7, marker="o", markerfacecolor="white", label="recalibrated here"),
        Line2D([], [], color=FLOOR, linestyle="--", label="perfect (above), treat all (below)"),
    ]
    style.shared_legend(figure, handles, most=3)
    return figure


def _reliability(axis: Axes, films: pd.DataFrame, kind: str, look: Mapping[str, Any], face: str) -> None:
    bins = reliability(films["label"], films[kind], films["patient_id"])
    drawn = _dots(look, markerfacecolor=face, elinewidth=0.9)
    axis.errorbar(bins["mean_score"], bins["observed"], yerr=_lengths(bins, "observed"), **drawn)
    if kind == "score":
        few, many = int(bins["n"].min()), int(bins["n"].max())
        each = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        told = f"n = {each}\nper point,\n95 % intervals"
        axis.text(0.98, 0.02, told, transform=axis.transAxes, ha="right", va="bottom", fontsize=7)


def robustness_curves(table: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> Figure:
    """AUROC against the strength of each change, by arm, with 95 % intervals: a row a data set, a column a change."""
    names, arms, looks = _shown(table)
    changes, banded = list(table["change"].unique()), len(arms) <= 4  # more bands would hide each other
    figure, axes = style.panels(len(names), len(changes), 2.1 * len(names) + 0.6, sharey=True, sharex="col")
    for row, name in zip(axes, names, strict=True):
        for axis, change in zip(row, changes, strict=True):
            for arm in arms:
                part = _of(table, dataset=name, change=change, arm=arm)
                axis.plot(part["strength"], part["auroc"], **looks[arm], markersize=3, label=titles[arm])
                if banded:
                    band = {"color": looks[arm]["color"], "alpha": 0.15, "linewidth": 0}
                    axis.fill_between(part["strength"], part["ci_low"], part["ci_high"], **band)
            axis.axhline(0.5, color=FLOOR, linestyle="--", linewidth=1)
        row[0].set_ylabel(f"{style.in_lines(sets[name].title)}\nAUROC")
    for axis, change in zip(axes[-1], changes, strict=True):
        axis.set_xlabel(robustness.AXES[change].replace(": ", "\n"), fontsize=8)
    style.shared_legend(figure, axes[0, 0], "upper center")
    counts = " and ".join(dict.fromkeys(f"{n:,}" for n in table.groupby("dataset", sort=False)["n"].max()))
    told = "bands: 95 % intervals" if banded else "95 % intervals are in robustness.csv"
    figure.supxlabel(f"{told}, n = {counts} films", fontsize=8)
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
    names, arms, looks = _shown(spread)
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
                    **{"color": looks[arm]["color"], "linewidth": 5, "alpha": 0.35, "solid_capstyle": "butt"},
                )
                colour = looks[arm]["color"]
                faces = [colour, *["white"] * (len(seeds) - 1)]
                heights = np.full(len(seeds), place - 0.14)
                marks: dict[str, Any] = {"marker": looks[arm]["marker"], "edgecolors": colour, "linewidths": 1.1}
                axis.scatter(seeds, heights, s=22, facecolors=faces, **marks)
            axis.set_yticks(range(len(arms)), [style.in_lines(titles[arm]) for arm in arms])
            axis.set_ylim(len(arms) - 0.5, -0.5)
            axis.set_xlabel(title)
    handles = [
        Line2D([], [], color="#444444", marker="o", markersize=4.7, linestyle="", label="first seed"),
        Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle="", label="other seeds"),
        Line2D([], [], color="#444444", linewidth=5, alpha=0.35, label="95 % sampling interval of the first seed"),
    ]
    style.shared_legend(figure, handles, most=3)
    return figure
