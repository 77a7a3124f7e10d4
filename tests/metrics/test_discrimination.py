import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from nbhelpers import metrics
from nbhelpers.errors import UserError


def cohort(n=400, seed=0, decimals=None):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.4).astype(int)
    scores = 1 / (1 + np.exp(-generator.normal(1.2 * labels)))
    return labels, scores if decimals is None else np.round(scores, decimals)


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


@pytest.mark.parametrize("decimals", [None, 2, 1])
@pytest.mark.parametrize("clustered", [False, True])
def test_every_resample_equals_scikit_learn_on_the_same_films(decimals, clustered):
    labels, scores = cohort(150, decimals=decimals)
    groups = np.arange(150) // 4 if clustered else None
    (found,) = metrics.bootstrap_distribution(labels, [scores], groups, n_resamples=60, seed=3)
    for i, weights in enumerate(metrics.resample_weights(labels, groups, n_resamples=60, seed=3)):
        films = np.repeat(np.arange(150), weights)
        assert found.auroc[i] == pytest.approx(roc_auc_score(labels[films], scores[films]), abs=1e-9)
        assert found.aupr[i] == pytest.approx(average_precision_score(labels[films], scores[films]), abs=1e-9)


def test_films_are_drawn_uniformly_with_replacement():
    labels, _ = cohort(50)
    drawn = np.stack(list(metrics.resample_weights(labels, n_resamples=2000)))
    assert (drawn.sum(axis=1) == 50).all()
    # Each film's count is binomial(50, 1/50) in every resample: mean 1, variance 0.98.
    assert np.abs(drawn.mean(axis=0) - 1).max() < 5 * np.sqrt(0.98 / 2000)
    assert drawn.var() == pytest.approx(0.98, rel=0.03)


def test_films_of_one_patient_are_drawn_together_and_films_without_patient_alone():
    labels = np.array([0, 0, 1, 1, 0, 1])
    groups = np.array(["a", "a", "a", "b", None, None], dtype=object)
    drawn = np.stack(list(metrics.resample_weights(labels, groups, n_resamples=300)))
    assert (drawn[:, :3] == drawn[:, :1]).all()
    assert (drawn[:, 4] != drawn[:, 5]).any()
    assert (drawn[:, [0, 3, 4, 5]].sum(axis=1) == 4).all()


def test_a_resample_with_one_class_only_is_drawn_again():
    labels = np.array([1, 0, 0, 0, 0])
    (found,) = metrics.bootstrap_distribution(labels, [np.arange(5.0)], n_resamples=500)
    assert np.isfinite(found.auroc).all() and np.isfinite(found.aupr).all() and len(found.auroc) == 500


def test_interval_covers_its_value_narrows_with_n_and_repeats_with_the_seed():
    small, large = (metrics.bootstrap_ci(*cohort(n), n_resamples=300) for n in (200, 3200))
    for name in ("auroc", "aupr"):
        assert small[name].low < small[name].value < small[name].high
        assert (large[name].high - large[name].low) < 0.5 * (small[name].high - small[name].low)
    assert metrics.bootstrap_ci(*cohort(200), n_resamples=300) == small
    assert metrics.bootstrap_ci(*cohort(200), n_resamples=300, seed=1) != small
    assert small.auroc is small["auroc"] and small.aupr is small["aupr"]


def test_image_level_standard_error_is_that_of_hanley_and_mcneil():
    labels, scores = cohort(2000)
    (found,) = metrics.bootstrap_distribution(labels, [scores], n_resamples=1000)
    area, positives = metrics.auroc(labels, scores), labels.sum()
    negatives = 2000 - positives
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    assert found.auroc.std() == pytest.approx(np.sqrt(variance / (positives * negatives)), rel=0.1)


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


def test_groups_that_do_not_fit_are_refused():
    labels, scores = cohort(20)
    with pytest.raises(UserError, match="20 labels but 19 groups"):
        metrics.bootstrap_ci(labels, scores, groups=np.arange(19))
    with pytest.raises(UserError, match="one group"):
        metrics.bootstrap_ci(labels, scores, groups=np.zeros(20))


def test_bootstrap_is_many_times_faster_than_the_scikit_learn_loop():
    labels, scores = cohort(14_863)
    ours, theirs = [], []
    for turn in range(4):
        start = time.perf_counter()
        metrics.bootstrap_ci(labels, scores, n_resamples=100, seed=turn)
        ours.append((time.perf_counter() - start) / 100)
        films = [np.repeat(np.arange(14_863), w) for w in metrics.resample_weights(labels, n_resamples=5, seed=turn)]
        start = time.perf_counter()
        for i in films:
            roc_auc_score(labels[i], scores[i]), average_precision_score(labels[i], scores[i])
        theirs.append((time.perf_counter() - start) / 5)
    # The benchmark shows more than 30; the margin is for a busy machine.
    assert min(theirs) / min(ours) > 15
