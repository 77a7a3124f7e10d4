"""Simulated films to segment: two hospitals, both targets on the same films."""

from __future__ import annotations

from pathlib import Path

from nbhelpers.segmentation import datasets

PARAMETERS = {"seed": 1, "workers": 1, "simulated_training_films": 3, "simulated_test_films": 4}


def test_lesions_lie_in_the_lungs_of_the_same_films_and_say_that_they_are_simulated(tmp_path: Path) -> None:
    lungs = datasets.load("simulated_lungs", PARAMETERS, tmp_path)
    lesions = datasets.load("simulated_lesions", PARAMETERS, tmp_path)
    assert lungs.simulated and "simulated" in lungs.title and len(lungs.part("test")) == 4
    for a, b in zip(lungs.part("test"), lesions.part("test"), strict=True):
        assert (lungs.image(a) == lesions.image(b)).all()
        assert lesions.truth(b).any() and not (lesions.truth(b) & ~lungs.truth(a)).any()
        assert lungs.truth(a).mean() > 0.08


def test_films_are_drawn_once_and_others_for_another_seed(tmp_path: Path) -> None:
    datasets.load("simulated_lungs", PARAMETERS, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "07_segmentation/simulated").iterdir()}
    datasets.load("simulated_lesions", PARAMETERS, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    datasets.load("simulated_lungs", PARAMETERS | {"seed": 2}, tmp_path)
    assert len(list((tmp_path / "07_segmentation/simulated").iterdir())) == 2 * len(before)
