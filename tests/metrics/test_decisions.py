import numpy as np
import pytest
from metrics.metrics_fixture import called_cohort
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, roc_curve

from nbhelpers.errors import UserError
from nbhelpers.metrics import decisions


def test_youden_threshold_reaches_the_best_sum_on_the_roc_curve():
    labels, scores = called_cohort()
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    found = decisions.rates(labels, scores, decisions.choose_threshold(labels, scores))
    assert found["sensitivity"] + found["specificity"] - 1 == pytest.approx((true - false).max())


def test_wanted_sensitivity_is_reached_at_the_highest_threshold_that_does():
    labels, scores = called_cohort()
    threshold = decisions.choose_threshold(labels, scores, sensitivity=0.9)
    assert (scores[labels == 1] >= threshold).mean() >= 0.9
    above = np.sort(scores[scores > threshold])[1]
    assert (scores[labels == 1] >= above).mean() < 0.9 or (scores[labels == 1] >= above).sum() == (
        scores[labels == 1] >= threshold
    ).sum()
    assert decisions.choose_threshold(labels, scores, sensitivity=1.0) <= scores[labels == 1].min()
    with pytest.raises(UserError, match="target_sensitivity"):
        decisions.choose_threshold(labels, scores, sensitivity=0)


def test_threshold_lies_between_the_classes_when_they_are_apart():
    assert decisions.choose_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)


def test_rates_equal_the_confusion_matrix():
    labels, scores = called_cohort()
    tn, fp, fn, tp = confusion_matrix(labels, scores >= 0.5).ravel()
    found = decisions.rates(labels, scores, 0.5)
    assert found == pytest.approx(
        {"sensitivity": tp / (tp + fn), "specificity": tn / (tn + fp), "ppv": tp / (tp + fp), "npv": tn / (tn + fn)}
    )


def test_intervals_are_wilson_without_patients_and_wider_with_films_of_few_patients():
    labels, scores = called_cohort(400)
    plain = decisions.rates_ci(labels, scores, 0.5)
    tn, _, _, tp = confusion_matrix(labels, scores >= 0.5).ravel()
    expected = binomtest(int(tp), int(labels.sum())).proportion_ci(method="wilson")
    assert plain["sensitivity"][1:] == pytest.approx((expected.low, expected.high))
    copies = decisions.rates_ci(np.repeat(labels, 5), np.repeat(scores, 5), 0.5, np.repeat(np.arange(400), 5))
    few = decisions.rates_ci(np.repeat(labels, 5), np.repeat(scores, 5), 0.5)
    for name in decisions.RATES:
        assert copies[name].value == pytest.approx(plain[name].value)
        assert copies[name].high - copies[name].low > 1.7 * (few[name].high - few[name].low)
    assert tn > 0


def test_a_rate_of_nothing_is_nan_not_an_error():
    labels, scores = called_cohort(60)
    for groups in (None, np.arange(60)):
        found = decisions.rates_ci(labels, scores, 2.0, groups, n_resamples=50)
        assert np.isnan(found["ppv"]).all() and found["sensitivity"].value == 0 and found["specificity"].value == 1


def test_decision_curve_has_its_closed_forms():
    labels, scores = called_cohort(1000)
    share = labels.mean()
    curve = decisions.decision_curve(labels, scores, [0.2, 0.5])
    called = scores >= 0.2
    expected = (called & (labels == 1)).mean() - (called & (labels == 0)).mean() * 0.25
    assert curve["net_benefit"][0] == pytest.approx(expected)
    assert curve["treat_all"].tolist() == pytest.approx([share - (1 - share) / 4, 2 * share - 1])
    perfect = decisions.decision_curve(labels, labels)
    assert perfect["net_benefit"].to_numpy() == pytest.approx(share)
    with pytest.raises(UserError, match="between 0 and 1"):
        decisions.decision_curve(labels, scores, [0.0])


def test_clustered_rates_of_0_and_1_have_wilsons_interval_with_n_the_patients():
    labels = np.tile([0, 1], 30)
    scores, patients = labels * 0.6 + 0.2, np.arange(60) // 6  # 10 patients of 6 films
    found = decisions.rates_ci(labels, scores, 0.5, patients, n_resamples=50)
    expected = binomtest(10, 10).proportion_ci(method="wilson")
    for name in decisions.RATES:
        assert found[name] == pytest.approx((1.0, expected.low, expected.high)), name
    none = decisions.rates_ci(labels, np.full(60, 0.1), 0.5, patients, n_resamples=50)
    assert none["sensitivity"] == pytest.approx((0.0, 1 - expected.high, 1 - expected.low))


def test_confusion_counts_equal_scikit_learns():
    rng = np.random.default_rng(3)
    y, s = rng.integers(0, 2, 60), rng.random(60)
    tn, fp, fn, tp = confusion_matrix(y, s >= 0.4).ravel()
    assert decisions.confusion(y, s, 0.4) == {"tp": tp, "fn": fn, "fp": fp, "tn": tn}


def test_predictive_values_at_the_sets_own_prevalence_are_those_counted():
    rng = np.random.default_rng(4)
    y, s = rng.integers(0, 2, 200), rng.random(200)
    found = decisions.rates(y, s, 0.5)
    elsewhere = decisions.at_prevalence(found["sensitivity"], found["specificity"], y.mean())
    assert elsewhere == pytest.approx({name: found[name] for name in ("ppv", "npv")})


def test_predictive_values_follow_bayes_and_nothing_called_has_none():
    # A test of 90 % and 80 %, of 1,000 people 10 ill: 9 of 207 called are; 792 of 793 others are well.
    assert decisions.at_prevalence(0.9, 0.8, 0.01) == pytest.approx({"ppv": 9 / 207, "npv": 792 / 793})
    assert np.isnan(decisions.at_prevalence(0.0, 1.0, 0.3)["ppv"])
