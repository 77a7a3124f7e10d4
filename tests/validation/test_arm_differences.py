import pandas as pd
import pytest
from validation.validation_fixture import view_predictions

from nbhelpers import metrics
from nbhelpers.validation import arm_differences


def test_differences_between_arms_hold_both_methods_and_holm_over_pairs():
    predictions = view_predictions(400)
    third = predictions[predictions["arm"] == "lung"].assign(arm="copy")
    table = arm_differences.compare_arms(pd.concat([predictions, third]), n_resamples=100)
    assert len(table) == 3 * 3
    for (_, method), family in table.groupby(["metric", "method"]):
        assert family["p_holm"].to_numpy() == pytest.approx(metrics.holm(family["p_value"])), method
    same = table[(table["arm_a"] == "lung") & (table["arm_b"] == "copy")]
    assert (same["difference"] == 0).all() and (same["p_holm"] == 1).all()
    wide = predictions.pivot_table(index="image_id", columns="arm", values="score", sort=False)
    label = predictions.drop_duplicates("image_id").set_index("image_id")["label"].loc[wide.index]
    expected = metrics.delong_test(label, wide["view"], wide["lung"])
    row = table[(table["arm_b"] == "lung") & (table["method"] == "paired_delong")].iloc[0]
    assert tuple(row[["difference", "ci_low", "ci_high", "p_value"]]) == pytest.approx(expected)


def test_one_arm_alone_has_no_differences_and_no_error():
    table = arm_differences.compare_arms(view_predictions(60).query("arm == 'lung'"), n_resamples=10)
    assert table.empty


def test_arms_on_films_of_one_patient_differ_without_interval_and_p():
    table = arm_differences.compare_arms(view_predictions(200).assign(patient_id="one"), n_resamples=20)
    primary = table[table["primary"]]
    assert set(primary["method"]) == {"too_few"} and len(primary) == 2
    assert primary["difference"].notna().all()
    assert primary[["ci_low", "ci_high", "p_value", "p_holm"]].isna().all(axis=None)
