"""Pictures on the screen: what a wipe shows, and what stands in its place without a screen."""

from __future__ import annotations

import ipywidgets
import numpy as np
import pandas as pd
import pytest

from nbhelpers.images import widgets

BLACK, WHITE = np.zeros((40, 80), np.uint8), np.full((40, 80), 255, np.uint8)


def test_a_wipe_shows_its_share_of_the_second_picture_with_a_line_between() -> None:
    mixed = widgets.wiped(BLACK, WHITE, 0.25, side=80)
    assert mixed.shape == (40, 80, 3)
    assert (mixed[:, :18] == 255).all() and (mixed[:, 22:] == 0).all()
    assert (mixed[:, 19:21] == (222, 143, 5)).all()


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (1, 255)])
def test_at_its_ends_a_wipe_is_one_picture_alone(share: float, expected: int) -> None:
    assert (widgets.wiped(BLACK, WHITE, share) == expected).all()


def test_pictures_of_another_size_are_brought_to_the_firsts() -> None:
    assert widgets.wiped(BLACK, np.full((10, 10, 3), 255, np.uint8), 0.5, side=80).shape == (40, 80, 3)


def test_an_outline_is_the_edge_of_its_mask_in_its_colour_and_nothing_else_changes() -> None:
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    shown = widgets.outlined(np.full((20, 20), 9, np.uint8), {"#56B4E9": mask}, 2)
    marked = (shown == (0x56, 0xB4, 0xE9)).all(axis=2)
    assert marked[5, 10] and marked[6, 10] and marked[14, 14] and not marked[7, 10]
    assert marked.sum() == 10 * 10 - 6 * 6 and (shown[~marked] == 9).all()


def test_pages_go_through_the_rows_of_the_menus_and_begin_anew_with_another_menu() -> None:
    table = pd.DataFrame({"sex": ["F", "M", "F"], "name": list("abc")})
    menu, knob = ipywidgets.Dropdown(options=["F", "M", "X"]), ipywidgets.FloatSlider()
    told: list[tuple[str | None, str]] = []
    at, again = widgets.pages(
        "row",
        lambda: table[table["sex"] == menu.value],
        lambda one, place: told.append((None if one is None else one["name"], place)),
        menu,
        turned=[knob],
    )
    assert told == [("a", "1 of 2")] and at.max == 1
    at.value = 1
    knob.value = 3
    again()
    assert told[1:] == [("c", "2 of 2")] * 3
    menu.value = "M"
    assert told[-1] == ("b", "1 of 1") and (at.value, at.max) == (0, 0)
    menu.value = "X"
    assert told[-1][0] is None


def test_a_menu_leaves_the_rows_of_its_value_and_all_the_rest_of_none() -> None:
    table = pd.DataFrame({"sex": ["F", "M", None, "F"], "view": "PA"})
    menus = widgets.filters(table, ["sex", "view", "not there"])
    assert list(menus) == ["sex"]  # one value is no choice
    assert len(widgets.filtered(table, menus)) == 4
    menus["sex"].value = "F"
    assert widgets.filtered(table, menus).index.tolist() == [0, 3]
