"""Values with their intervals in words: one spelling, and none where there is nothing to say."""

from __future__ import annotations

from math import nan

from nbhelpers.metrics.intervals import Difference, Interval
from nbhelpers.metrics.wording import difference, interval


def test_an_interval_is_its_value_with_both_ends() -> None:
    assert interval(0.8124, 0.79, 0.8336) == str(Interval(0.8124, 0.79, 0.8336)) == "0.812 (0.790 to 0.834)"
    assert interval(0.8124) == interval(0.8124, nan, nan) == "0.812"
    assert interval(nan) == "not estimated"


def test_zero_has_no_sign_however_it_was_reached() -> None:
    assert interval(-0.0001, -0.02, -0.0) == "0.000 (-0.020 to 0.000)"


def test_a_difference_shows_which_way_it_goes() -> None:
    assert difference(0.0124, -0.01, 0.034) == "+0.012 (-0.010 to +0.034)"
    assert difference(nan, nan, nan) == ""
    assert str(Difference(0.0124, -0.01, 0.034, 0.25)) == "+0.012 (-0.010 to +0.034), p = 0.25"
