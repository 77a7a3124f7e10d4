"""Figures of notebook 07: the study's table redrawn, and what its reading hangs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nbhelpers.runs.stage import Stage
from nbhelpers.segmentation.answers import NO_MASK, Answers
from nbhelpers.segmentation.datasets import Mask, Pixels, SegmentationSet
from nbhelpers.segmentation.evaluation import PAPER_THRESHOLD, wide
from nbhelpers.segmentation.published import PUBLISHED, TASK_OF, TITLES
from nbhelpers.style import PAGE_WIDTH, in_lines

# Dark and light differ, and so do the colours to every kind of eye; the extra ones are drawn last.
A_COLOUR, B_COLOUR, NULL_COLOUR = "#1f4e79", "#e08214", "#777777"
HIT, MISSED_COLOUR, EXTRA = "#56b4e9", "#e69f00", "#cc79a7"
_MODEL_COLOURS = {"specialist": A_COLOUR, "specialist_seed_1": "#6fa0cf", "omnimodel": B_COLOUR, "third": "#4d9221"}
_STYLES = {"drawn truth, PNG": ":", "drawn truth, JPEG 75": "--"}


def _colour(model: str) -> str:
    return _MODEL_COLOURS.get(model, NULL_COLOUR)


def figure_6(comparison: pd.DataFrame, names: Mapping[str, str], omnimodel: str) -> Figure:
    """The study's table redrawn: Dice and HD95 of both models on the hardest and the easiest cases, by its own choice.

    Bars are this run's; above them stand the omnimodel's gap to the specialist, and the gap that choosing by the
    specialist's Dice gives two exchangeable models. Diamonds are the study's values for the same kind of task: other
    cases and models.
    """
    chosen = comparison[comparison["selection"] == "specialist"]
    figure, axes = plt.subplots(2, len(names), figsize=(PAGE_WIDTH, 5.4), squeeze=False)
    for column, name in enumerate(names):
        rows = chosen[chosen["dataset"] == name].set_index("extreme")
        task = TASK_OF.get(name)
        for line, (measure, first, second) in enumerate((("dice", "mean_a", "mean_b"), ("hd95", "hd95_a", "hd95_b"))):
            here: Axes = axes[line, column]
            for place, extreme in enumerate(("hard", "easy")):
                row = rows.loc[extreme]
                here.bar(place - 0.2, row[first], 0.36, color=A_COLOUR)
                here.bar(place + 0.2, row[second], 0.36, color=B_COLOUR)
                if measure == "dice":
                    _say_gap(here, place, row)
                if task:
                    values = getattr(PUBLISHED[task], measure)[extreme]
                    look: dict[str, Any] = {"marker": "D", "ms": 5, "mfc": "white", "mec": "black", "ls": ""}
                    here.plot([place - 0.2, place + 0.2], values, **look)
            count = round(float(rows["n"]["hard"]))
            here.set_xticks([0, 1], [f"hardest {count}", f"easiest {count}"])
            if line == 0:
                here.set_ylim(0, 1.25)
                here.set_title(in_lines(names[name]))
            if column == 0:
                here.set_ylabel("mean Dice" if line == 0 else "mean HD95 (px)")
    handles: list[Any] = [
        Patch(color=A_COLOUR, label="specialist"),
        Patch(color=B_COLOUR, label=omnimodel),
    ]
    tasks = {TITLES[TASK_OF[name]] for name in names if name in TASK_OF}
    if tasks:
        label = f"published ({'; '.join(sorted(tasks))}): other cases and models"
        handles.append(Line2D([], [], marker="D", mfc="white", mec="black", ls="", label=label))
    figure.suptitle("Cases chosen by the specialist's own Dice")
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _say_gap(axes: Axes, place: int, row: Any) -> None:
    """Above a pair of bars: the gap b - a, and the one that the choice alone gives."""
    told = f"gap {row['difference']:+.2f}\nby choice {row['swap_null']:+.2f}"
    axes.text(place, 1.05, told, ha="center", va="bottom", fontsize=7)


def paired_scatter(
    scores: pd.DataFrame, threshold: int, names: Mapping[str, str], omnimodel: str, share: float
) -> Figure:
    """Every case: the specialist's Dice against the omnimodel's; the shaded strip is what "hardest" would choose."""
    datasets = list(names)
    figure, axes = plt.subplots(
        1, len(datasets), figsize=(PAGE_WIDTH, 1.2 + PAGE_WIDTH / max(len(datasets), 2)), squeeze=False, sharey=True
    )
    for here, name in zip(axes[0], datasets, strict=True):
        table = wide(scores, name, threshold)
        a, b = table["specialist"], table["omnimodel"]
        here.axvspan(-0.03, float(a.quantile(share)), color="0.88", lw=0)
        here.plot([0, 1], [0, 1], color="0.4", lw=0.8, ls="--")
        here.scatter(a, b, s=12, color=B_COLOUR, alpha=0.6, linewidths=0)
        here.plot(a.mean(), b.mean(), "P", ms=9, color="black")
        here.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="Dice, specialist", aspect="equal")
        here.set_title(f"{in_lines(names[name])}\nabove the line: {(b > a).mean():.0%} of {len(a)}", fontsize=9)
    axes[0, 0].set_ylabel(f"Dice, {omnimodel}")
    return figure


def save_seeds(table: pd.DataFrame, names: Mapping[str, str], stage: Stage) -> None:
    """Draw and save `seeds` as `figures/segmentation_seeds`; without a second seed, say so and draw nothing."""
    if table.empty:
        print("no figure: specialist_seeds is 1, or the specialist is not trained here")
    else:
        stage.save_figure(seeds(table, names), "segmentation_seeds")


def seeds(table: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """The same network, two seeds: what the choice of cases makes of no difference at all."""
    datasets = [name for name in names if name in set(table["dataset"])]
    figure, axes = plt.subplots(1, len(datasets), figsize=(PAGE_WIDTH, 3.4), squeeze=False, sharey=True)
    for here, name in zip(axes[0], datasets, strict=True):
        rows = table[(table["dataset"] == name) & (table["other"] == table["other"].iloc[0])]
        labels = []
        for place, row in enumerate(rows.to_dict("records")):
            here.bar(place - 0.2, row["mean_a"], 0.36, color=A_COLOUR)
            here.bar(place + 0.2, row["mean_b"], 0.36, color=_colour("specialist_seed_1"))
            _say_gap(here, place, row)
            labels.append(f"{row['extreme']}\nby {row['chosen by'].replace(' ', chr(10))}")
        here.set_xticks(range(len(labels)), labels, fontsize=7.5)
        here.set_ylim(0, 1.25)
        here.set_title(in_lines(names[name]))
    axes[0, 0].set_ylabel("mean Dice")
    handles: list[Any] = [Patch(color=A_COLOUR, label="first seed"), Patch(color="#6fa0cf", label="other seed")]
    figure.suptitle("The same network, two seeds")
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def difficulty_curve(curve: pd.DataFrame, names: Mapping[str, str], omnimodel: str) -> Figure:
    """Dice of both models by what makes a case hard: a row a data set, a column a measure that neither model chose."""
    datasets = [name for name in names if name in set(curve["dataset"])]
    most = min(4, curve.groupby("dataset")["covariate"].nunique().max())
    figure, axes = plt.subplots(
        len(datasets), most, figsize=(PAGE_WIDTH, 0.6 + 2.1 * len(datasets)), squeeze=False, sharey="row"
    )
    for line, name in enumerate(datasets):
        here = curve[curve["dataset"] == name]
        measures = list(here["covariate"].unique())[:most]
        for place in range(most):
            panel: Axes = axes[line, place]
            if place >= len(measures):
                panel.remove()
                continue
            rows = here[here["covariate"] == measures[place]]
            panel.plot(rows["centre"], rows["mean_a"], "o-", color=A_COLOUR, ms=4)
            panel.plot(rows["centre"], rows["mean_b"], "s--", color=B_COLOUR, ms=4)
            label = "Dice of the third model" if measures[place] == "third" else measures[place].replace("_", " ")
            panel.set_xlabel(label, fontsize=8)
            panel.set_ylim(0, 1.03)
        axes[line, 0].set_ylabel(f"{in_lines(names[name])}\nmean Dice", fontsize=8)
    handles = [
        Line2D([], [], marker="o", color=A_COLOUR, label="specialist"),
        Line2D([], [], marker="s", ls="--", color=B_COLOUR, label=omnimodel),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def threshold_sweep(sweep: pd.DataFrame, names: Mapping[str, str], model_names: Mapping[str, str]) -> Figure:
    """Mean Dice by threshold; dotted and dashed, the true mask itself, drawn as a model draws: the format's ceiling."""
    figure, axes = plt.subplots(1, len(names), figsize=(PAGE_WIDTH, 3.7), squeeze=False, sharey=True)
    for here, (name, title) in zip(axes[0], names.items(), strict=True):
        for model, rows in sweep[sweep["dataset"] == name].groupby("model", sort=False):
            style = _STYLES.get(str(model), "-")
            colour = "black" if str(model) in _STYLES else _colour(str(model))
            here.plot(rows["threshold"], rows["dice"], style, color=colour, marker="" if style != "-" else ".")
        here.axvline(PAPER_THRESHOLD, color="0.5", lw=0.8)
        here.text(PAPER_THRESHOLD - 3, 0.02, "> 240", rotation=90, ha="right", fontsize=7.5, color="0.35")
        here.set(ylim=(0, 1.03), xlabel="grey level over which is foreground")
        here.set_title(in_lines(title))
    axes[0, 0].set_ylabel("mean Dice")
    shown = dict.fromkeys(sweep["model"])
    handles = [
        Line2D(
            [], [], ls=_STYLES.get(m, "-"), color="black" if m in _STYLES else _colour(m), label=model_names.get(m, m)
        )
        for m in shown
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def error_overlay(image: Pixels, mask: Mask, truth: Mask) -> Pixels:
    """The image in grey with hit, missed and extra pixels in fixed colours, uint8 RGB."""
    gray = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    for where, colour in ((mask & truth, HIT), (truth & ~mask, MISSED_COLOUR), (mask & ~truth, EXTRA)):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)
        gray[where] = 0.35 * gray[where] + 0.65 * rgb
    return gray.astype(np.uint8)


def worst_and_best(
    scores: pd.DataFrame,
    sets: Mapping[str, SegmentationSet],
    answers: Mapping[str, Sequence[Answers]],
    threshold: int,
    names: Mapping[str, str],
    model_names: Mapping[str, str],
) -> Figure:
    """Cases where the omnimodel wins and loses most against the specialist, with hit, missed and extra pixels."""
    rows = [(name, case) for name in sets for case in _extreme_cases(wide(scores, name, threshold))]
    shown = ("image", "specialist", "omnimodel")
    width = PAGE_WIDTH * (0.8 if len(sets) == 1 else 0.6)
    figure, axes = plt.subplots(len(rows), 3, figsize=(width, 0.5 + len(rows) * width / 2.85), squeeze=False)
    for line, (name, case) in enumerate(rows):
        found = sets[name]
        record = found.cases.set_index("case", drop=False).loc[case].to_dict()
        image, truth = found.image(record), found.truth(record)
        for column, model in enumerate(shown):
            here: Axes = axes[line, column]
            here.set(xticks=[], yticks=[])
            if column == 0:
                here.imshow(image)
                here.set_ylabel(f"{in_lines(names[name])}\n{case}", fontsize=7.5)
                continue
            drawn = next(entry for entry in answers[name] if entry.name == model)
            kind = drawn.kinds[case]
            mask = np.zeros_like(truth) if kind in NO_MASK else drawn.read(case, truth.shape) > threshold
            mask &= found.view(record, truth.shape)
            here.imshow(error_overlay(image, mask, truth))
            row = scores[(scores["case"] == case) & (scores["dataset"] == name) & (scores["model"] == model)]
            value = row[row["threshold"] == threshold]["dice"].iloc[0]
            note = "" if kind == "mask" else f", {kind.replace('_', ' ')}"
            here.set_title(f"{in_lines(model_names[model])}\nDice {value:.2f}{note}", fontsize=8)
    handles = [Patch(color=c, label=label) for c, label in ((HIT, "hit"), (MISSED_COLOUR, "missed"), (EXTRA, "extra"))]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _extreme_cases(table: pd.DataFrame) -> list[str]:
    gap = (table["omnimodel"] - table["specialist"]).sort_values(kind="stable")
    return list(dict.fromkeys([gap.index[-1], gap.index[len(gap) // 2], gap.index[0]]))


def answer_kinds(kinds: pd.DataFrame, names: Mapping[str, str], omnimodel: str) -> Figure:
    """How many answers are of each kind; those that hold no mask are hatched and score 0."""
    order = list(dict.fromkeys(kinds.sort_values(["mask", "cases"], ascending=False)["answer_kind"]))
    figure, axes = plt.subplots(figsize=(PAGE_WIDTH, 1.3 + 0.45 * len(names)))
    colours = plt.get_cmap("cividis")(np.linspace(0.1, 0.95, max(len(order), 2)))
    for line, name in enumerate(names):
        left = 0
        for kind, colour in zip(order, colours, strict=False):
            rows = kinds[(kinds["dataset"] == name) & (kinds["answer_kind"] == kind)]
            if rows.empty:
                continue
            count = int(rows["cases"].iloc[0])
            hatch = "" if rows["mask"].iloc[0] else "///"
            axes.barh(line, count, 0.6, left=left, color=colour, hatch=hatch, edgecolor="white")
            left += count
    axes.set_yticks(range(len(names)), [in_lines(title) for title in names.values()])
    axes.invert_yaxis()
    axes.set(xlabel="test cases", title=f"Answers of the {omnimodel}")
    handles = [
        Patch(facecolor=c, hatch="///" if k in NO_MASK else "", edgecolor="white", label=k.replace("_", " "))
        for k, c in zip(order, colours, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure
