import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from validation.validation_fixture import view_predictions

from nbhelpers import metrics
from nbhelpers.errors import UserError
from nbhelpers.validation import subgroups, tables


def test_each_subgroup_holds_scikit_learn_values_of_its_films():
    predictions = view_predictions()
    table = subgroups.metrics_table(predictions, n_resamples=30)
    part = predictions[(predictions["arm"] == "lung") & (predictions["view"] == "AP")]
    row = table[(table["arm"] == "lung") & (table["subgroup"] == "view AP")].set_index("metric")
    assert row.loc["auroc", "value"] == pytest.approx(roc_auc_score(part["label"], part["score"]))
    assert row.loc["aupr", "value"] == pytest.approx(average_precision_score(part["label"], part["score"]))
    assert row.loc["auroc", "n"] == len(part) and row.loc["auroc", "prevalence"] == part["label"].mean()
    ages = table[table["subgroup"].str.startswith("age") & (table["arm"] == "lung") & (table["metric"] == "auroc")]
    assert list(ages["subgroup"]) == list(subgroups.AGE_NAMES) and ages["n"].sum() == 1200
    assert {"sex female", "sex male"} <= set(table["subgroup"])


def test_age_bands_are_closed_below():
    films = pd.DataFrame({"view": "AP", "sex": "female", "age": [0, 17, 18, 39.9, 40, 64, 65, 120, np.nan]})
    counts = {name: int(inside.sum()) for name, inside in subgroups.members(films)}
    assert counts == {"age 0-17": 2, "age 18-39": 2, "age 40-64": 2, "age 65+": 2}


def test_planted_view_shortcut_is_found_and_the_view_alone_buys_nothing_after_adjustment():
    table = subgroups.metrics_table(view_predictions(3000), n_resamples=200)
    area = table[table["metric"] == "auroc"].set_index(["arm", "subgroup"])
    whole = view_predictions(3000).query("arm == 'view'")
    assert metrics.auroc(whole["label"], whole["score"]) > 0.7
    for name in ("view AP", "view PA", "view-adjusted"):
        assert area.loc[("view", name), "ci_low"] < 0.5 < area.loc[("view", name), "ci_high"], name
        assert area.loc[("lung", name), "ci_low"] > 0.65, name


def test_adjusted_auroc_is_the_weighted_one_of_scikit_learn():
    part = view_predictions(500).query("arm == 'lung'")
    joint = part.groupby(["view", "label"])["score"].transform("size") / 500
    share = part.groupby("view")["score"].transform("size") / 500
    label_share = part.groupby("label")["score"].transform("size") / 500
    weights = share / (joint / label_share)
    found = subgroups.view_adjusted_auroc(part["label"], part["score"], part["view"], part["patient_id"], 50)
    assert found.value == pytest.approx(roc_auc_score(part["label"], part["score"], sample_weight=weights), abs=1e-9)
    tied = part["score"].round(1)
    found = subgroups.view_adjusted_auroc(part["label"], tied, part["view"], None, 50)
    assert found.value == pytest.approx(roc_auc_score(part["label"], tied, sample_weight=weights), abs=1e-9)


def test_without_a_shortcut_adjustment_changes_next_to_nothing():
    part = view_predictions(4000, shortcut=False).query("arm == 'lung'")
    found = subgroups.view_adjusted_auroc(part["label"], part["score"], part["view"], None, 50)
    assert found.value == pytest.approx(metrics.auroc(part["label"], part["score"]), abs=0.005)


def test_adjustment_needs_both_views_in_both_classes():
    with pytest.raises(UserError, match="no film of one of the views"):
        subgroups.view_adjusted_auroc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], ["PA", "PA", "AP", "PA"])
    with pytest.raises(UserError, match="view of some films is unknown"):
        subgroups.view_adjusted_auroc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], ["PA", "PA", "AP", None])


def test_small_subgroups_are_listed_with_n_and_without_a_value():
    predictions = view_predictions(60)
    table = subgroups.metrics_table(predictions, n_resamples=20)
    few = table[table["ci_method"] == "too_few"]
    assert len(few) and few["value"].isna().all() and (few["n"] > 0).all()
    assert "too few" in tables.subgroups(table).to_string()


def test_unknown_or_constant_traits_make_no_subgroup():
    predictions = view_predictions(100).assign(view="AP", sex=None, age=np.nan)
    table = subgroups.metrics_table(predictions, n_resamples=20)
    assert table.empty and {"arm", "subgroup", "value"} <= set(table) and tables.subgroups(table).empty


def test_a_subgroup_of_few_patients_is_too_few_however_many_films_they_have():
    predictions = view_predictions(600)
    men = predictions["sex"] == "M"
    # Men: hundreds of films, of 6 patients.
    number = predictions["image_id"].str[1:].astype(int)
    predictions.loc[men, "patient_id"] = "m" + (number[men] % 6).astype(str)
    table = subgroups.metrics_table(predictions, n_resamples=20).set_index(["subgroup", "arm", "metric"])
    male, female = table.loc[("sex male", "lung", "auroc")], table.loc[("sex female", "lung", "auroc")]
    assert male["n"] > 200 and male["n_patients"] == 6
    assert male["ci_method"] == "too_few" and np.isnan(male["value"])
    assert female["ci_method"] == "bootstrap_patient" and np.isfinite(female["value"])
    unknown = subgroups.metrics_table(predictions.assign(patient_id=None), n_resamples=20)
    assert set(unknown["ci_method"]) == {"bootstrap_image"}


def test_view_adjustment_needs_patients_of_each_view_in_each_class():
    predictions = view_predictions(600)
    assert "view-adjusted" in set(subgroups.metrics_table(predictions, n_resamples=20)["subgroup"])
    number = predictions["image_id"].str[1:].astype(int)
    few = predictions.assign(patient_id="q" + (number % 8).astype(str))
    assert "view-adjusted" not in set(subgroups.metrics_table(few, n_resamples=20)["subgroup"])
