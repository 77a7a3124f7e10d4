"""Values with their intervals, verdicts and p values in words: one spelling, and none where there is nothing to say."""

from __future__ import annotations

from math import nan

import pandas as pd

from nbhelpers.metrics import wording
from nbhelpers.metrics.intervals import Difference, Interval
from nbhelpers.metrics.wording import difference, interval


def test_a_p_value_has_three_decimals_and_its_floor_is_told() -> None:
    assert wording.p_text(0.04249) == "0.042" and wording.p_text(1.5e-05) == "< 0.001"
    assert wording.p_text(wording.p_floor(2000), at_floor=True) == "<= 0.001"
    assert wording.p_text(3 * wording.p_floor(2000), at_floor=True) == "<= 0.003"
    assert wording.p_text(1.0) == "1.000" and wording.p_text(nan) == ""


def test_an_interval_is_its_value_with_both_ends() -> None:
    assert interval(0.8124, 0.79, 0.8336) == str(Interval(0.8124, 0.79, 0.8336)) == "0.812 (0.790 to 0.834)"
    assert interval(0.8124) == interval(0.8124, nan, nan) == "0.812"
    assert interval(nan) == "not estimated"


def test_zero_has_no_sign_however_it_was_reached() -> None:
    assert interval(-0.0001, -0.02, -0.0) == "0.000 (-0.020 to 0.000)"
    assert difference(-0.0001, -0.01, 0.01) == "+0.000 (-0.010 to +0.010)"


def test_a_difference_shows_which_way_it_goes() -> None:
    assert difference(0.0124, -0.01, 0.034) == "+0.012 (-0.010 to +0.034)"
    assert difference(nan, nan, nan) == "" and difference(0.0124, nan, nan) == "+0.012"
    assert str(Difference(0.0124, -0.01, 0.034, 0.25)) == "+0.012 (-0.010 to +0.034), p = 0.25"


def test_a_table_is_worded_row_by_row_from_the_columns_named() -> None:
    table = pd.DataFrame({"a": [0.5, nan], "b": [0.4, nan], "c": [0.6, nan], "other": ["x", "y"]})
    assert wording.in_words(interval, table, ("a", "b", "c")) == ["0.500 (0.400 to 0.600)", "not estimated"]


def test_a_verdict_that_is_no_verdict_is_undecided() -> None:
    found = [wording.verdict(word) for word in ("beats", "falls below", "is not distinguishable from")]
    assert found == ["beats", "falls below", "not distinguishable from"]
