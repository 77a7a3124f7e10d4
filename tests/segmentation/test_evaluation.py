"""Scores of known masks, missing answers, floors, covariates and thresholds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from segmentation.segmentation_fixture import drawn, written_set

from nbhelpers.runs.tables import check_table
from nbhelpers.segmentation import evaluation, selection

LEVELS = (63, 127, 240)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory):
    root: Path = tmp_path_factory.mktemp("set")
    found = written_set(root, 12, empty=(4, 5))
    models = [
        drawn(found, root, "specialist", "specialist"),
        drawn(found, root, "omnimodel", "omnimodel", grow=3, missing=("c05", "c06")),
        drawn(found, root, "third", "third", grow=-2),
    ]
    del models[2].kinds["c11"]
    sets = {"written": found}
    return sets, evaluation.score_table(sets, {"written": models}, LEVELS, 127)


def row(scores, model: str, case: str, threshold: int = 127):
    rows = scores[(scores["model"] == model) & (scores["case"] == case) & (scores["threshold"] == threshold)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_table_has_the_columns_that_others_read(scored) -> None:
    wanted = (
        "dataset, case, group, model, role, threshold, answer_kind, dice, iou, hd95, hd95_definition, hd95_share, nsd, "
        "dice_shifted, cldice, empty_truth, empty_mask"
    )
    assert ", ".join(scored[1].columns) == wanted
    check_table(scored[1], "segmentation_scores")


def test_a_good_mask_scores_high_and_a_wider_one_less(scored) -> None:
    good, wide = row(scored[1], "specialist", "c03"), row(scored[1], "omnimodel", "c03")
    assert good["dice"] > 0.95 > wide["dice"] and good["hd95"] <= 1 < wide["hd95"]
    assert good["iou"] == pytest.approx(good["dice"] / (2 - good["dice"]))
    assert good["hd95_share"] == pytest.approx(good["hd95"] / math.hypot(96, 96))


def test_nothing_drawn_where_nothing_is_scores_1_and_no_answer_scores_0(scored) -> None:
    right, silent = row(scored[1], "specialist", "c05"), row(scored[1], "omnimodel", "c05")
    assert right["dice"] == 1 and right["hd95"] == 0 and right["empty_truth"] and right["empty_mask"]
    assert silent["dice"] == 0 and silent["hd95"] == pytest.approx(math.hypot(96, 96)) and silent["empty_mask"]
    refused = row(scored[1], "omnimodel", "c06")
    assert refused["answer_kind"] == "refused" and refused["dice"] == refused["dice_shifted"] == 0


def test_a_third_model_is_scored_where_it_is_there(scored) -> None:
    third = scored[1][scored[1]["model"] == "third"]
    assert "c11" not in set(third["case"]) and third["case"].nunique() == 11


def test_floors_know_nothing_and_are_there_for_every_case(scored) -> None:
    floors = scored[1][scored[1]["role"] == "floor"]
    assert floors.groupby("model")["case"].nunique().to_dict() == {"all foreground": 12, "centred disc": 12}
    everything = row(scored[1], "all foreground", "c03")
    share = scored[0]["written"].truth(scored[0]["written"].part("test")[3]).mean()
    assert everything["dice"] == pytest.approx(2 * share / (1 + share))


def test_the_slow_measures_stand_at_the_stated_threshold_and_at_the_papers(scored) -> None:
    scores = scored[1]
    assert scores[scores["threshold"] == 63]["hd95"].isna().all()
    assert scores[scores["threshold"] == 127]["hd95"].notna().all()
    assert scores[(scores["threshold"] == 240) & (scores["role"] == "omnimodel")]["hd95"].notna().all()
    assert scores["cldice"].isna().all(), "centrelines of a blob say nothing"


def test_vessels_have_centrelines(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    found = written_set(tmp_path, 2, target="vessels")
    scores = evaluation.score_table({"d": found}, {"d": [drawn(found, tmp_path, "specialist", "specialist")]}, [127])
    assert scores[scores["model"] == "specialist"]["cldice"].between(0.5, 1).all()


def test_all_cases_are_told_with_and_without_missing_answers(scored) -> None:
    table = evaluation.overall_table(scored[1], 127, 200).set_index("model")
    omnimodel = table.loc["omnimodel"]
    assert omnimodel["n"] == 12 and omnimodel["answered"] == 10
    assert omnimodel["dice_answered"] == pytest.approx(omnimodel["dice"] * 12 / 10)
    assert omnimodel["missed"] == pytest.approx(2 / 12)
    assert omnimodel["n_both"] == 9, "two truths are empty, two answers lack, one case is both"
    assert omnimodel["difference"] < 0 and np.isnan(table.loc["specialist", "difference"])
    assert omnimodel["difference_low"] <= omnimodel["difference"] <= omnimodel["difference_high"]


def test_covariates_are_those_of_the_truth(scored) -> None:
    table = evaluation.covariate_table(scored[0]).set_index("case")
    assert "c04" not in table.index, "an empty truth has none"
    assert table["area"].is_monotonic_increasing and (table["parts"] == 1).all()
    assert table.loc["c00", "edge_contact"] == 0 < table.loc["c00", "contrast"]


def test_a_vessels_width_is_found(tmp_path: Path) -> None:
    truth = np.zeros((100, 100), bool)
    truth[40:52, 10:90] = True
    found = evaluation._covariates(np.dstack([truth.astype(np.uint8) * 100] * 3), truth, True)
    assert found["vessel_width"] == pytest.approx(12, rel=0.15)


def test_the_sweep_holds_every_model_and_the_ceiling_of_the_format(scored) -> None:
    sweep = evaluation.sweep_table(scored[1], scored[0], 6)
    assert set(sweep["model"]) == {"specialist", "omnimodel", "third", "drawn truth, PNG", "drawn truth, JPEG 75"}
    ceiling = sweep[sweep["model"] == "drawn truth, PNG"].set_index("threshold")["dice"]
    assert ceiling[127] > 0.97 and ceiling[127] > ceiling[240]


@pytest.mark.parametrize(("count", "lost"), [(1, False), (2, False), (3, True)])
def test_where_resamples_do_not_differ_there_is_no_interval(tmp_path: Path, count: int, lost: bool) -> None:
    found = written_set(tmp_path, count)  # of one group
    missing = tuple(found.cases["case"]) if lost else ()
    found.cases["group"] = found.cases["case"] if lost else "one"
    models = [drawn(found, tmp_path, name, name, missing=missing) for name in ("specialist", "omnimodel")]
    scores = evaluation.score_table({"d": found}, {"d": models}, [127])
    table = evaluation.overall_table(scores, 127, 50).set_index("model").loc["omnimodel"]
    assert table["n"] == count and table["dice"] == (0 if lost else pytest.approx(1, abs=0.03))
    assert np.isnan(table[["dice_low", "dice_high", "difference_low", "difference_high"]].astype(float)).all()
    compared = selection.comparison_table(scores, evaluation.covariate_table({"d": found}), 127, 0.05, 50, 50)
    assert compared[["ci_low", "ci_high"]].isna().all(axis=None)
    assert (compared["swap_p"].dropna() == 1).all(), "models that tie everywhere"
