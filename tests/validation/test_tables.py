"""What a reader gets of results: every value with its interval, verdicts and p values in the same words."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from nbhelpers.interpretability.tables import clusters
from nbhelpers.metrics import wording
from nbhelpers.validation import arm_differences, tables

SETS = {"toy": SimpleNamespace(title="Toy films (simulated)")}
TITLES = {"one": "one (simulated)", "two": "two"}


def test_a_p_value_has_three_decimals_and_its_floor_is_told() -> None:
    assert wording.p_text(0.04249) == "0.042" and wording.p_text(1.5e-05) == "< 0.001"
    assert wording.p_text(wording.p_floor(2000), at_floor=True) == "<= 0.001"
    assert wording.p_text(3 * wording.p_floor(2000), at_floor=True) == "<= 0.003"
    assert wording.p_text(1.0) == "1.000" and wording.p_text(np.nan) == ""


def test_a_bootstrap_that_never_crosses_zero_is_at_its_floor_and_delong_is_not() -> None:
    label = np.tile([0, 1], 60)
    films = pd.DataFrame({"dataset": "toy", "image_id": range(120), "patient_id": pd.NA, "label": label})
    rng = np.random.default_rng(0)
    scores = {"one": label + 0.2 * rng.random(120), "two": rng.random(120)}
    predictions = pd.concat([films.assign(arm=name, score=score) for name, score in scores.items()])
    shown = tables.arm_pairs(arm_differences.table(predictions, 2000), TITLES, 2000)
    told = dict(zip(shown["method"] + " " + shown["metric"], shown["p"], strict=True))
    assert told["paired bootstrap image AUROC"] == "<= 0.001" and told["paired delong AUROC"] == "< 0.001"
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
    shown = tables.against_baselines(comparison, SETS, TITLES)
    assert list(shown["verdict"]) == ["beats", "not distinguishable from"]
    assert list(shown["arm"]) == ["one (simulated)", "two"]
    assert shown["difference (95 %)"].iloc[0] == "+0.050 (-0.010 to +0.110)"
    assert shown["best trivial baseline"].iloc[0] == "file size, 0.650"


def test_clusters_stand_beside_the_majority() -> None:
    row = {"arm": "one", "dataset": "toy", "n": 393, "majority": 0.6361}
    row |= {"accuracy": 0.5842, "accuracy_low": 0.575, "accuracy_high": 0.5903}
    row |= {"ari": -0.0001, "ari_low": -0.001, "ari_high": 0.0}
    shown = clusters(pd.DataFrame([row]), TITLES).iloc[0]
    assert (shown["accuracy"], shown["majority"]) == ("0.584 (0.575 to 0.590)", "0.636")
    assert shown["network"] == "one (simulated)" and list(shown.index)[2:4] == ["accuracy", "majority"]
