"""Questions of a run with their answers: what the tables say, and where it stands."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.reporting import answers, run_facts
from nbhelpers.reporting.answers import Answer

VALIDATION, INTERPRETABILITY = "04_external_validation", "05_interpretability"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = run_fixture.write(tmp_path / "demo")
    run_fixture.write_segmentation(folder)
    common = {"dataset": "kermany", "metric": "auroc", "method": "bootstrap_patient", "primary": True}
    pairs = [
        common
        | {"arm_a": "cropped", "arm_b": "raw", "difference": 0.1, "ci_low": 0.02, "ci_high": 0.18, "p_holm": 0.03},
        common | {"arm_a": "raw", "arm_b": "photos", "difference": 0.1, "ci_low": -0.1, "ci_high": 0.2, "p_holm": 0.3},
    ]
    pd.DataFrame(pairs).to_csv(folder / VALIDATION / "arm_differences.csv", index=False)
    maps = [
        {"map": "cropped", "value": 0.3, "centre_prior_less_low": 0.01, "centre_prior_less_high": 0.2},
        {"map": "raw", "value": 0.1, "centre_prior_less_low": -0.2, "centre_prior_less_high": -0.1},
        {"map": "photos", "value": 0.2, "centre_prior_less_low": -0.2, "centre_prior_less_high": 0.1},
        {"map": "centre_prior", "value": 0.2},
    ]
    table = pd.DataFrame([one | {"dataset": "kermany", "metric": "energy"} for one in maps])
    table.to_csv(folder / INTERPRETABILITY / "saliency.csv", index=False)
    return folder


def found(run: Path, words: str) -> Answer:
    (one,) = [one for one in answers.answers(run_facts.read(run)) if words in one.question]
    return one


def test_an_answer_says_what_its_rows_say(run: Path) -> None:
    works = found(run, "recognise pneumonia on Chest X-Ray (Kermany)")
    assert (
        "cropped (simulated) 0.800 (0.750 to 0.850); raw (simulated) 0.700" in works.text and works.figure == "figure_2"
    )
    assert works.table == f"{VALIDATION}/metrics.csv"
    table = pd.read_csv(run / works.table)
    wanted = dict(part.split("=") for part in works.rows.split(", "))
    rows = table[(table[list(wanted)].astype(str) == pd.Series(wanted)).all(axis=1)]
    assert list(rows["arm"]) == list(run_fixture.ARMS) and list(rows["value"].round(3)) == [0.8, 0.7, 0.6]


def test_each_arm_is_told_beside_the_largest_image_statistic(run: Path) -> None:
    text = found(run, "non-clinical").text
    assert "file size, 0.750" in text and "cropped beats it" in text and "photos falls below it" in text


def test_only_differences_that_outlast_the_correction_are_told(run: Path) -> None:
    assert found(run, "arms differ").text == "Difference in AUROC: cropped minus raw +0.100 (+0.020 to +0.180)."
    table = pd.read_csv(run / VALIDATION / "arm_differences.csv").assign(p_holm=0.2)
    table.to_csv(run / VALIDATION / "arm_differences.csv", index=False)
    assert found(run, "arms differ").text == "No significant difference in 2 pairs, after Holm's correction."


def test_a_map_is_above_a_blob_only_where_the_whole_interval_is(run: Path) -> None:
    text = found(run, "saliency maps").text
    assert "cropped 0.300, above" in text and "raw 0.100, below" in text
    assert "photos 0.200, not distinguishable from" in text and "centre_prior" not in text


def test_masks_of_a_stand_in_are_called_so(run: Path) -> None:
    one = found(run, "Lesions (simulated)")
    assert "stand-in" in one.question and "0.100 against 0.400" in one.text and "-0.300" in one.text


def test_a_stage_that_has_not_run_answers_nothing(tmp_path: Path) -> None:
    run_fixture.write_segmentation(tmp_path / "masks")
    assert [one.table for one in answers.answers(run_facts.read(tmp_path / "masks"))] == [
        "07_segmentation/comparison.csv"
    ]
