"""Data flow of a hand-made run: every image and film is counted once, whatever became of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.errors import UserError
from nbhelpers.reporting import flow, run_facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def counts_of(folder: Path) -> pd.DataFrame:
    return flow.flow_counts(run_facts.read(folder))


def steps(counts: pd.DataFrame, name: str) -> dict[str, int]:
    rows = counts[(counts["name"] == name) & counts["kept"]]
    return dict(zip(rows["step"], rows["n"], strict=True))


def left_out(counts: pd.DataFrame, name: str) -> dict[str, int]:
    rows = counts[(counts["name"] == name) & ~counts["kept"]]
    return dict(zip(rows["reason"], rows["n"], strict=True))


def test_counts_are_those_of_the_hand_made_run(run: Path) -> None:
    counts = counts_of(run)
    assert steps(counts, "cropped") == {"wanted": 20, "drawn": 20, "cropped": 18, "train": 14, "validation": 4}
    assert steps(counts, "raw") == {"wanted": 20, "drawn": 20, "cropped": 20, "train": 16, "validation": 4}
    assert steps(counts, "photos") == {"wanted": 20, "drawn": 18, "cropped": 17, "train": 14, "validation": 3}
    assert steps(counts, "kermany") == {"listed": 30, "scored": 24}
    assert left_out(counts, "cropped") == {"near_duplicate": 2}
    assert left_out(counts, "photos") == {"refused": 2, "too_small": 1}
    assert left_out(counts, "kermany") == {"unreadable": 4, "file missing": 2}
    assert left_out(counts, "raw") == left_out(counts, "simulated_hospital") == {}


def test_classes_add_up_where_they_are_known(run: Path) -> None:
    counts = counts_of(run)
    known = counts.dropna(subset=["n_pneumonia"])
    assert (known["n_pneumonia"] + known["n_normal"] == known["n"]).all()
    assert len(known) > 15


def test_nothing_is_lost_between_the_steps(run: Path) -> None:
    assert run_fixture.adds_up(counts_of(run)).all()


def test_film_that_vanishes_without_a_reason_is_shown_as_such(run: Path) -> None:
    path = run / "04_external_validation" / "exclusions.csv"
    pd.read_csv(path).query("reason != 'unreadable'").to_csv(path, index=False)
    counts = counts_of(run)
    assert left_out(counts, "kermany") == {"reason not written down": 4, "file missing": 2}


def test_image_that_vanishes_between_cropping_and_training_does_not_add_up(run: Path) -> None:
    path = run / "03_training" / "raw" / "split.csv"
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    checked = run_fixture.adds_up(counts_of(run))
    assert not checked["raw"] and checked.drop("raw").all()


def test_what_is_simulated_says_so(run: Path) -> None:
    counts = counts_of(run).drop_duplicates("name").set_index("name")["simulated"]
    assert counts.to_dict() == {
        **{"cropped": True, "raw": True, "photos": False},
        **{"simulated_hospital": True, "kermany": False},
    }


def test_run_without_validation_has_the_training_flow_alone(tmp_path: Path) -> None:
    counts = counts_of(run_fixture.write(tmp_path / "demo", with_validation=False))
    assert set(counts["part"]) == {"training"}


def test_arm_that_was_taken_out_is_no_part_of_the_run(run: Path) -> None:
    shutil.copytree(run / "03_training" / "raw", run / "03_training" / "former")
    facts = run_facts.read(run)
    assert set(facts.models) == set(facts.splits) == set(run_fixture.ARMS)
    assert "03_training/former" not in facts.stages


def test_folder_without_a_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage of a run"):
        counts_of(tmp_path)
