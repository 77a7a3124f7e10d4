import numpy as np
import pytest
from metrics.metrics_fixture import cohort, paired_cohort
from sklearn.metrics import average_precision_score, roc_auc_score

from nbhelpers import metrics
from nbhelpers.errors import UserError


@pytest.mark.parametrize("decimals", [None, 2, 1, 0])
@pytest.mark.parametrize("seed", range(3))
def test_auroc_and_average_precision_equal_scikit_learn_with_and_without_ties(decimals, seed):
    labels, scores = cohort(seed=seed, decimals=decimals)
    assert metrics.auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert metrics.average_precision(labels, scores) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )


def test_hand_made_case_with_one_tie():
    # Pairs positive/negative: (.8, .8) tie, (.8, .2) won, (.4, .8) lost, (.4, .2) won: 2.5 of 4.
    labels, scores = [1, 0, 1, 0], [0.8, 0.8, 0.4, 0.2]
    assert metrics.auroc(labels, scores) == 0.625
    # At .8: precision 1/2, recall 1/2; at .4: precision 2/3, recall 1.
    assert metrics.average_precision(labels, scores) == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 3)


def test_perfect_reversed_and_constant_scores_have_their_closed_forms():
    labels = np.array([1, 1, 0, 0, 0])
    assert (metrics.auroc(labels, labels), metrics.average_precision(labels, labels)) == (1.0, 1.0)
    assert metrics.auroc(labels, 1 - labels) == 0.0
    assert metrics.auroc(labels, np.zeros(5)) == 0.5
    assert metrics.average_precision(labels, np.zeros(5)) == pytest.approx(metrics.prevalence(labels))


def test_interval_covers_its_value_narrows_with_n_and_repeats_with_the_seed():
    small, large = (metrics.bootstrap_ci(*cohort(n), n_resamples=300) for n in (200, 3200))
    for name in ("auroc", "aupr"):
        assert small[name].low < small[name].value < small[name].high
        assert (large[name].high - large[name].low) < 0.5 * (small[name].high - small[name].low)
    assert metrics.bootstrap_ci(*cohort(200), n_resamples=300) == small
    assert metrics.bootstrap_ci(*cohort(200), n_resamples=300, seed=1) != small
    assert small.auroc is small["auroc"] and small.aupr is small["aupr"]


def test_patients_with_copies_of_their_film_widen_the_interval_as_fewer_films_would():
    labels, scores = cohort(300)
    copied = [np.repeat(column, 4) for column in (labels, scores)]
    alone = metrics.bootstrap_ci(labels, scores, n_resamples=400)
    clustered = metrics.bootstrap_ci(*copied, groups=np.repeat(np.arange(300), 4), n_resamples=400)
    assert clustered.auroc == pytest.approx(alone.auroc, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 1], [0.1, np.nan, 0.3], "1 of 3 scores are NaN or infinite, the first at position 1"),
        ([0, 1, 1], [0.1, np.inf, 0.3], "NaN or infinite"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "all 3 films have label 1"),
        ([0, 1], [0.1, 0.2, 0.3], "2 labels but scores of shape"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "labels other than 0 and 1"),
        ([0, 1, np.nan], [0.1, 0.2, 0.3], "labels other than 0 and 1"),
        (["normal", "pneumonia"], [0.1, 0.2], "labels are not numbers"),
        ([0, 1], ["low", "high"], "scores are not numbers"),
        ([], [], "labels have shape"),
    ],
)
def test_bad_input_is_one_clear_error(labels, scores, message):
    for function in (metrics.auroc, metrics.average_precision, metrics.bootstrap_ci):
        with pytest.raises(UserError, match=message):
            function(labels, scores)


def test_paired_bootstrap_differences_are_those_of_the_same_resamples():
    labels, a, b = paired_cohort()
    groups = np.arange(len(labels)) // 3
    found = metrics.paired_bootstrap(labels, a, b, groups, n_resamples=400, seed=2)
    one, two = metrics.bootstrap_distribution(labels, [a, b], groups, 400, 2)
    spread = np.sort(one.auroc - two.auroc)
    assert found.auroc.value == pytest.approx(metrics.auroc(labels, a) - metrics.auroc(labels, b))
    assert (found.auroc.low, found.auroc.high) == pytest.approx(np.quantile(spread, [0.025, 0.975]))
    assert found["aupr"].value == pytest.approx(
        metrics.average_precision(labels, a) - metrics.average_precision(labels, b)
    )


def test_paired_bootstrap_agrees_with_paired_delong_on_independent_films():
    labels, a, b = paired_cohort(1500, seed=4)
    boot, exact = metrics.paired_bootstrap(labels, a, b, n_resamples=1000).auroc, metrics.delong_test(labels, a, b)
    assert boot.high - boot.low == pytest.approx(exact.high - exact.low, rel=0.1)
    same = metrics.paired_bootstrap(labels, a, a, n_resamples=100).auroc
    assert same == (0.0, 0.0, 0.0, 1.0)


def test_paired_bootstrap_p_value_is_that_of_scikit_learn_on_patients_drawn_by_other_means():
    labels, a, b = paired_cohort(240, seed=11)
    b = np.round(0.8 * a + 0.2 * b, 2)  # nearer to each other, and ties in one
    patients = np.arange(240) // 3
    found = metrics.paired_bootstrap(labels, a, b, patients, n_resamples=2000)
    generator = np.random.default_rng(123)
    films = [np.flatnonzero(patients == number) for number in range(80)]
    for name, measure in (("auroc", roc_auc_score), ("aupr", average_precision_score)):
        spread = []
        for _ in range(800):
            drawn = np.concatenate([films[number] for number in generator.integers(0, 80, 80)])
            spread.append(measure(labels[drawn], a[drawn]) - measure(labels[drawn], b[drawn]))
        below = np.mean(np.asarray(spread) <= 0)
        expected = 2 * min(below, 1 - below)
        assert 0.02 < expected < 0.9, "a case in which the p value could be anything"
        # A p value is twice a share p / 2 of the draws: its error is sqrt(p (2 - p) / draws).
        error = np.sqrt(expected * (2 - expected) * (1 / 800 + 1 / 2000))
        assert found[name].p_value == pytest.approx(expected, abs=4 * error), name
