"""Notebook 07 at the screen: case by case, masks switched on and off, and a wipe between picture and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from nbhelpers.images.widgets import choice, outlined, picture, row, slider, watch, wiped, words
from nbhelpers.runs import front_end
from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import SegmentationSet
from nbhelpers.segmentation.evaluation import wide
from nbhelpers.style import readable

# Of the colour-blind-safe palette, brightest first: the truth and each model.
SHOWN = 12  # cases of the table, where nobody is at the screen
COLOURS = ("#ECE133", "#56B4E9", "#DE8F05", "#CC78BC", "#029E73", "#FBAFE4")


def dice_table(scores: pd.DataFrame, threshold: int, names: Mapping[str, str]) -> pd.DataFrame:
    """Dice of every model on every case, the hardest for the specialist first: `dataset, case, <each model>`."""
    tables = []
    for name in names:
        table = wide(scores, name, threshold)
        first = "specialist" if "specialist" in table else table.columns[0]
        tables.append(table.sort_values(first, kind="stable").reset_index().assign(dataset=names[name]))
    found = pd.concat(tables, ignore_index=True).rename_axis(columns=None)
    return found[["dataset", "case", *(name for name in found if name not in ("dataset", "case"))]]


def cases(
    scores: pd.DataFrame,
    sets: Mapping[str, SegmentationSet],
    answers: Mapping[str, Sequence[Answers]],
    threshold: int,
    names: Mapping[str, str],
    model_names: Mapping[str, str],
) -> widgets.Widget | Styler:
    """A case at a time, the hardest for the specialist first: outlines to switch on, and a wipe to a model's answer.

    Parameters are those of `figures.worst_and_best`. Where nobody is at the screen: the
    first of `dice_table`.
    """
    table = dice_table(scores, threshold, names)
    if not front_end.live():
        return readable(table.head(SHOWN), model_names)
    dataset, case = choice("set", [(title, name) for name, title in names.items()]), choice("case", [])
    model = choice("answer", [(title, name) for name, title in model_names.items()])
    model.value = "omnimodel" if "omnimodel" in model_names else model.value
    colours = dict(zip(("truth", *model_names), COLOURS * 3, strict=False))
    switches = {
        name: widgets.Checkbox(name in ("truth", model.value), description=model_names.get(name, name), indent=False)
        for name in colours
    }
    marks = [
        widgets.HBox([widgets.HTML(f'<b style="color:{colours[name]};background:#333;padding:0 4px">&#9632;</b>'), one])
        for name, one in switches.items()
    ]
    turned = slider("image | answer", 0.0, 0, 1, 0.01, readout=False)
    told, (shown, to) = widgets.HTML(), picture()

    def list_cases(_: object = None) -> None:
        case.options = table.loc[table["dataset"] == names[dataset.value], "case"].tolist()
        case.value = case.options[0]  # which a menu that was empty does not choose by itself

    def change() -> None:
        if case.value is None:
            return
        found = sets[dataset.value]
        record = found.cases.set_index("case", drop=False).loc[case.value].to_dict()
        image, truth = found.image(record), found.truth(record)
        maps = {one.name: one.read(case.value, truth.shape) for one in answers[dataset.value]}
        masks = {"truth": truth, **{name: grey > threshold for name, grey in maps.items()}}
        on = {colours[name]: mask for name, mask in masks.items() if switches[name].value}
        grey = maps.get(model.value, np.zeros(truth.shape, dtype=np.uint8))
        mixed = wiped(outlined(image, on, 2), np.repeat(grey[..., None], 3, axis=2), turned.value)
        to(mixed, f"{case.value}: left of the line, the answer of {model_names[model.value]}")
        here = table[(table["dataset"] == names[dataset.value]) & (table["case"] == case.value)].iloc[0]
        dice = ", ".join(f"{model_names[name]} {here[name]:.2f}" for name in maps if name in here)
        told.value = words(f"Dice: {dice}")

    dataset.observe(list_cases, "value")
    list_cases()
    watch(change, dataset, case, model, turned, *switches.values())
    return widgets.VBox([row(dataset, case, model), row(shown, widgets.VBox([turned, *marks])), told])
