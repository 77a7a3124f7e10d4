"""Case by case: outlines, the wipe to an answer, and the table in its place."""

from __future__ import annotations

from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from pandas.io.formats.style import Styler

from nbhelpers.images.files import write_png
from nbhelpers.runs import front_end
from nbhelpers.segmentation import widgets
from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import SegmentationSet
from nbhelpers.segmentation.evaluation import Study

NAMES, MODELS = {"s": "A set"}, {"specialist": "specialist", "omnimodel": "stand-in"}


@pytest.fixture
def drawn(tmp_path: Path) -> Study:
    square = np.zeros((32, 32), np.uint8)
    square[8:24, 8:24] = 255
    answers = []
    for model in MODELS:
        answers.append(Answers(model, model, model, tmp_path / model))
        for case in ("a", "b"):
            answers[-1].write(case, square, "mask")
    answers[-1].kinds["b"] = "refused"
    rows = []
    for case in ("a", "b"):
        write_png(tmp_path / f"{case}.png", np.full((32, 32), 90, np.uint8))
        write_png(tmp_path / f"{case}_mask.png", square)
        rows.append({"case": case, "group": case, "image": f"{case}.png", "masks": [f"{case}_mask.png"]})
    sets = {"s": SegmentationSet("s", "A set", "object", pd.DataFrame(rows).assign(split="test"), tmp_path)}
    dice = {("a", "specialist"): 0.9, ("a", "omnimodel"): 1.0, ("b", "specialist"): 0.4, ("b", "omnimodel"): 0.0}
    scores = pd.DataFrame([("s", *key, 127, value) for key, value in dice.items()])
    scores.columns = pd.Index(["dataset", "case", "model", "threshold", "dice"])
    return Study(scores, sets, {"s": answers}, 127, NAMES, MODELS)


def test_without_a_screen_it_is_the_dice_of_each_model_the_hardest_case_first(drawn: Study) -> None:
    assert isinstance(widgets.cases(drawn), Styler)
    table = widgets.dice_table(drawn)
    assert table[["dataset", "case", "specialist"]].to_numpy().tolist() == [["A set", "b", 0.4], ["A set", "a", 0.9]]


def test_at_the_screen_each_switch_and_the_wipe_change_the_picture(
    drawn: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_end, "live", lambda: True)
    shown = widgets.cases(drawn)
    assert isinstance(shown, ipywidgets.VBox)
    _, case, _ = shown.children[0].children
    picture, turning = shown.children[1].children
    (wipe, *marks), told = turning.children, shown.children[2]
    assert case.value == "b" and "specialist 0.40" in told.value
    case.value = "a"
    seen = [picture.children[1].value]
    wipe.value = 0.6
    seen.append(picture.children[1].value)
    for mark in marks:
        mark.children[1].value = not mark.children[1].value
    seen.append(picture.children[1].value)
    assert len(set(seen)) == 3 and "stand-in 1.00" in told.value
