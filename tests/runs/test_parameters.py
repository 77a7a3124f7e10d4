"""Parameter files: what is refused, in one clear error, and what is read as it was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le
from pydantic import PositiveInt

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters

CELL = """\
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import PositiveFloat, PositiveInt

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
epochs: PositiveInt = 20  # at most
rise: PositiveFloat = 1e-3  # peak
share: Annotated[float, Gt(0), Le(0.5)] = 0.2  # that validates
space: Literal["umap", "features"] = "umap"  # what is grouped
inputs: Literal[1, 3] = 1  # channels
films: Literal[0] | Annotated[int, Ge(4)] = 0  # 0: all
device: str = "auto"  # what computes
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
        "rate: .nan",
        "rate: -.inf",
        "margins: [.nan]",
        "epochs: 0",
        "epochs: -3",
        "epochs: 2.0",
        "rise: .nan",
        "rise: 0.0",
        "rise: .inf",
        "share: 0",
        "share: 1.5",
        "share: .nan",
        "space: pca",
        "space: Umap",
        "space: null",
        "inputs: 2",
        "inputs: true",
        "inputs: 1.0",
        "films: 3",
        "films: false",
        "device: gpu",
        "device: cuda:x",
        "device: ''",
    ],
)
def test_wrong_type_range_or_choice_is_an_error_that_names_parameter_value_and_what_to_use(
    load: Any, text: str
) -> None:
    with pytest.raises(UserError, match=rf"^{text.split(':')[0]}[.\w]* = .* -> use ") as caught:
        load(text)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("rise: 1e-9", 1e-9), ("share: 0.5", 0.5), ("films: 4", 4), ("films: 0", 0), ("inputs: 3", 3)),
        *(("rate: 2", 2), ("device: cuda:1", "cuda:1"), ("epochs: 1", 1)),
    ],
)
def test_the_ends_of_a_range_are_in_it(load: Any, text: str, value: Any) -> None:
    assert load(text)[text.split(":")[0]] == value


def test_all_that_is_wrong_is_said_at_once_in_one_table(load: Any) -> None:
    with pytest.raises(UserError) as caught:
        load("seed: '1'\nepoch: 3\nshare: 1.5\nrun: a/b\narms: {x: {source: s}}\ndevice: gpu\n")
    heading, *lines = str(caught.value).splitlines()
    assert heading.startswith("6 faults [") and heading.endswith("mine.yaml]")
    assert [line.split()[0] for line in lines] == ["seed", "unknown", "share", "'a/b'", "arm", "device"]
    assert len({line.index(" -> ") for line in lines}) == 1  # one column under the other


def test_a_wrong_value_leaves_the_default_so_that_the_rest_can_be_checked(notebooks: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 0\nseed: 7\n")
    values, faults = parameters.read(tmp_path / "mine.yaml", notebooks)
    assert (values["epochs"], values["seed"], len(faults)) == (20, 7, 1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (int | None, "a whole number or nothing (null)"),
        (Literal["a", "b", "c"], "a, b or c"),
        (Annotated[float, Gt(0), Le(1)], "a number, more than 0 and 1 or less"),
        (Annotated[float, Interval(ge=0, lt=1)], "a number, 0 or more and less than 1"),
        (PositiveInt, "a whole number, more than 0"),
        (Literal[0] | Annotated[int, Ge(4)], "0 or a whole number, 4 or more"),
        (list[float], "a list, each a number"),
        (dict[str, dict[str, str]], "a mapping of names, each to a mapping of names, each to text, numbers in quotes"),
    ],
)
def test_a_type_is_told_in_words(kind: Any, words: str) -> None:
    assert parameters.in_words(kind) == words


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
        (f"run: {'x' * 128}\n", "cannot name a folder"),
        ("arms: {not_fine_tuned: {source: simulator, crop: none}}\n", "cannot name a folder"),
        ("arms: {a: {source: simulator, crop: none}, A: {source: simulator, crop: none}}\n", "two networks 'A'"),
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
        ("import os\n", "something other"),
        ("seed = 1\n", "something other"),
        ("seed: int\n", "something other"),
        ("seed: int = 1 + n  # x\n", "no literal"),
        ("seed: Decimal = 1  # x\n", "'Decimal' of seed is not understood"),
        ("seed: Literal = 1  # x\n", "not understood"),
        ("seed: list[Nothing] = []  # x\n", "not understood"),
        ("from pathlib import Path\nseed: Path = 1  # x\n", "something other"),
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


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    (tmp_path / "demo.yaml").write_text("run: demo\narms: {a: {source: simulator, crop: none}}\n")
    (tmp_path / "mine.yaml").write_text("run: demo\narms: {b: {source: simulator, crop: none}}\nseed: 3\n")
    (tmp_path / "broken.yaml").write_text("run: [\n")
    return tmp_path


def test_a_copy_that_kept_the_name_of_its_run_is_found_and_one_that_did_not_is_not(copies: Path) -> None:
    fault = parameters.same_run(copies / "mine.yaml", "demo")
    assert fault and "demo.yaml" in fault.what and "another name" in fault.do
    assert parameters.same_run(copies / "mine.yaml", "mine") is None


def test_a_file_gives_what_it_names_and_the_notebook_declares(copies: Path) -> None:
    current = {"run": "lab", "seed": 0, "epochs": 9, "arms": {}}
    with pytest.raises(UserError, match=r"demo\.yaml has the run 'demo' too"):
        parameters.taken(copies / "mine.yaml", current)
    (copies / "demo.yaml").unlink()
    taken = parameters.taken(copies / "mine.yaml", current)
    assert taken == {"run": "demo", "arms": {"b": {"source": "simulator", "crop": "none"}}, "seed": 3}
    assert "seed" not in parameters.taken(copies / "mine.yaml", current, fixed={"seed"})


@pytest.mark.parametrize(
    ("arm", "fixed", "expected"), [("cropped", (), "b"), ("b", (), None), ("cropped", ("arm",), None)]
)
def test_a_notebook_of_one_arm_gets_the_files_first_unless_its_own_is_there_or_set(
    copies: Path, arm: str, fixed: tuple[str, ...], expected: str | None
) -> None:
    (copies / "demo.yaml").unlink()
    assert parameters.taken(copies / "mine.yaml", {"arm": arm}, fixed).get("arm") == expected


def test_a_parameter_file_names_no_other(copies: Path) -> None:
    (copies / "other.yaml").write_text(f"run: other\n{parameters.FILE}: demo.yaml\n")
    with pytest.raises(UserError, match="a parameter file names another"):
        parameters.load(copies / "other.yaml")


@pytest.mark.parametrize(
    "text", ["3e-4", "1E5", "-2.e+3", ".5e1", "1_0e2", "10", "1.5", "null", "yes", "2026-01-01", "é: [x]"]
)
def test_text_that_looks_like_something_else_is_text_in_the_copy_that_is_run(tmp_path, text):
    values = {"run": text, "rate": 3e-4, "arms": {"a": {"learning_rate": text, text: "x"}}}
    (tmp_path / "copy.yaml").write_text(parameters.to_yaml(values), encoding="utf-8")
    assert parameters.read_yaml(tmp_path / "copy.yaml") == values
