"""Crops turned at the screen, and what was left out, by reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from nbhelpers.cropping import widgets
from nbhelpers.images.files import write_png
from nbhelpers.images.masks import Box
from nbhelpers.runs import front_end
from nbhelpers.simulator.film import draw_film

MARGINS = [0.1, 0.1, 0.1, 0.2]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_end, "live", lambda: True)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, pd.DataFrame], Path]:
    folder = tmp_path_factory.mktemp("drawn")
    rows = []
    for number in range(3):
        write_png(folder / "simulator" / f"{number}.png", draw_film({}, number, number, size=128).image)
        rows.append({"image_id": f"{number}", "label": "normal", "path": f"{number}.png", "status": "ok"})
        rows[-1]["simulated"] = True
    return {"simulator": pd.DataFrame(rows)}, folder


def test_the_outline_is_the_box_and_nothing_else_changes() -> None:
    shown = widgets.boxed(np.zeros((100, 100), np.uint8), Box(10, 20, 60, 70))
    marked = (shown == (222, 143, 5)).all(axis=2)
    assert marked[20, 10] and marked[69, 59] and marked[45, 11] and not marked[45, 35] and not marked[5, 5]
    assert (shown[~marked] == 0).all()


def test_what_is_copied_is_a_parameter_file_of_that_crop() -> None:
    read = yaml.safe_load(widgets.parameters_to_copy("margins", MARGINS, "gemini"))
    assert read == {"crop_margins": MARGINS, "arms": {"mine": {"source": "gemini", "crop": "margins"}}}
    assert "crop_margins" not in yaml.safe_load(widgets.parameters_to_copy("content", MARGINS, "gemini"))


def test_without_a_screen_the_first_image_stands_under_each_crop(drawn: Any) -> None:
    figure = widgets.crops(*drawn, MARGINS)
    assert isinstance(figure, Figure)
    assert [axis.get_title() for axis in figure.axes[:3]] == ["none", "margins", "content"]
    before, after = figure.axes[1].images[0].get_array(), figure.axes[4].images[0].get_array()
    assert before.shape == (128, 128, 3) and after.shape == (128 - 13 - 26, 128 - 13 - 13)


@pytest.mark.parametrize("screen", [False, True])
def test_an_image_that_cannot_be_read_or_none_at_all_stops_nothing(
    drawn: Any, monkeypatch: pytest.MonkeyPatch, screen: bool
) -> None:
    monkeypatch.setattr(front_end, "live", lambda: screen)
    tables, folder = drawn
    gone = {name: table.assign(path="gone.png") for name, table in tables.items()}
    assert widgets.crops(gone, folder, MARGINS) is not None
    none = {name: table.assign(status="refused") for name, table in tables.items()}
    assert (widgets.crops(none, folder, MARGINS) is None) is not screen


@pytest.mark.usefixtures("live")
def test_at_the_screen_a_margin_changes_the_picture_and_what_is_copied(drawn: Any) -> None:
    shown = widgets.crops(*drawn, MARGINS)
    assert isinstance(shown, ipywidgets.VBox)
    _, method, at = shown.children[0].children
    _, after, turning = shown.children[1].children
    *shares, copied = turning.children
    earlier = after.children[1].value
    shares[0].value = 0.3
    assert "crop_margins: [0.30, 0.10, 0.10, 0.20]" in copied.value and after.children[1].value != earlier
    at.value = 2
    method.value = "content"
    assert shares[0].disabled and "crop_margins" not in copied.value


CROPPED = pd.DataFrame(
    [
        ("simulator", "0", "normal", "none", "excluded", "reviewer", "A. Reader: two hearts"),
        ("simulator", "0", "normal", "content", "excluded", "reviewer", "A. Reader: two hearts"),
        ("simulator", "1", "pneumonia", "none", "ok", "", ""),
        ("simulator", "2", "normal", "none", "excluded", "colour", "31.0"),
    ],
    columns=["source", "image_id", "label", "crop", "status", "reason", "detail"],
)


def raw(drawn: Any) -> pd.DataFrame:
    return drawn[0]["simulator"].assign(source="simulator")


def test_without_a_screen_each_image_that_was_left_out_is_listed_once_with_who_and_why(drawn: Any) -> None:
    table = widgets.exclusions(CROPPED, drawn[1], raw(drawn)).data
    assert table["image"].tolist() == ["0", "2"] and table["detail"][0] == "A. Reader: two hearts"


@pytest.mark.usefixtures("live")
def test_at_the_screen_they_are_turned_by_reason(drawn: Any) -> None:
    shown = widgets.exclusions(CROPPED, drawn[1], raw(drawn))
    reason, _ = shown.children[0].children
    told = shown.children[2]
    reason.value = "colour"
    assert "colour: 31.0" in told.value
    reason.value = "reviewer"
    assert "A. Reader: two hearts" in told.value


@pytest.mark.usefixtures("live")
def test_where_nothing_was_left_out_there_is_nothing_to_turn(drawn: Any) -> None:
    told = widgets.exclusions(CROPPED[CROPPED["status"] == "ok"], drawn[1], raw(drawn))
    assert "no image was excluded" in told.to_html()
