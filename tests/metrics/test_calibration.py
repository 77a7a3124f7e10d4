import numpy as np
import pandas as pd
import pytest
from metrics.metrics_fixture import calibrated_cohort
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from nbhelpers.errors import UserError
from nbhelpers.metrics.calibration import _fit, calibration_ci, logit, recalibrate, reliability


def test_slope_intercept_and_brier_equal_independent_fits():
    labels, scores = calibrated_cohort(slope=0.5, intercept=-0.8)
    found = calibration_ci(labels, scores, n_resamples=20)
    odds = logit(scores)
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(odds[:, None], labels)
    assert found.slope.value == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    # Calibration in the large: the shift of the log odds under which expected and observed positives agree.
    shift = brentq(lambda a: (1 / (1 + np.exp(-(a + odds)))).sum() - labels.sum(), -10, 10, xtol=1e-12)
    assert found.intercept.value == pytest.approx(shift, abs=1e-8)
    assert found.brier.value == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)


def test_intervals_hold_what_the_labels_were_drawn_from():
    found = calibration_ci(*calibrated_cohort(2000, slope=1.0, intercept=0.0), n_resamples=200)
    assert found.slope.low < 1 < found.slope.high and found.intercept.low < 0 < found.intercept.high
    bent = calibration_ci(*calibrated_cohort(2000, slope=0.4, intercept=0.0), n_resamples=200)
    assert bent.slope.high < 0.7


def test_weighted_fits_equal_fits_of_the_resampled_films():
    labels, scores = calibrated_cohort(200)
    odds = logit(scores)
    weights = np.random.default_rng(0).multinomial(200, np.full(200, 1 / 200), size=5)
    found = _fit(labels, odds, weights, slope=True)
    for row, a, b in zip(weights, *found, strict=True):
        films = np.repeat(np.arange(200), row)
        fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(odds[films, None], labels[films])
        assert (a, b) == pytest.approx((fit.intercept_[0], fit.coef_[0, 0]), abs=1e-4)


def test_patients_widen_the_intervals():
    labels, scores = (np.repeat(column, 6) for column in calibrated_cohort(150))
    plain = calibration_ci(labels, scores, n_resamples=200)
    clustered = calibration_ci(labels, scores, np.repeat(np.arange(150), 6), n_resamples=200)
    assert clustered.slope.high - clustered.slope.low > 1.7 * (plain.slope.high - plain.slope.low)


def test_separated_or_constant_scores_have_no_slope_and_raise_nothing():
    labels = np.repeat([0, 1], 20)
    separated = calibration_ci(labels, np.where(labels == 1, 0.8, 0.2) + np.linspace(0, 0.1, 40), None, 20)
    assert np.isnan(separated.slope).all() and np.isfinite(separated.brier).all()
    constant = calibration_ci(labels, np.full(40, 0.3), None, 20)
    assert np.isnan(constant.slope).all()
    assert constant.intercept.value == pytest.approx(np.log(0.5 / 0.5) - np.log(0.3 / 0.7))


def test_scores_of_exactly_0_and_1_are_taken_and_others_outside_are_refused():
    labels, scores = calibrated_cohort(50)
    scores[0], scores[1] = 0.0, 1.0
    assert np.isfinite(calibration_ci(labels, scores, n_resamples=20).brier).all()
    with pytest.raises(UserError, match="no probabilities"):
        calibration_ci(labels, scores + 0.5)


def test_recalibration_out_of_fold_brings_slope_and_intercept_near_their_aim():
    labels, scores = calibrated_cohort(3000, slope=0.4, intercept=-1.0)
    groups = np.arange(3000) // 3
    again = calibration_ci(labels, recalibrate(labels, scores, groups), groups, 100)
    assert again.slope.value == pytest.approx(1, abs=0.1) and again.intercept.value == pytest.approx(0, abs=0.05)
    before = calibration_ci(labels, scores, groups, 100)
    assert again.brier.value < before.brier.value


def test_recalibration_never_sees_the_patient_that_it_is_applied_to():
    # All films of a patient are alike, and one patient's label is turned: its own probability must not follow.
    labels, scores = calibrated_cohort(60)
    labels, scores, groups = np.repeat(labels, 10), np.repeat(scores, 10), np.repeat(np.arange(60), 10)
    first = recalibrate(labels, scores, groups)
    odds = logit(scores)
    for patient in range(60):
        own = groups == patient
        if len(np.unique(first[own])) > 1:
            pytest.fail("films of one patient in two folds")
    assert np.corrcoef(logit(first), odds)[0, 1] > 0.95


def test_recalibration_that_cannot_be_done_is_none():
    assert recalibrate([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], ["a", "b", "c", "c"]) is None


def test_reliability_bins_hold_all_films_in_order_and_never_split_ties():
    labels, scores = calibrated_cohort(500)
    table = reliability(labels, scores)
    assert table["n"].sum() == 500 and len(table) == 10 and table["mean_score"].is_monotonic_increasing
    assert (table["n"] * table["observed"]).sum() == pytest.approx(labels.sum())
    tied = reliability(labels, np.round(scores, 1))
    assert tied["n"].sum() == 500 and tied["mean_score"].is_unique
    assert len(reliability(labels, np.full(500, 0.3))) == 1


@pytest.mark.parametrize("slope", [0.05, 0.1, 0.25, 0.4])
@pytest.mark.parametrize("spread", [3, 4, 6, 8])
def test_overconfident_scores_of_any_spread_are_fitted_as_scikit_learn_fits_them(spread, slope):
    generator = np.random.default_rng(7)
    odds = np.clip(generator.normal(0, spread, 800), *logit([0, 1]))
    labels = (generator.random(800) < 1 / (1 + np.exp(-(0.3 + slope * odds)))).astype(int)
    scores = 1 / (1 + np.exp(-odds))
    found = calibration_ci(labels, scores, n_resamples=40)
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(odds[:, None], labels)
    assert found.slope.value == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    assert np.isfinite([*found.slope, *found.intercept]).all()
    assert found.dropped == {"intercept": 0, "slope": 0, "brier": 0}
    assert recalibrate(labels, scores) is not None


def test_steep_fits_of_scores_that_hardly_differ_converge_too():
    labels, scores = calibrated_cohort(500)
    narrow = 1 / (1 + np.exp(-0.002 * logit(scores)))
    wide, steep = (calibration_ci(labels, s, n_resamples=5).slope.value for s in (scores, narrow))
    assert steep == pytest.approx(wide / 0.002, rel=1e-5)


def test_reliability_takes_patients_for_the_evidence_where_they_are_known():
    labels, scores = (np.repeat(column, 6) for column in calibrated_cohort(200))
    patients = np.repeat(np.arange(200), 6)
    found, once = reliability(labels, scores, patients), reliability(labels[::6], scores[::6])
    # Six copies of each film are worth as much as one.
    pd.testing.assert_frame_equal(found[["observed", "ci_low", "ci_high"]], once[["observed", "ci_low", "ci_high"]])
    assert (found["n_clusters"] * 6 == found["n"]).all()
