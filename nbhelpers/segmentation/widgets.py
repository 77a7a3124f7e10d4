"""Notebook 07 at the screen: case by case, masks switched on and off, and a wipe between picture and answer."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from nbhelpers.images.widgets import choice, outlined, picture, row, slider, watch, wiped, words
from nbhelpers.runs import front_end
from nbhelpers.segmentation.evaluation import Study
from nbhelpers.style import readable

# Of the colour-blind-safe palette, brightest first: the truth and each model.
SHOWN = 12  # cases of the table, where nobody is at the screen
COLOURS = ("#ECE133", "#56B4E9", "#DE8F05", "#CC78BC", "#029E73", "#FBAFE4")


def dice_table(study: Study) -> pd.DataFrame:
    """Dice of every model on every case, the hardest for the specialist first: `dataset, case, <each model>`."""
    tables = [
        study.wide(name).sort_values("specialist", kind="stable").reset_index().assign(dataset=title)
        for name, title in study.names.items()
    ]
    found = pd.concat(tables, ignore_index=True).rename_axis(columns=None)
    return found[["dataset", "case", *(name for name in found if name not in ("dataset", "case"))]]


def cases(study: Study) -> widgets.Widget | Styler:
    """A case at a time, the hardest for the specialist first: outlines to switch on, and a wipe to a model's answer.

    Where nobody is at the screen: the first of `dice_table`.
    """
    table, names, models = dice_table(study), study.names, study.models
    if not front_end.live():
        return readable(table.head(SHOWN), models)
    dataset, case = choice("set", [(title, name) for name, title in names.items()]), choice("case", [])
    model = choice("answer", [(title, name) for name, title in models.items()], value="omnimodel")
    colours = dict(zip(("truth", *models), COLOURS * 3, strict=False))
    switches = {
        name: widgets.Checkbox(name in ("truth", model.value), description=models.get(name, name), indent=False)
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
        image, maps, masks = study.masks(dataset.value, case.value)
        on = {colours[name]: mask for name, mask in masks.items() if switches[name].value}
        grey = maps.get(model.value, np.zeros(image.shape[:2], dtype=np.uint8))
        mixed = wiped(outlined(image, on, 2), np.repeat(grey[..., None], 3, axis=2), turned.value)
        to(mixed, f"{case.value}: left of the line, the answer of {models[model.value]}")
        here = table[(table["dataset"] == names[dataset.value]) & (table["case"] == case.value)].iloc[0]
        dice = ", ".join(f"{models[name]} {here[name]:.2f}" for name in maps if name in here)
        told.value = words(f"Dice: {dice}")

    dataset.observe(list_cases, "value")
    list_cases()
    watch(change, dataset, case, model, turned, *switches.values())
    return widgets.VBox([row(dataset, case, model), row(shown, widgets.VBox([turned, *marks])), told])
