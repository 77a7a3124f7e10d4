"""A wipe between a picture and what an editor made of it."""

from __future__ import annotations

from typing import Any

import ipywidgets
import numpy as np
import pytest
from matplotlib.figure import Figure

from nbhelpers.editing import widgets
from nbhelpers.editing.pictures import Picture
from nbhelpers.image_models.editors.edits import EditAnswer
from nbhelpers.runs import front_end

BLACK, WHITE = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
PICTURES = [Picture("1", "take_off", "remove", "Take it <off>.", BLACK, target=WHITE)]
ANSWERS: Any = {
    ("nothing", "take_off_1"): EditAnswer("edited", image=BLACK),
    ("model", "take_off_1"): EditAnswer("edited", image=WHITE),
    ("refuser", "take_off_1"): EditAnswer("refused"),
}


def test_without_a_screen_the_first_answer_that_is_one_stands_beside_its_picture() -> None:
    figure = widgets.compare(PICTURES, ANSWERS)
    assert isinstance(figure, Figure)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["input, take off 1", "model"]
    assert widgets.compare(PICTURES, {key: one for key, one in ANSWERS.items() if "model" not in key}) is None


def test_at_the_screen_any_editor_is_wiped_over_the_input_or_the_true_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_end, "live", lambda: True)
    shown = widgets.compare(PICTURES, ANSWERS)
    assert isinstance(shown, ipywidgets.VBox)
    _, editor, of = shown.children[0].children
    picture, told = shown.children[2].children[1], shown.children[3]
    assert "Take it &lt;off&gt;." in told.value
    seen = [picture.value]
    editor.value = "model"
    seen.append(picture.value)
    of.value = widgets.TRUE
    seen.append(picture.value)
    assert len(set(seen)) == 3
    editor.value = "refuser"
    assert "no image received: refused" in told.value
