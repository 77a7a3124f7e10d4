"""Figures of notebook 07: the study's table redrawn, and what its reading hangs on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nbhelpers.segmentation.answers import NO_MASK
from nbhelpers.segmentation.datasets import Mask, Pixels
from nbhelpers.segmentation.evaluation import PAPER_THRESHOLD, Study
from nbhelpers.segmentation.published import MEASURES, PUBLISHED, TASK_OF, TITLES
from nbhelpers.style import PAGE_WIDTH, in_lines, panels, shared_legend

# They differ in lightness too, for every kind of eye and for print in grey.
A_COLOUR, B_COLOUR, SEED_COLOUR = "#1f4e79", "#e08214", "#9cc3e6"
# Luminances 164, 240 and 21: the image under them keeps to its own range between, so that no grey of it looks like one.
HIT, MISSED_COLOUR, EXTRA = "#6ab4ea", "#fffbaa", "#300040"
IMAGE_RANGE = (65, 115)
# What makes a case hard, in words and with its unit.
UNITS = {
    "third": "Dice of the third model",
    "area": "area (share of the image)",
    "contrast": "contrast (grey levels)",
    "parts": "number of parts",
    "edge_contact": "share of outline at image edge",
    "vessel_width": "vessel width (px)",
}
# Of each model, and of the true mask drawn as a model draws: colour, line, marker.
LOOKS = {
    "specialist": (A_COLOUR, "-", "o"),
    "specialist_seed_1": (SEED_COLOUR, "-", "."),
    "omnimodel": (B_COLOUR, "--", "s"),
    "third": ("#4d9221", "-.", "^"),
    "drawn truth, PNG": ("black", ":", ""),
    "drawn truth, JPEG 75": ("black", (0, (5, 1)), ""),
}


def _line(model: str, **more: Any) -> dict[str, Any]:
    return dict(zip(("color", "ls", "marker"), LOOKS.get(model, ("#777777", "-", ".")), strict=True)) | {"ms": 4} | more


def _legend(figure: Figure, handles: Sequence[Any], columns: int) -> Figure:
    shared_legend(figure, handles, most=columns)
    return figure


def figure_6(comparison: pd.DataFrame, study: Study, definition: str) -> Figure:
    """The study's table redrawn: Dice and HD95 of both models on the hardest and the easiest cases, by its own choice.

    Bars are this run's; above them stand the omnimodel's gap to the specialist, and the gap that choosing by the
    specialist's Dice gives two exchangeable models. Diamonds are the study's values for the same kind of task: other
    cases and models.
    """
    chosen = comparison[comparison["selection"] == "specialist"]
    figure, axes = panels(2, len(study.names), 5.4)
    for column, (name, title) in enumerate(study.names.items()):
        rows = chosen[chosen["dataset"] == name].set_index("extreme").loc[["hard", "easy"]]
        for measure, here in zip(("dice", "hd95"), axes[:, column], strict=True):
            ends = ("mean_a", "mean_b") if measure == "dice" else ("hd95_a", "hd95_b")
            labels = [f"{word}est, n = {n}" for word, n in zip(("hard", "easi"), rows["n"], strict=True)]
            _pairs(here, rows, ends, B_COLOUR, labels, gaps=measure == "dice")
            for place, extreme in enumerate(rows.index if name in TASK_OF else ()):
                values = PUBLISHED.loc[(TASK_OF[name], extreme), MEASURES[measure]]
                here.plot([place - 0.2, place + 0.2], values, "D", ms=5, mfc="white", mec="black")
        axes[0, column].set_title(in_lines(title))
    axes[0, 0].set_ylabel("mean Dice")
    axes[1, 0].set_ylabel(f"mean HD95, {definition} (px)")
    handles: list[Any] = [
        Patch(color=A_COLOUR, label="specialist"),
        Patch(color=B_COLOUR, label=study.models["omnimodel"]),
    ]
    tasks = "; ".join(sorted({TITLES[TASK_OF[name]] for name in study.names if name in TASK_OF}))
    if tasks:
        label = f"published ({tasks}): other cases and models"
        handles.append(Line2D([], [], marker="D", mfc="white", mec="black", ls="", label=label))
    figure.suptitle(
        "Hardest and easiest cases, selected by the specialist's Dice\n"
        "gap: omnimodel minus specialist; by selection: gap expected of two exchangeable models",
        fontsize=9,
    )
    return _legend(figure, handles, 2)


def _pairs(
    axes: Axes, rows: pd.DataFrame, ends: tuple[str, str], colour: str, labels: Sequence[str], gaps: bool
) -> None:
    """A pair of bars a row; above it, with `gaps`, the gap b - a and the one that the choice alone gives."""
    for shift, end, fill in ((-0.2, ends[0], A_COLOUR), (0.2, ends[1], colour)):
        axes.bar(np.arange(len(rows)) + shift, rows[end], 0.36, color=fill)
    axes.set_xticks(range(len(rows)), labels)
    if gaps:
        axes.set(ylim=(0, 1.4), yticks=np.linspace(0, 1, 6))
        for place, row in enumerate(rows.to_dict("records")):
            told = f"gap {row['difference']:+z.2f}\nby selection\n{row['swap_null']:+z.2f}"
            axes.text(place, 1.05, told, ha="center", va="bottom", fontsize=6.5)


def paired_scatter(study: Study, share: float) -> Figure:
    """Every case: the specialist's Dice against the omnimodel's; the shaded strip is what "hardest" would choose."""
    figure, axes = panels(1, len(study.names), 1.2 + PAGE_WIDTH / max(len(study.names), 2), sharey=True)
    for here, (name, title) in zip(axes[0], study.names.items(), strict=True):
        table = study.wide(name)
        a, b = table["specialist"], table["omnimodel"]
        here.axvspan(-0.03, float(a.quantile(share)), color="0.88", lw=0)
        here.plot([0, 1], [0, 1], color="0.4", lw=0.8, ls="--")
        here.scatter(a, b, s=12, color=B_COLOUR, alpha=0.6, linewidths=0)
        here.plot(a.mean(), b.mean(), "P", ms=9, color="black")
        here.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="Dice, specialist", aspect="equal")
        here.set_title(f"{in_lines(title)}\nabove the diagonal: {(b > a).mean():.0%} of {len(a)}", fontsize=9)
    axes[0, 0].set_ylabel(f"Dice, {study.models['omnimodel']}")
    dot = Line2D([], [], marker="o", ls="", ms=4, color=B_COLOUR, label="case")
    mean = Line2D([], [], marker="P", ls="", ms=9, color="black", label="mean of all cases")
    return _legend(figure, [dot, mean, Patch(color="0.88", label=f"hardest {share:.0%} for the specialist")], 3)


def seeds(table: pd.DataFrame, study: Study) -> Figure:
    """The same network, two seeds: what the choice of cases makes of no difference at all."""
    datasets = table["dataset"].unique()
    figure, axes = panels(1, len(datasets), 3.4, sharey=True)
    for here, name in zip(axes[0], datasets, strict=True):
        rows = table[(table["dataset"] == name) & (table["other"] == table["other"].iloc[0])]
        labels = [f"{row.extreme}\nby {row._3.replace(' ', chr(10))}" for row in rows.itertuples()]
        _pairs(here, rows, ("mean_a", "mean_b"), SEED_COLOUR, labels, gaps=True)
        here.set_title(in_lines(study.names[name]))
    axes[0, 0].set_ylabel("mean Dice")
    figure.suptitle(
        "The same network trained with two seeds\n"
        "gap: other minus first seed; by selection: gap expected of two exchangeable models",
        fontsize=9,
    )
    return _legend(figure, [Patch(color=A_COLOUR, label="first seed"), Patch(color=SEED_COLOUR, label="other seed")], 2)


def difficulty_curve(curve: pd.DataFrame, study: Study) -> Figure:
    """Dice of both models by what makes a case hard: a row a data set, a column a measure that neither model chose."""
    datasets = curve["dataset"].unique()
    most = min(4, curve.groupby("dataset")["covariate"].nunique().max())
    figure, axes = panels(len(datasets), most, 0.6 + 2.1 * len(datasets), sharey="row")
    for line, name in zip(axes, datasets, strict=True):
        here = dict(list(curve[curve["dataset"] == name].groupby("covariate", sort=False))[:most])
        for panel, (measure, rows) in zip(line, here.items(), strict=False):
            panel.plot(rows["centre"], rows["mean_a"], **_line("specialist"))
            panel.plot(rows["centre"], rows["mean_b"], **_line("omnimodel"))
            label = UNITS.get(str(measure), str(measure).replace("_", " "))
            panel.set_xlabel(label, fontsize=8)
            panel.set_ylim(0, 1.03)
        for panel in line[len(here) :]:
            panel.remove()
        line[0].set_ylabel(f"{in_lines(study.names[name])}\nmean Dice", fontsize=8)
    few, many = int(curve["n"].min()), int(curve["n"].max())
    figure.suptitle(f"Mean Dice by difficulty, {few} to {many} cases per point", fontsize=10)
    both = ("specialist", "omnimodel")
    return _legend(figure, [Line2D([], [], **_line(model, label=study.models[model])) for model in both], 2)


def threshold_sweep(sweep: pd.DataFrame, study: Study) -> Figure:
    """Mean Dice by threshold; in black the true mask itself, drawn as a model draws: the format's ceiling."""
    figure, axes = panels(1, len(study.names), 3.7, sharey=True)
    for here, (name, title) in zip(axes[0], study.names.items(), strict=True):
        for model, rows in sweep[sweep["dataset"] == name].groupby("model", sort=False):
            here.plot(rows["threshold"], rows["dice"], **_line(str(model)))
        here.axvline(PAPER_THRESHOLD, color="0.5", lw=0.8)
        label = here.text(PAPER_THRESHOLD, 0.5, "> 240", rotation=90, ha="center", va="center", fontsize=7.5)
        label.set_bbox({"fc": "white", "ec": "none", "pad": 1})
        here.set(ylim=(0, 1.03), xlabel="threshold (grey levels above are foreground)")
        here.set_title(in_lines(title))
    axes[0, 0].set_ylabel("mean Dice")
    shown = {one: study.models.get(one, one.replace("drawn truth", "true mask, rendered")) for one in sweep["model"]}
    return _legend(figure, [Line2D([], [], **_line(model, label=label)) for model, label in shown.items()], 3)


def error_overlay(image: Pixels, mask: Mask, truth: Mask) -> Pixels:
    """The image in a narrow range of greys, with hit, missed and extra pixels in fixed colours; uint8 RGB."""
    low, high = IMAGE_RANGE
    shown = np.repeat(low + (high - low) / 255 * image.mean(axis=2, keepdims=True), 3, axis=2)
    for where, colour in ((mask & truth, HIT), (truth & ~mask, MISSED_COLOUR), (mask & ~truth, EXTRA)):
        shown[where] = np.multiply(to_rgb(colour), 255)
    return shown.astype(np.uint8)


def worst_and_best(study: Study) -> Figure:
    """Cases where the omnimodel wins and loses most against the specialist, with hit, missed and extra pixels."""
    dice = {name: study.wide(name) for name in study.sets}
    rows = [(name, case) for name, table in dice.items() for case in _extreme_cases(table)]
    width = PAGE_WIDTH * (0.8 if len(study.sets) == 1 else 0.6)
    figure, axes = plt.subplots(len(rows), 3, figsize=(width, 0.5 + len(rows) * width / 2.85), squeeze=False)
    for line, (name, case) in zip(axes, rows, strict=True):
        image, _, masks = study.masks(name, case)
        line[0].imshow(image)
        line[0].set_ylabel(f"{in_lines(study.names[name])}\n{case}", fontsize=7.5)
        for here, model in zip(line[1:], ("specialist", "omnimodel"), strict=True):
            here.imshow(error_overlay(image, masks[model], masks["truth"]))
            kind = next(one.kinds[case] for one in study.answers[name] if one.name == model)
            note = "" if kind == "mask" else f", {kind.replace('_', ' ')}"
            here.set_title(f"{in_lines(study.models[model])}\nDice {dice[name][model][case]:.2f}{note}", fontsize=8)
    plt.setp(axes.ravel().tolist(), xticks=[], yticks=[])
    kinds = ((HIT, "true positive"), (MISSED_COLOUR, "missed"), (EXTRA, "false positive"))
    return _legend(figure, [Patch(color=colour, label=label) for colour, label in kinds], 3)


def _extreme_cases(table: pd.DataFrame) -> list[str]:
    gap = (table["omnimodel"] - table["specialist"]).sort_values(kind="stable")
    return list(dict.fromkeys([gap.index[-1], gap.index[len(gap) // 2], gap.index[0]]))


def answer_kinds(kinds: pd.DataFrame, study: Study) -> Figure:
    """How many answers are of each kind; those that hold no mask are hatched and score 0."""
    names = study.names
    order = list(dict.fromkeys(kinds.sort_values(["mask", "cases"], ascending=False)["answer_kind"]))
    figure, axes = plt.subplots(figsize=(PAGE_WIDTH, 1.3 + 0.45 * len(names)))
    colours = plt.get_cmap("cividis")(np.linspace(0.1, 0.95, max(len(order), 2)))
    counts = kinds.pivot_table(index="dataset", columns="answer_kind", values="cases").reindex(list(names)).fillna(0)
    left = np.zeros(len(names))
    for kind, colour in zip(order, colours, strict=False):
        look = {"color": colour, "hatch": "///" if kind in NO_MASK else "", "edgecolor": "white"}
        axes.barh(range(len(names)), counts[kind], 0.6, left=left, label=kind.replace("_", " "), **look)
        left += counts[kind].to_numpy()
    axes.set_yticks(range(len(names)), [in_lines(title) for title in names.values()])
    axes.invert_yaxis()
    axes.set(xlabel="test cases", title=f"Answers of the {study.models['omnimodel']}")
    shared_legend(figure, axes, most=5)
    return figure
