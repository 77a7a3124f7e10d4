"""Films by what an arm made of them, and every arm's map over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from interpretability import interpretability_fixture as toy
from pandas.io.formats.style import Styler

from nbhelpers.interpretability import chosen_films, widgets
from nbhelpers.networks import models
from nbhelpers.networks.trained import Network
from nbhelpers.runs import front_end

METRICS = pd.DataFrame({"arm": ["one"], "threshold": [0.7]})


@pytest.fixture
def given(tmp_path: Path) -> tuple[Any, ...]:
    sets = {"toy": toy.film_set(tmp_path)}
    networks = {}
    for number, arm in enumerate(("one", "two")):
        toy.save_arm(tmp_path, arm, number)
        networks[arm] = Network(arm, *models.load_checkpoint(tmp_path / "03_training" / arm, "cpu"))
    predictions = toy.predictions().assign(sex=["F", "M"] * 12, age=[30.0, 71.0] * 12)
    examples = chosen_films.explain_sets(predictions, sets, networks, 0.5, metrics=METRICS)
    return predictions, METRICS, sets, networks, examples


def test_each_film_is_in_the_cell_of_its_label_and_call() -> None:
    films = widgets.cells(toy.predictions(), "one", 0.5).set_index("image_id")["cell"]
    told = [films[name] for name in ("f11", "f10", "f1", "f0")]
    assert told == ["true positive", "false positive", "false negative", "true negative"]


def test_without_a_screen_films_of_each_cell_are_counted_at_each_arms_own_threshold(given: tuple[Any, ...]) -> None:
    assert isinstance(widgets.browse(*given), Styler)
    table = widgets.counts(given[0], {"one": 0.7, "two": 0.5})
    assert table[["arm", "threshold"]].to_numpy().tolist() == [["one", 0.7], ["two", 0.5]]
    assert table[list(widgets.CELLS)].sum(axis=1).tolist() == [12, 12]
    assert table["true positive"].tolist() == [2, 3]  # f9 and f11 over 0.7; f1, f3 and f5 over 0.5


@pytest.mark.parametrize(("age", "told"), [(0, "00-19"), (39.9, "20-39"), (71, "60-79"), (np.nan, None)])
def test_ages_are_told_by_twenty_years(age: float, told: str | None) -> None:
    assert widgets.decades(age) == told


def test_a_film_shows_through_where_its_map_is_zero_and_at_no_opacity() -> None:
    film, map_ = np.full((8, 8), 100, np.uint8), np.zeros((8, 8), np.float32)
    assert (widgets.overlaid(film, map_, 1.0, 1.0) == 100).all()
    map_[:] = 1
    assert (widgets.overlaid(film, map_, 1.0, 0.0) == 100).all()
    bright = widgets.overlaid(film, map_, 1.0, 1.0)[0, 0]
    assert bright[0] > 240 and bright[2] < 200  # the brightest of the map's colours, and nothing of the film


def test_at_the_screen_filters_choose_the_film_and_one_slider_covers_it(
    given: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_end, "live", lambda: True)
    shown = widgets.browse(*given)
    assert isinstance(shown, ipywidgets.VBox)
    (_, _, cell), (sex, years, span), (at, opacity), told, pictures = (
        getattr(part, "children", part) for part in shown.children
    )
    assert (sex.description, years.description) == ("sex", "age in years")
    maps = [one.children[1] for one in pictures[1:]]
    assert "1 of 2: f11, pneumonia" in told.value
    at.value = 1
    assert "2 of 2: f9, pneumonia" in told.value
    before = [one.value for one in maps]
    opacity.value = 0.0
    assert [one.value for one in maps] != before and all(len(one.value) > 100 for one in maps)
    cell.value = "true negative"
    assert "f6, normal" in told.value
    span.value = (0.0, 0.2)
    assert "1 of 1: f0, normal" in told.value
    years.value = "60-79"
    assert "no film of this kind" in told.value and all(one.layout.display == "none" for one in pictures)
