import numpy as np
import pytest
from scipy.stats import binomtest

from nbhelpers.metrics import intervals


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 17), (250, 600)])
def test_wilson_equals_scipy(successes, n):
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert intervals.wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_of_nothing_has_no_interval():
    assert np.isnan(intervals.wilson(0, 0)).all()


def test_the_percentile_interval_holds_the_middle_95_percent():
    assert intervals.percentile_interval(np.arange(1001)) == pytest.approx((25, 975))
    assert intervals.percentile_interval(np.arange(101), level=0.5) == pytest.approx((25, 75))
    assert np.isnan(intervals.percentile_interval([np.nan, np.nan])).all()


def test_values_print_themselves_with_their_intervals():
    assert str(intervals.Interval(0.923, 0.919, 0.927)) == "0.923 (0.919 to 0.927)"
    assert str(intervals.Difference(0.01, -0.02, 0.04, 0.5)) == "+0.010 (-0.020 to +0.040), p = 0.5"
    both = intervals.Intervals(auroc=intervals.Interval(1, 0, 1), aupr=intervals.Interval(0, 0, 1))
    assert both.auroc is both["auroc"] and both.aupr is both["aupr"]
