import pytest
from scipy.stats import binomtest

from nbhelpers.metrics import intervals


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 17), (250, 600)])
def test_wilson_equals_scipy(successes, n):
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert intervals.wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
