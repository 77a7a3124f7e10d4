"""A threshold turned: counts, rates, and predictive values at any prevalence."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import ipywidgets
import pandas as pd
import pytest

from nbhelpers.runs import front_end
from nbhelpers.validation import widgets

# Of ten films four have pneumonia; at 0.5 three of them are found, and one normal film is called.
LABELS = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORES = [0.9, 0.8, 0.7, 0.3, 0.6, 0.4, 0.2, 0.1, 0.1, 0.0]
PREDICTIONS = pd.DataFrame({"arm": "a", "dataset": "d", "label": LABELS, "score": SCORES})
FROZEN = pd.DataFrame({"arm": ["a"], "threshold": [0.5]})
SETS: Any = {"d": SimpleNamespace(title="Some films")}


def test_at_a_threshold_films_are_counted_and_predictive_values_follow_bayes() -> None:
    found = widgets.decided(PREDICTIONS, 0.5, 0.1)
    assert [found[name] for name in ("tp", "fn", "fp", "tn")] == [3, 1, 1, 5]
    assert found["ppv"] == pytest.approx(3 / 4) and found["npv"] == pytest.approx(5 / 6)
    # Of 1,000 patients 100 ill: 75 are found, and a sixth of the 900 well ones, 150, is called too.
    assert found["ppv_elsewhere"] == pytest.approx(75 / 225)
    assert found["npv_elsewhere"] == pytest.approx(750 / 775)


@pytest.mark.parametrize(("threshold", "lacking"), [(0.0, "npv"), (1.0, "ppv")])
def test_a_rate_of_no_film_is_not_defined(threshold: float, lacking: str) -> None:
    point = widgets.decided(PREDICTIONS, threshold)
    assert [name for name in ("ppv", "npv") if point[name] != point[name]] == [lacking]
    rows = re.findall(r"<tr>(.*?)</tr>", widgets.table_of({"one": point}, 0.4, 0.1), re.DOTALL)
    assert {name for name in ("PPV", "NPV") for row in rows if name in row and "not defined" in row} == {
        lacking.upper()
    }


def test_without_a_screen_it_is_the_frozen_threshold_of_each_arm_and_set() -> None:
    table = widgets.threshold(PREDICTIONS, FROZEN, SETS, {"a": "Arm A"})
    assert table.data[["arm", "data set", "threshold"]].to_numpy().tolist() == [["Arm A", "Some films", "0.500"]]


def test_an_arm_without_a_frozen_threshold_is_shown_at_a_half() -> None:
    assert widgets.frozen_points(PREDICTIONS, FROZEN.iloc[:0])["threshold"].tolist() == [0.5]


def test_at_the_screen_the_slider_changes_the_second_row_and_the_button_takes_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_end, "live", lambda: True)
    shown = widgets.threshold(PREDICTIONS, FROZEN, SETS, {"a": "Arm A"})
    assert isinstance(shown, ipywidgets.VBox)
    _, turning, own, told = shown.children
    slider, button = turning.children

    def turned() -> dict[str, list[str]]:
        """Of each row what stands under `turned`."""
        rows = re.findall(r"<tr>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>\s*<td[^>]*>(.*?)</td>\s*</tr>", told.value)
        found: dict[str, list[str]] = {}
        for name, frozen, now in rows:
            assert name != "threshold" or frozen == "0.500"
            found.setdefault(name, []).append(now)
        return found

    assert turned()["true positives"] == ["3"] and turned()["false positives"] == ["1"]
    slider.value = 0.25
    assert turned()["true positives"] == ["4"] and turned()["sensitivity"] == ["1.000"]
    own.value = 0.4  # which is the set's own, too
    assert turned()["PPV at a prevalence of 40.0%"] == ["0.667", "0.667"]
    button.click()
    assert slider.value == 0.5 and turned()["true positives"] == ["3"]
