"""What would stop a run later stops it before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from nbhelpers.errors import UserError
from nbhelpers.networks import models
from nbhelpers.pipeline import checks
from nbhelpers.runs import parameters

ARM = {"raw": {"source": "simulator", "crop": "none"}}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "no data"))
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))

    def check(changes: dict[str, Any], **options: Any) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"run": "mine", "arms": ARM} | changes))
        try:
            checks.check_inputs(path, **options)
        except UserError as error:
            return str(error)
        return ""

    return check


def films(folder: Path, labels: list[int], missing: int = 0) -> Path:
    """A table of films of one's own; the last `missing` of them are listed and not there."""
    folder.mkdir()
    for number in range(len(labels) - missing):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((64, 64), 9 * number, np.uint8))
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    (folder / "films.csv").write_text("path,label\n" + rows)
    return folder / "films.csv"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ["kermanny"]}, "did you mean 'kermany'"),
        ({"datasets": ["simulated_hospital", "simulated_hospital"]}, "name each once"),
        ({"backbone": "resnet81"}, "did you mean 'resnet"),
        ({"diversity_backbone": "resnet81"}, "did you mean 'resnet"),
        ({"backbone": "levit_128s", "image_size": 100}, "levit_128s"),
        ({"init": "no/such/file.pth"}, "no/such/file.pth"),
        ({"diversity_init": "no/such/file.pth"}, "no/such/file.pth"),
        ({"arms": {"raw": {"source": "simulater", "crop": "none"}}}, "did you mean 'simulator'"),
        ({"arms": {"raw": {"source": "simulator", "crop": "nothing"}}}, "unknown crop"),
        ({"arms": {"raw": {"source": "folder", "crop": "none"}}}, "folder_table"),
        (
            {"arms": {"a": {"source": "gemini", "crop": "none", "method": "lesions"}}},
            "'a': method lesions learns from masks",
        ),
        (
            {"arms": {"a": {"source": "simulator+gemini", "crop": "none", "method": "lesions"}}},
            "learns from masks, and gemini has none",
        ),
        (
            {"arms": {"a": {**ARM["raw"], "method": "lesions", "backbone": "resnet18"}}},
            "has a network of its own, and none of 'resnet18'",
        ),
        (
            {"arms": {"a": {**ARM["raw"], "method": "lesions"}}, "image_size": 97},
            "lesions does not take 97 x 97 pixels",
        ),
        ({"film_crop": "nothing"}, "unknown film_crop"),
        ({"arms": {"raw": {"source": "simulator", "crop": "none", "method": "probes"}}}, "did you mean 'probe'"),
        ({"arms": {"raw": {"source": "simulator+simulater", "crop": "none"}}}, "did you mean 'simulator'"),
        ({"arms": {"raw": {"source": "simulator", "crop": "none", "images": "1"}}}, "2 or more"),
        ({"arms": {"raw": {**ARM["raw"], "method": "pairs", "images": "3"}}}, "3 images hold one"),
        ({"arms": {"raw": {"source": "simulator+simulator", "crop": "none"}}}, "name each source once"),
        *(
            ({"arms": {"raw": {**ARM["raw"], "learning_rate": wrong}}}, f"learning_rate '{wrong}'")
            for wrong in ("0", "-0.001", "nan", "inf", "fast", "")
        ),
        ({"arms": {"a": ARM["raw"], "b": {**ARM["raw"], "learning_rate": 0.001}}}, "arms.b.learning_rate = 0.001 ["),
        ({"arms": {"raw": {**ARM["raw"], "images": 100}}}, "each to text, numbers in quotes"),
        *(
            ({"arms": {"raw": {**ARM["raw"], "images": wrong}}}, "2 or more, in quotes")
            for wrong in ("all", "", "12.5", "²")
        ),
        ({"arms": {"raw": {**ARM["raw"], "method": "pairs", "learning_rate": "0.1"}}}, "leave the arm's learning_rate"),
        ({"arms": {"raw": {**ARM["raw"], "rate": "fast"}}}, "backbone, images, learning_rate, method"),
        ({"images_per_epoch": -1}, "images_per_epoch"),
        ({"arms": {"raw": {**ARM["raw"], "method": "pairs"}}, "probe_blocks": ["blocks.33"]}, "blocks.33"),
        ({"crop_margins": [0.5, 0.1, 0.5, 0.1]}, "crop_margins"),
        ({"crop_margins": [0.1, 0.1]}, "crop_margins"),
        ({"checkpoints": {"mine": "no/such/folder"}}, "no/such/folder"),
        ({"datasets": ["kermany"]}, "kermany"),
        ({"datasets": ["rsna"]}, "rsna"),
        ({"datasets": ["folder"], "folder_films": "no/such/films.csv"}, "no/such/films.csv"),
        ({"segmentation_data": ["simulated_lung"]}, "did you mean 'simulated_lungs'"),
        ({"segmentation_data": ["busi"]}, "data set BUSI not found"),
        ({"segmentation_data": ["simulated_lungs"], "omnimodel": "gemini_jsn"}, "did you mean 'gemini_json'"),
        ({"segmentation_data": ["simulated_lungs"], "specialist": "masks:no/such"}, "not name an existing folder"),
        ({"segmentation_data": ["simulated_lungs"], "third_model": "train:unett"}, "did you mean 'unet'"),
        ({"editors": {"poison": None}}, "did you mean 'poisson'"),
        ({"editors": {"nano": {"provider": "gemin"}}}, "did you mean 'gemini'"),
        ({"editors": {"mine": {"provider": "folder", "path": "no/such"}}}, "no images at 'no/such'"),
        ({"editors": {"nothing": None}, "editing_tasks": ["take_off_line"]}, "did you mean 'take_off_lines'"),
        ({"editors": {"nothing": None}, "editing_tasks": "no/such.yaml"}, "no/such.yaml"),
        ({"editors": {"nothing": None}, "editing_pictures": "no/such.csv"}, "table not found"),
        ({"editors": {"nothing": None}, "editing_pictures": 0}, "editing_pictures = 0"),
        ({"editors": {"nothing": None}, "editing_backbone": "resnet81"}, "did you mean 'resnet"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"epochs": 0}, "epochs = 0"),
        ({"batch_size": 1}, "batch_size = 1"),
        ({"val_fraction": 1.5}, "val_fraction = 1.5"),
        ({"device": "gpu"}, "device = 'gpu'"),
        ({"image_size": 0}, "image_size = 0"),
        ({"image_size": 31}, "image_size = 31"),
        ({"robustness_films": 9}, "robustness_films = 9"),
        ({"hospital_patients": 3}, "hospital_patients = 3"),
        ({"clustering_films": 3}, "clustering_films = 3"),
        ({"clustering_space": "pca"}, "clustering_space"),
        ({"images_per_class": 1}, "images_per_class = 1"),
        ({"gemini_mode": "bulk"}, "gemini_mode"),
        ({"gemini_budget_usd": -1.0}, "gemini_budget_usd"),
        ({"target_sensitivity": 1.0}, "target_sensitivity"),
        ({"n_resamples": 0}, "n_resamples"),
        ({"seed": -1}, "seed = -1"),
        ({"workers": -1}, "workers = -1"),
        ({"roentgen_size": 500}, "multiple of 8"),
    ],
)
def test_what_would_stop_a_run_later_stops_it_before_it_begins(
    check: Any, changes: dict[str, Any], message: str
) -> None:
    told = check(changes)
    assert message in told and len(told.splitlines()) == 1


def test_everything_is_told_at_once_whatever_finds_it(check: Any) -> None:
    told = check(
        {
            "epochs": 0,
            "val_fraction": 1.5,
            "epochz": 3,
            "arms": {"raw": {"source": "simulater", "crop": "nothing"}},
            "datasets": ["folder", "kermany"],
            "backbone": "resnet81",
            "checkpoints": {"mine": "no/such/folder"},
        }
    )
    heading, *lines = told.splitlines()
    assert heading == f"{len(lines)} faults"
    wanted = ("epochs", "val_fraction", "epochz", "simulater", "nothing", "folder_films", "kermany", "resnet81", "mine")
    assert all(any(word in line for line in lines) for word in wanted) and len(lines) == len(wanted)


def test_the_demo_and_an_experiment_without_arms_have_nothing_wrong(check: Any) -> None:
    assert check(parameters.read_yaml(parameters.ROOT / "params/demo.yaml")) == ""


@pytest.mark.parametrize(
    ("labels", "missing", "message"),
    [
        ([0, 1, 1], 0, "3 films that are there"),
        ([0, 1, 0, 1, 1], 2, "3 films that are there"),
        ([0, 0, 0, 0, 1], 1, "4 films that are there, 0 of them with pneumonia"),
        ([0, 1, 0, 1], 0, ""),
        ([0, 1, 0, 1, 1], 1, ""),
    ],
)
def test_films_that_are_too_few_or_of_one_class_are_seen_before_anything_is_drawn(
    check: Any, tmp_path: Path, labels: list[int], missing: int, message: str
) -> None:
    table = films(tmp_path / "films", labels, missing)
    told = check({"datasets": ["folder"], "folder_films": str(table)})
    assert message in told and bool(told) == bool(message)


def test_a_device_that_only_another_machine_has_stops_only_what_runs_here(check: Any) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    assert "no 'cuda'" in check({"device": "cuda"})
    assert check({"device": "cuda"}, here=False) == ""


def test_pictures_of_patients_are_not_sent_unless_the_file_says_so(check: Any) -> None:
    asked = {"segmentation_data": ["busi"], "omnimodel": "gemini"}
    assert "set send_patient_films_to: [gemini]" in check(asked)
    for allowed in ({"send_patient_films_to": ["gemini"]}, {"segmentation_data": ["simulated_lungs"]}):
        assert "send_patient_films_to" not in check(asked | allowed)


def test_weights_of_a_backbone_that_no_arm_takes_are_not_asked_for(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build, built = models.build, []
    monkeypatch.setattr(models, "build", lambda name, *rest, **how: built.append(name) or build(name, *rest, **how))
    drawn = {"arms": {"a": {**ARM["raw"], "method": "lesions"}}, "backbone": "resnet50", "init": "imagenet"}
    assert check(drawn) == ""
    assert built and "resnet50" not in built


def test_a_copy_that_kept_the_name_of_its_run_would_replace_the_others_results(check: Any, tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("run: mine\narms: {}\n")
    assert "theirs.yaml has the run 'mine' too" in check({})
    (tmp_path / "theirs.yaml").write_text("run: theirs\narms: {}\n")
    assert check({}) == ""
