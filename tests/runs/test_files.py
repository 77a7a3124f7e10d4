"""Files are whole or absent, and stay inside their folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from nbhelpers.errors import UserError
from nbhelpers.runs import files


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.png"
    with files.atomic_path(target) as temporary:
        assert temporary.suffix == ".png" and temporary.parent == target.parent
        temporary.write_bytes(b"x")
        assert not target.exists()
    assert target.read_bytes() == b"x"


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, "ä"], "b": {"c": True}}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value == json.loads((tmp_path / "a.json").read_text("utf-8"))


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert files.read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00"])
def test_broken_json_is_a_user_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json"):
        files.read_json(tmp_path / "run.json")
    with pytest.raises(UserError, match="not found"):
        files.read_json(tmp_path / "none.json")


def test_sha256_is_that_of_hashlib(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert files.sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["a.png", "images/a.png", "a..b.png", "images/../a.png", "./a.png"])
def test_a_path_below_the_folder_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    assert files.inside(tmp_path, name).resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/passwd", "images/../../a.png", "..\\a.png", "//x", "a/../../b", "a\0b"]
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    (folder / "images").mkdir(parents=True)
    with pytest.raises(UserError, match="leaves its folder"):
        files.inside(folder, name)


def test_a_folder_that_its_keeper_linked_is_followed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.png").write_text("film")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(tmp_path / "store")
    assert files.inside(tmp_path / "data", "images/a.png").read_text() == "film"
    (tmp_path / "data" / "b.png").symlink_to(tmp_path / "store" / "a.png")
    with pytest.raises(UserError, match="leaves its folder"):
        files.inside(tmp_path / "data", "b.png")
