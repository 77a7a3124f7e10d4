"""Pictures on the screen: what a wipe shows, and what stands in its place without a screen."""

from __future__ import annotations

import io

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from nbhelpers.images import widgets
from nbhelpers.runs import front_end

BLACK, WHITE = np.zeros((40, 80), np.uint8), np.full((40, 80), 255, np.uint8)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_end, "live", lambda: True)


def test_a_wipe_shows_its_share_of_the_second_picture_with_a_line_between() -> None:
    mixed = widgets.wiped(BLACK, WHITE, 0.25, side=80)
    assert mixed.shape == (40, 80, 3)
    assert (mixed[:, :18] == 255).all() and (mixed[:, 22:] == 0).all()
    assert (mixed[:, 19:21] == widgets.LINE).all()


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (1, 255)])
def test_at_its_ends_a_wipe_is_one_picture_alone(share: float, expected: int) -> None:
    assert (widgets.wiped(BLACK, WHITE, share) == expected).all()


def test_pictures_of_another_size_are_brought_to_the_firsts() -> None:
    assert widgets.wiped(BLACK, np.full((10, 10, 3), 255, np.uint8), 0.5, side=80).shape == (40, 80, 3)


def test_without_a_screen_a_wipe_is_both_pictures_side_by_side() -> None:
    figure = widgets.wipe(BLACK, WHITE, ("film", "edit"))
    assert isinstance(figure, Figure)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["A   film", "B   edit"]
    assert [axis.images[0].get_array().mean() for axis in figure.axes] == [0, 255]


@pytest.mark.usefixtures("live")
def test_at_the_screen_the_slider_moves_the_line() -> None:
    shown = widgets.wipe(BLACK, WHITE)
    assert isinstance(shown, ipywidgets.VBox)
    turned, (_, image) = shown.children[0], shown.children[1].children
    for share in (0.0, 1.0):
        turned.value = share
        assert np.asarray(Image.open(io.BytesIO(image.value))).mean() == 255 * share


def test_a_menu_leaves_the_rows_of_its_value_and_all_the_rest_of_none() -> None:
    table = pd.DataFrame({"sex": ["F", "M", None, "F"], "view": "PA"})
    menus = widgets.filters(table, ["sex", "view", "not there"])
    assert list(menus) == ["sex"]  # one value is no choice
    assert len(widgets.filtered(table, menus)) == 4
    menus["sex"].value = "F"
    assert widgets.filtered(table, menus).index.tolist() == [0, 3]
