import numpy as np
import pandas as pd
import pytest
from metrics.metrics_fixture import calibrated_cohort

from nbhelpers.metrics.calibration import calibration_ci
from nbhelpers.validation import calibration, tables


def test_table_tells_both_kinds_of_probabilities_for_every_arm():
    labels, scores = calibrated_cohort(200)
    predictions = pd.DataFrame(
        {
            **{"dataset": "kermany", "arm": "cropped", "image_id": range(200), "label": labels, "score": scores},
            "patient_id": [f"p{i // 2}" for i in range(200)],
        }
    )
    table = calibration.calibration_table(calibration.add_recalibrated(predictions), n_resamples=30)
    assert len(table) == 2 * 3 and set(table["ci_method"]) == {"bootstrap_patient"}
    assert len(tables.calibration(table)) == 2


def test_resamples_that_are_separated_are_counted_and_told():
    # One film alone keeps the classes from being separated: a resample lacks it in about (1 - 1/n)^n = 0.37 of cases.
    labels = np.repeat([0, 1], 15)
    scores = np.linspace(0.1, 0.9, 30)
    scores[0] = 0.95
    found = calibration_ci(labels, scores, n_resamples=2000)
    assert np.isfinite(found.slope).all() and found.dropped["slope"] == pytest.approx((1 - 1 / 30) ** 30, abs=0.04)
    predictions = pd.DataFrame(
        {"dataset": "own", "arm": "a", "image_id": range(30), "label": labels, "score": scores, "patient_id": None}
    )
    table = calibration.calibration_table(predictions.assign(recalibrated=np.nan), n_resamples=200)
    assert table.set_index("metric").loc["slope", "resamples_dropped"] > 0.25
    assert "of resamples have none" in tables.calibration(table).loc[0, "slope"]


def test_films_of_one_patient_give_values_and_no_interval():
    labels, scores = calibrated_cohort(60)
    predictions = pd.DataFrame(
        {"dataset": "own", "arm": "a", "image_id": range(60), "label": labels, "score": scores, "patient_id": "p"}
    )
    table = calibration.calibration_table(predictions.assign(recalibrated=np.nan), n_resamples=20)
    assert set(table["ci_method"]) == {"too_few"} and table["value"].notna().all()
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert "no interval" in tables.calibration(table).loc[0, "slope"]


def test_reliability_and_decision_curve_are_tables_of_every_arm_and_kind():
    labels, scores = calibrated_cohort(200)
    predictions = pd.DataFrame(
        {"dataset": "own", "arm": "a", "image_id": range(200), "label": labels, "score": scores, "patient_id": None}
    )
    both = calibration.add_recalibrated(pd.concat([predictions, predictions.assign(arm="b")]))
    bins, curve = calibration.reliability_table(both), calibration.decision_table(both)
    assert len(bins) == 4 * 10 and len(curve) == 4 * 91
    for table in (bins, curve):
        assert list(table.columns[:3]) == ["arm", "dataset", "probabilities"]
        assert set(table["probabilities"]) == {"as predicted", "recalibrated here"}
