"""Parameter files: what is refused, in one clear error, and what is read as it was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters

CELL = """\
run: str = "demo"  # name of the run
seed: int = 0  # seeds = everything that draws
rate: float = 0.1  # a rate
limit: int | None = None  # at most, or None
label: str = "a = b # c"  # a text with = and # in it
flag: bool = True  # yes or no
margins: list[float] = [0.1, 0.2]  # shares
arms: dict[str, dict[str, str]] = {
    "raw": {"source": "simulator", "crop": "none"},
}  # what is compared
datasets: list[str] = ["simulated_hospital"]  # films
"""


def write_notebook(path: Path, cell: str, tags: list[str] | None = None) -> None:
    tagged = {"cell_type": "code", "metadata": {"tags": ["parameters"] if tags is None else tags}, "source": cell}
    path.write_text(json.dumps({"cells": [tagged], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for stage in parameters.STAGES:
        write_notebook(folder / f"{stage}.ipynb", CELL)
    return folder


@pytest.fixture
def load(notebooks: Path, tmp_path: Path) -> Any:
    def load_text(text: str) -> dict[str, Any]:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return parameters.load(path, notebooks)

    return load_text


def test_defaults_stand_where_the_file_says_nothing(load: Any) -> None:
    values = load("seed: 7\n")
    assert values["seed"] == 7
    assert values["label"] == "a = b # c"
    assert values["limit"] is None
    assert values["arms"] == {"raw": {"source": "simulator", "crop": "none"}}


def test_annotation_and_help_are_read_as_they_are_written(notebooks: Path) -> None:
    declared = parameters.declared(notebooks / "01_prompting.ipynb")
    assert (declared["limit"].annotation, declared["limit"].help) == ("int | None", "at most, or None")
    assert declared["label"].help == "a text with = and # in it"
    assert declared["seed"].help == "seeds = everything that draws"
    assert declared["arms"].help == "what is compared"


def test_unknown_name_is_an_error_that_asks_did_you_mean(load: Any) -> None:
    with pytest.raises(UserError, match=r"unknown parameter 'sed'.*mine\.yaml.*did you mean 'seed'"):
        load("sed: 7\n")


@pytest.mark.parametrize(
    "text",
    [
        "seed: 1.5",
        "seed: yes",
        "seed: '1'",
        "seed: null",
        "rate: true",
        "rate: fast",
        "flag: 1",
        "limit: none",
        "margins: 0.1",
        "margins: [a]",
        "margins: [true]",
        "arms: [raw]",
        "arms: {raw: {source: 1, crop: none}}",
        "run: 7",
        "datasets: kermany",
    ],
)
def test_wrong_type_is_an_error_that_names_parameter_and_type(load: Any, text: str) -> None:
    with pytest.raises(UserError) as caught:
        load(text)
    assert text.split(":")[0] in str(caught.value) and "not of type" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1E3", 1e3), ("2", 2), (".5e1", 5.0), ("-1.5e+2", -150.0), ("1_0e1", 100.0)]
)
def test_numbers_are_read_as_people_write_them(load: Any, text: str, value: float) -> None:
    assert load(f"rate: {text}")["rate"] == value


@pytest.mark.parametrize("text", ["e4", "1e", "'1e-4'", "1e-4x"])
def test_what_only_looks_like_a_number_stays_text(load: Any, text: str) -> None:
    assert isinstance(load(f"label: {text}")["label"], str)


def test_none_is_taken_where_the_type_allows_it(load: Any) -> None:
    assert load("limit: null")["limit"] is None
    assert load("limit: 3")["limit"] == 3


@pytest.mark.parametrize(
    "text", ["seed: 1\nseed: 2\n", "arms:\n  a: {source: s, crop: c}\n  a: {source: s, crop: d}\n"]
)
def test_duplicate_key_is_an_error_at_any_depth_and_names_the_line(load: Any, text: str) -> None:
    with pytest.raises(UserError, match=r"duplicate key.*line \d"):
        load(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- seed\n", "flat mapping"),
        ("seed\n", "flat mapping"),
        ("", "flat mapping"),
        ("seed: [1\n", "not readable as YAML"),
        ("arms: {}\n", "no arm"),
        ("arms: {raw: {source: simulator}}\n", "an arm is"),
        ("arms: {raw: {source: simulator, crop: none, more: x}}\n", "an arm is"),
        ("run: ../elsewhere\n", "cannot name a folder"),
        ("run: /tmp/x\n", "cannot name a folder"),
        ("arms: {a/b: {source: simulator, crop: none}}\n", "cannot name a folder"),
        ("run: ''\n", "cannot name a folder"),
        ("run: !!python/name:os.system\n", "not readable as YAML"),
    ],
)
def test_bad_file_is_one_clear_error(load: Any, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(text)


def test_missing_file_names_the_ones_that_are_there(notebooks: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml.*demo\.yaml"):
        parameters.load(tmp_path / "nowhere.yaml", notebooks)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("import os\n", "something else"),
        ("seed = 1\n", "something else"),
        ("seed: int\n", "something else"),
        ("seed: int = 1 + n  # x\n", "no literal"),
    ],
)
def test_parameters_cell_with_anything_else_is_refused(tmp_path: Path, cell: str, message: str) -> None:
    write_notebook(tmp_path / "a.ipynb", cell)
    with pytest.raises(UserError, match=message):
        parameters.declared(tmp_path / "a.ipynb")


def test_notebook_without_its_parameters_cell_is_refused(tmp_path: Path) -> None:
    write_notebook(tmp_path / "a.ipynb", CELL, tags=[])
    with pytest.raises(UserError):
        parameters.declared(tmp_path / "a.ipynb")


def test_annotation_that_is_not_understood_is_an_error_and_not_a_pass() -> None:
    with pytest.raises(UserError, match="not understood"):
        parameters.matches(1, "Decimal")
