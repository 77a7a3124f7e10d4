import time

import numpy as np
import pytest
from metrics.metrics_fixture import paired_cohort
from scipy.stats import norm

from nbhelpers import metrics
from nbhelpers.errors import UserError


def textbook(labels, *scores):
    """DeLong as the paper writes it: every pair of a positive and a negative film compared, O(n m)."""
    v10, v01, areas = [], [], []
    for score in scores:
        x, y = score[labels == 1], score[labels == 0]
        psi = np.array([[1.0 if p > q else 0.5 if p == q else 0.0 for q in y] for p in x])
        areas.append(psi.mean())
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    m, n = len(v10[0]), len(v01[0])
    k = len(scores)
    s10 = [[sum((v10[i] - areas[i]) * (v10[j] - areas[j])) / (m - 1) for j in range(k)] for i in range(k)]
    s01 = [[sum((v01[i] - areas[i]) * (v01[j] - areas[j])) / (n - 1) for j in range(k)] for i in range(k)]
    return np.array(areas), np.array(s10) / m + np.array(s01) / n


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("seed", range(3))
def test_delong_interval_equals_the_textbook_form(decimals, seed):
    labels, a, _ = paired_cohort(seed=seed, decimals=decimals)
    (area,), variance = textbook(labels, a)
    half = norm.ppf(0.975) * np.sqrt(variance[0, 0])
    assert metrics.delong_ci(labels, a) == pytest.approx((area, max(area - half, 0), min(area + half, 1)), abs=1e-9)


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("seed", range(3))
def test_paired_delong_equals_the_textbook_form(decimals, seed):
    labels, a, b = paired_cohort(seed=seed, decimals=decimals)
    areas, matrix = textbook(labels, a, b)
    value, error = areas[0] - areas[1], np.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    half = norm.ppf(0.975) * error
    p_value = 2 * norm.sf(abs(value) / error)
    assert metrics.delong_test(labels, a, b) == pytest.approx((value, value - half, value + half, p_value), abs=1e-9)


def test_delong_test_is_antisymmetric_and_sees_no_difference_between_equal_rankings():
    labels, a, b = paired_cohort()
    forward, back = metrics.delong_test(labels, a, b), metrics.delong_test(labels, b, a)
    assert forward.value == pytest.approx(-back.value) and forward.p_value == pytest.approx(back.p_value)
    same = metrics.delong_test(labels, a, np.exp(a))
    assert (same.value, same.p_value) == (0.0, 1.0)


def test_delong_on_14863_films_takes_less_than_50_ms():
    labels, a, b = paired_cohort(14_863)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        metrics.delong_test(labels, a, b)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


def test_delong_refuses_what_has_no_variance():
    with pytest.raises(UserError, match="two films of each class"):
        metrics.delong_ci([1, 0, 0], [0.3, 0.1, 0.2])
    with pytest.raises(UserError, match="NaN"):
        metrics.delong_test([1, 1, 0, 0], [0.3, 0.1, 0.2, 0.4], [np.nan, 0, 0, 0])
    assert metrics.delong_ci([1, 1, 0, 0], [4, 3, 2, 1]) == (1.0, 1.0, 1.0)


def test_holm_on_a_worked_example_and_against_the_definition():
    # Holm (1979) by hand: .01 x 4, .02 x 3, .03 x 2 held up by .06, .04 x 1 held up by .06.
    assert metrics.holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert metrics.holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    adjusted = metrics.holm([0.01, np.nan, 0.2])
    assert adjusted[0] == pytest.approx(0.02) and np.isnan(adjusted[1]) and adjusted[2] == pytest.approx(0.2)
    values = np.random.default_rng(0).random(20) ** 3
    for level in (0.01, 0.05, 0.2):
        # Step down: reject in order of size while p <= level / (remaining).
        rejected = np.zeros(20, bool)
        for step, index in enumerate(np.argsort(values)):
            if values[index] > level / (20 - step):
                break
            rejected[index] = True
        np.testing.assert_array_equal(metrics.holm(values) <= level, rejected)
    with pytest.raises(UserError, match="outside 0 to 1"):
        metrics.holm([1.2])
