"""A stage of a run: its folder, its checked parameters, its seed, and what its run.json says."""

from __future__ import annotations

import importlib.metadata
import json
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nbhelpers import runs
from nbhelpers.errors import UserError
from nbhelpers.runs import parameters
from nbhelpers.runs.files import sha256_file
from nbhelpers.runs.stage import duration, git_commit, user_path

CELL = "from pydantic import PositiveInt\n"
CELL += 'run: str = "demo"  # name\nseed: int = 0  # seed\ndevice: str = "auto"  # device\n'
CELL += "epochs: PositiveInt = 2  # epochs\n"
SET = {"run": "mine", "seed": 5, "device": "cpu", "epochs": 3, "something_else": object()}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": CELL}
    other = cell | {"source": "images: int = 1  # images"}
    (tmp_path / "notebooks").mkdir()
    for stage in parameters.STAGES:
        cells = [cell if stage == "03_training" else other]
        (tmp_path / "notebooks" / f"{stage}.ipynb").write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(parameters, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path


def test_a_stage_holds_its_folder_and_only_its_declared_parameters(project: Path) -> None:
    stage = runs.open_stage("03_training", SET)
    assert stage.folder == project / "outputs" / "mine" / "03_training" and stage.folder.is_dir()
    assert stage.parameters == {"run": "mine", "seed": 5, "device": "cpu", "epochs": 3}
    assert runs.open_stage("03_training", SET, part=lambda values: f"e{values['epochs']}").folder == stage.folder / "e3"


@pytest.mark.parametrize("change", [{"epochs": "3"}, {"epochs": 1.5}, {"seed": None}, {"epochs": 0}])
def test_a_value_that_is_not_as_declared_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="-> use a whole number"):
        runs.open_stage("03_training", SET | change)


def test_all_wrong_values_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"(?s)^2 faults .*seed = .*epochs = "):
        runs.open_stage("03_training", SET | {"seed": None, "epochs": 0})


def test_a_name_that_papermill_sets_and_no_notebook_declares_is_refused() -> None:
    cells = ["", CELL, "# Parameters\nrun = 'mine'\nepoch = 4\n", "from nbhelpers import runs"]
    with pytest.raises(UserError, match=r"unknown parameter 'epoch' .*did you mean 'epochs'"):
        runs.open_stage("03_training", SET | {"In": cells})


@pytest.mark.parametrize("cell", ["# Parameters\nrun = 'mine'\nimages = 4\n", "epoch = 4", "%matplotlib inline"])
def test_what_another_notebook_declares_or_a_reader_typed_is_let_be(project: Path, cell: str) -> None:
    runs.open_stage("03_training", SET | {"In": ["", cell, "# Parameters"]})


def test_a_parameter_that_is_not_set_is_named() -> None:
    with pytest.raises(UserError, match="'epochs' is not set"):
        runs.open_stage("03_training", {name: SET[name] for name in ("run", "seed", "device")})


def test_an_output_place_that_cannot_be_made_is_a_user_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "file").write_text("")
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(project / "file"))
    with pytest.raises(UserError, match="cannot write there"):
        runs.open_stage("03_training", SET)


def test_the_same_seed_draws_the_same_from_python_numpy_and_torch() -> None:
    def draw(seed: int) -> tuple[float, float, float]:
        runs.open_stage("03_training", SET | {"seed": seed})
        return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002

    assert draw(5) == draw(5)
    assert not set(draw(5)) & set(draw(6))


def test_run_json_says_with_what_and_from_what(project: Path) -> None:
    stage = runs.open_stage("03_training", SET)
    source = stage.run_folder / "02_cropping" / "images.csv"
    source.parent.mkdir()
    source.write_text("a,b\n")
    assert stage.input(source) == source
    assert stage.close(val_auroc=0.9) is None  # a notebook ends with it, and shows no path
    record = json.loads((stage.folder / "run.json").read_text("utf-8"))
    assert record["inputs"] == {"02_cropping/images.csv": sha256_file(source)}
    assert record["parameters"] == stage.parameters and record["seed"] == 5
    assert record["val_auroc"] == 0.9 and record["device"].startswith("cpu")
    for name in ("torch", "numpy"):
        assert record["versions"][name] == importlib.metadata.version(name)
    assert record["wall_seconds"] >= 0


def test_the_commit_is_the_checkouts_own_and_says_when_files_differ() -> None:
    asked = subprocess.run(["git", "-C", str(parameters.ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if asked.returncode:
        assert git_commit() is None
    else:
        assert (git_commit() or "").removesuffix("+changes") == asked.stdout.strip()


def test_a_missing_input_says_to_run_the_earlier_notebook(project: Path) -> None:
    with pytest.raises(UserError, match=r"images\.csv.*run the earlier notebook"):
        runs.open_stage("03_training", SET).input(project / "images.csv")


def test_printed_a_stage_tells_four_lines() -> None:
    lines = str(runs.open_stage("03_training", SET)).splitlines()
    assert [line.split()[0] for line in lines] == ["run", "writes", "versions", "device"]
    assert "mine (new)" in lines[0] and "(new)" not in str(runs.open_stage("03_training", SET))


# What a notebook needs of earlier ones, on parameters of the real ones.
ARMS = {"a": {"source": "simulator", "crop": "none"}, "b": {"source": "folder", "crop": "none"}}
CROPPING = {"run": "mine", "seed": 0, "params_file": None, "workers": 0, "arms": ARMS}
CROPPING |= {"crop_margins": [0.0] * 4, "min_side": 10, "duplicate_distance": 8}


@pytest.fixture
def real_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "NOTEBOOKS", parameters.ROOT / "notebooks")


@pytest.mark.usefixtures("real_notebooks")
def test_what_is_missing_is_told_at_once_and_a_mistyped_run_makes_no_folder(project: Path) -> None:
    (project / "outputs" / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match=r"(?s)no run 'mien'.*did you mean 'mine'.*simulator/images.csv.*folder/images"):
        runs.open_stage("02_cropping", CROPPING | {"run": "mien"})
    with pytest.raises(UserError, match=r"(?s)^2 faults.*simulator/images.csv is not there.*run notebook 01 first"):
        runs.open_stage("02_cropping", dict(CROPPING))
    assert [path.name for path in (project / "outputs").rglob("*")] == ["mine"]


@pytest.mark.usefixtures("real_notebooks")
def test_a_check_that_fails_is_told_with_the_rest_and_makes_no_folder(project: Path) -> None:
    def key(values: Any, run_folder: Path) -> None:
        raise UserError(f"no key for {values['run']}", run_folder.name)

    with pytest.raises(UserError, match=r"(?s)simulator/images.csv.*no key for mine"):
        runs.open_stage("02_cropping", dict(CROPPING), key)
    assert not (project / "outputs").exists()


@pytest.mark.usefixtures("real_notebooks")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"run": "../elsewhere"}, "'../elsewhere' cannot name a folder"),
        ({"arms": {"a": {"source": "simulator"}}}, "an arm is {source"),
        ({"arms": {}}, "no arm is named"),
    ],
)
def test_what_a_types_check_cannot_tell_is_told_of_a_cell_too(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        runs.open_stage("02_cropping", CROPPING | change)


@pytest.mark.usefixtures("real_notebooks")
def test_a_parameter_file_sets_the_notebooks_values_and_is_told(project: Path) -> None:
    file = project / "mine.yaml"
    file.write_text("run: other\nmin_side: 20\nepochs: 3\narms: {c: {source: folder, crop: none}}\n")
    table = project / "outputs" / "other" / "01_prompting" / "folder" / "images.csv"
    table.parent.mkdir(parents=True)
    table.write_text("image_id\n")
    namespace = CROPPING | {"params_file": str(file), "duplicate_distance": 5}
    stage = runs.open_stage("02_cropping", namespace)
    assert stage.run_folder.name == namespace["run"] == "other"
    assert namespace["min_side"] == stage.parameters["min_side"] == 20
    assert stage.parameters["duplicate_distance"] == 5  # the file does not name it
    assert "epochs" not in namespace and "params_file" not in stage.parameters
    (line,) = [line for line in str(stage).splitlines() if line.startswith("values")]
    assert "mine.yaml: run = 'other', min_side = 20" in line


@pytest.mark.usefixtures("real_notebooks")
@pytest.mark.parametrize(("file", "told"), [(3, "params_file = 3"), ("params/sweep_example.yaml", "many trainings")])
def test_what_is_no_plain_parameter_file_is_a_clear_error(project: Path, file: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        runs.open_stage("02_cropping", CROPPING | {"params_file": file})


@pytest.mark.usefixtures("real_notebooks")
def test_what_papermill_was_given_stands_over_the_parameter_file(project: Path) -> None:
    file = project / "mine.yaml"
    file.write_text("run: other\nmin_side: 20\narms: {c: {source: folder, crop: none}}\n")
    given = CROPPING | {"params_file": str(file), "min_side": 30, "In": ["# Parameters\nmin_side = 30\n"]}
    with pytest.raises(UserError, match=r"folder/images\.csv"):
        runs.open_stage("02_cropping", given)
    assert given["min_side"] == 30 and given["run"] == "other"


def test_relative_paths_of_parameters_count_from_the_projects_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(parameters.ROOT / "tests")
    assert user_path("params/demo.yaml") == parameters.ROOT / "params" / "demo.yaml"
    assert user_path("/abs/x.csv") == Path("/abs/x.csv")
    assert user_path("~/x.csv") == Path.home() / "x.csv"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7805, "2 h 10 min")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_notebook_that_was_only_run_is_no_change_of_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outputs are left out by the filter that `make lab` sets."""

    def git(*words: str) -> None:
        author = ("-c", "user.name=a", "-c", "user.email=a@localhost")
        subprocess.run(["git", "-C", str(tmp_path / "checkout"), *author, *words], check=True, capture_output=True)

    (tmp_path / "checkout").mkdir()
    notebook = tmp_path / "checkout" / "a.ipynb"
    notebook.write_text("source\n")
    (tmp_path / "checkout" / ".gitattributes").write_text("*.ipynb filter=strip\n")
    git("init", "-q")
    git("config", "filter.strip.clean", "head -n 1")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    monkeypatch.setattr(parameters, "ROOT", tmp_path / "checkout")
    notebook.write_text("source\noutputs\n")
    assert "+changes" not in (git_commit() or "")
    notebook.write_text("another source\noutputs\n")
    assert (git_commit() or "").endswith("+changes")
