"""What a reader gets of results: every value with its interval, verdicts and p values in the same words."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
from validation.validation_fixture import SETS, made_predictions

from nbhelpers.validation import arm_differences, evaluation, tables

TOY = {"toy": SimpleNamespace(title="Toy films (simulated)")}
ARMS = {"one": "one (simulated)", "two": "two"}


def test_a_bootstrap_that_never_crosses_zero_is_at_its_floor_and_delong_is_not() -> None:
    label = np.tile([0, 1], 60)
    films = pd.DataFrame({"dataset": "toy", "image_id": range(120), "patient_id": pd.NA, "label": label})
    rng = np.random.default_rng(0)
    scores = {"one": label + 0.2 * rng.random(120), "two": rng.random(120)}
    predictions = pd.concat([films.assign(arm=name, score=score) for name, score in scores.items()])
    shown = tables.arm_pairs(arm_differences.compare_arms(predictions, 2000), ARMS, 2000)
    told = dict(zip(shown["method"] + " " + shown["metric"], shown["p"], strict=True))
    assert told["paired bootstrap over films AUROC"] == "<= 0.001" and told["paired DeLong AUROC"] == "< 0.001"
    assert set(shown["arms"]) == {"one (simulated) minus two"}


def test_each_verdict_stands_beside_its_difference() -> None:
    row = {"dataset": "toy", "title": "file size", "auroc": 0.7, "baseline_auroc": 0.65, "difference": 0.05}
    row |= {"ci_low": -0.01, "ci_high": 0.11}
    comparison = pd.DataFrame(
        [
            row | {"arm": "one", "kind": "fixed", "verdict": "beats"},
            row | {"arm": "two", "kind": "trained", "verdict": "neither"},
        ]
    )
    shown = tables.against_baselines(comparison, TOY, ARMS)
    assert list(shown["verdict"]) == ["beats", "not distinguishable from"]
    assert list(shown["arm"]) == ["one (simulated)", "two"]
    assert shown["difference (95 %)"].iloc[0] == "+0.050 (-0.010 to +0.110)"
    assert shown["best trivial baseline"].iloc[0] == "file size, 0.650"


def test_readable_table_shows_value_and_interval():
    table = evaluation.metrics_table(made_predictions(), n_resamples=20)
    found = tables.results(table, SETS)
    assert set(found["interval by"]) == {"films", "patients", "DeLong"} and len(found) == 6
    assert found["AUROC (95 %)"].str.fullmatch(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)").all()
