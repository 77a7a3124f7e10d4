"""All models of a run, on films that the simulator drew."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbhelpers.errors import UserError
from nbhelpers.segmentation import drawing
from nbhelpers.segmentation.answers import Answers

PARAMETERS = {
    "seed": 3,
    "workers": 1,
    "device": "cpu",
    "segmentation_data": ["simulated_lesions"],
    "simulated_training_films": 8,
    "simulated_test_films": 4,
    "specialist": "train",
    "specialist_seeds": 2,
    "third_model": None,
    "omnimodel": "stand_in",
    "specialist_size": 64,
    "specialist_epochs": 1,
    "specialist_batch": 4,
    "specialist_learning_rate": 1e-3,
}


def models(answers: dict[str, list[Answers]]) -> list[str]:
    return [model.name for model in answers["simulated_lesions"]]


def test_each_model_answers_for_each_case_and_seeds_differ(tmp_path: Path) -> None:
    sets = drawing.load_sets(PARAMETERS, tmp_path)
    answers = drawing.draw_all(sets, PARAMETERS, tmp_path / "stage")
    assert models(answers) == ["specialist", "specialist_seed_1", "omnimodel"]
    first, second, _ = answers["simulated_lesions"]
    assert (first.read("test_0001", (128, 128)) != second.read("test_0001", (128, 128))).any()
    assert "all 4 cases given to specialist, specialist_seed_1, omnimodel: ok" in drawing.checks(sets, answers)[0]


def test_a_specialist_that_is_not_trained_here_has_one_seed(tmp_path: Path) -> None:
    sets = drawing.load_sets(PARAMETERS, tmp_path)
    drawing.draw_all(sets, PARAMETERS | {"specialist_seeds": 1}, tmp_path / "stage")
    kept = f"smp:{tmp_path / 'stage/networks/simulated_lesions/specialist'}"
    again = drawing.draw_all(sets, PARAMETERS | {"specialist": kept, "third_model": kept}, tmp_path / "other")
    assert models(again) == ["specialist", "third", "omnimodel"]


def test_all_that_is_missing_is_told_before_anything_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    given = PARAMETERS | {"segmentation_data": ["simulated_lesions", "busi"], "specialist": "smpp:x"}
    with pytest.raises(UserError, match=r"(?s)^2 faults.*busi.*smpp"):
        drawing.check(given | {"send_patient_films_to": []}, tmp_path)
    with pytest.raises(UserError, match="no set is named"):
        drawing.check(given | {"segmentation_data": []}, tmp_path)
    drawing.check(PARAMETERS | {"send_patient_films_to": []}, tmp_path)
    assert list(tmp_path.iterdir()) == []
