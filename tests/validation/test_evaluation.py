from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from validation.validation_fixture import SETS, made_predictions

from nbhelpers.errors import UserError
from nbhelpers.runs.tables import check_table
from nbhelpers.validation import baselines, evaluation, tables

mpl.use("Agg")


def test_metrics_table_holds_scikit_learn_values_under_both_interval_methods():
    predictions = made_predictions()
    table = check_table(evaluation.metrics_table(predictions, n_resamples=200), "metrics")
    assert len(table) == 2 * 2 * 2 + 2  # two arms, metrics and methods; DeLong for AUROC
    for row in table.to_dict("records"):
        part = predictions[predictions["arm"] == row["arm"]]
        oracle = {"auroc": roc_auc_score, "aupr": average_precision_score}[row["metric"]]
        assert row["value"] == pytest.approx(oracle(part["label"], part["score"]), abs=1e-12)
        assert row["ci_low"] < row["value"] < row["ci_high"]
        assert (row["n"], row["n_patients"], row["prevalence"]) == (240, 60, 0.5)
        assert row["primary"] == (row["ci_method"] == "bootstrap_patient")


def test_without_patients_films_are_drawn_and_nothing_is_said_of_patients():
    table = evaluation.metrics_table(made_predictions(patients=False), n_resamples=50)
    assert set(table["ci_method"]) == {"bootstrap_image", "delong"}
    assert table.loc[table["ci_method"] == "bootstrap_image", "primary"].all()
    assert table["n_patients"].isna().all()


def test_intervals_do_not_depend_on_the_order_of_rows():
    predictions = made_predictions()
    turned = pd.concat([part for _, part in reversed(list(predictions.groupby("arm")))])
    columns = ["arm", "metric", "ci_method", "value", "ci_low", "ci_high"]
    first, second = (
        evaluation.metrics_table(table, n_resamples=50)[columns].sort_values(columns[:3], ignore_index=True)
        for table in (predictions, turned)
    )
    pd.testing.assert_frame_equal(first, second)


def made_baselines(predictions):
    films = predictions[predictions["arm"] == "good"]
    scores = {"view": (films["view"] == "AP").astype(float), "noise": np.random.default_rng(9).random(len(films))}
    facts = pd.DataFrame({"baseline": list(scores), "title": list(scores), "kind": ["fixed", "best way"]})
    facts["uses_labels"] = facts["kind"] != "fixed"
    return baselines.Baselines(pd.DataFrame({k: np.asarray(v) for k, v in scores.items()}), facts)


def test_verdict_is_beats_falls_below_or_not_told_apart_as_it_should_be():
    predictions = made_predictions()
    # The view tells the label exactly; noise tells nothing.
    compared = evaluation.compare_with_baselines(predictions, {"kermany": made_baselines(predictions)}, 300)
    verdicts = compared.set_index(["arm", "baseline"])["verdict"]
    assert verdicts["good", "view"] == "falls below" and verdicts["good", "noise"] == "beats"
    assert verdicts["bad", "view"] == "falls below" and verdicts["bad", "noise"] == "is not distinguishable from"


def test_the_interval_beside_a_chosen_baseline_holds_the_chance_of_the_choice():
    predictions = made_predictions()
    generator = np.random.default_rng(5)
    n = predictions["image_id"].nunique()
    scores = pd.DataFrame({f"noise {i}": generator.random(n) for i in range(10)})
    facts = pd.DataFrame({"baseline": list(scores), "title": list(scores), "kind": "best way", "uses_labels": True})
    label = predictions.loc[predictions["arm"] == "good", "label"].to_numpy()
    for name in scores:  # each the way round that suits the labels
        scores[name] *= 1 if roc_auc_score(label, scores[name]) >= 0.5 else -1
    found = SimpleNamespace(scores=scores, facts=facts)
    row = evaluation.compare_with_baselines(predictions, {"kermany": found}, 400).iloc[0]
    assert row["chosen_from"] == 10 and row["ci_low"] < row["difference"] < row["ci_high"]
    assert row["baseline_auroc"] == pytest.approx(max(roc_auc_score(label, scores[name]) for name in scores))
    # The whole choice made by hand in resamples of patients: as wide, about the same middle.
    patients = predictions.loc[predictions["arm"] == "good", "patient_id"].to_numpy()
    good = predictions.loc[predictions["arm"] == "good", "score"].to_numpy()
    names, drawn = np.unique(patients), []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(patients == p) for p in generator.choice(names, len(names))])
        areas = [roc_auc_score(label[rows], scores[name].to_numpy()[rows]) for name in scores]
        drawn.append(roc_auc_score(label[rows], good[rows]) - max(max(a, 1 - a) for a in areas))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert row["ci_high"] - row["ci_low"] == pytest.approx(high - low, rel=0.25)


def test_an_arm_is_compared_with_a_model_trained_on_the_set_too():
    predictions = made_predictions()
    found = made_baselines(predictions)
    found.facts["kind"] = ["trained", "fixed"]  # `view` tells the label exactly, noise nothing
    compared = evaluation.compare_with_baselines(predictions, {"kermany": found}, 200)
    trained = compared[compared["kind"] == "trained"]
    assert list(trained["arm"]) == ["good", "bad"] and set(trained["verdict"]) == {"falls below"}


def test_a_score_that_misses_films_is_an_error():
    predictions = made_predictions().iloc[:-1]
    with pytest.raises(UserError, match="has not scored every film"):
        evaluation.metrics_table(predictions, n_resamples=10)


def test_films_of_one_patient_give_no_primary_interval():
    predictions = made_predictions().assign(patient_id="one")
    table = evaluation.metrics_table(predictions, n_resamples=20)
    primary = table[table["primary"]]
    assert set(primary["ci_method"]) == {"too_few"} and len(primary) == 4
    assert primary["value"].notna().all() and primary[["ci_low", "ci_high"]].isna().all(axis=None)
    assert not table.loc[table["ci_method"] == "bootstrap_image", "primary"].any()
    compared = evaluation.compare_with_baselines(predictions, {"kermany": made_baselines(predictions)}, 20)
    assert set(compared["verdict"]) == {"is not distinguishable from"} and compared["ci_low"].isna().all()
    assert "none: too few patients" in set(tables.results(table, SETS)["interval by"])
