"""Fetching data sets, with a stand-in for kagglehub: nothing here touches the network."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from films import rsna_fixture

from nbhelpers.__main__ import main
from nbhelpers.errors import UserError
from nbhelpers.films import fetch, rsna

Download = Callable[[str], str]


def stand_in(monkeypatch: pytest.MonkeyPatch, download: Download) -> None:
    module = types.ModuleType("kagglehub")
    module.competition_download = module.dataset_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=2**40))


def nothing(handle: str) -> str:
    raise AssertionError("nothing is to be downloaded")


def test_rsna_lands_where_the_loader_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(handle: str) -> str:
        assert handle == "rsna-pneumonia-detection-challenge"
        inner = Path(os.environ["KAGGLEHUB_CACHE"]) / "competitions" / handle
        rsna_fixture.write(inner, n_films=12, size=64)  # the films are one folder further down, as in the archive
        return str(inner)

    stand_in(monkeypatch, download)
    monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    root = tmp_path / "data"
    assert main(["fetch", "rsna", "--to", str(root)]) == 0
    assert "attribution" in capsys.readouterr().out
    assert len(rsna.read_tables(rsna.find_root(root))) == 12
    assert [path.name for path in root.iterdir()] == ["rsna"]
    assert "KAGGLEHUB_CACHE" not in os.environ


def test_kermany_is_taken_out_of_its_wrapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(handle: str) -> str:
        inner = Path(os.environ["KAGGLEHUB_CACHE"]) / "versions" / "2"
        for part in ("chest_xray/train", "chest_xray/test", "chest_xray/__MACOSX", "chest_xray/chest_xray/train"):
            (inner / part).mkdir(parents=True)
        return str(inner)

    stand_in(monkeypatch, download)
    assert fetch.fetch("kermany", tmp_path) == tmp_path / "kermany"
    assert (tmp_path / "kermany" / "train").is_dir()


def test_folder_that_is_mounted_already_is_linked_and_not_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "input" / "chest_xray"
    for part in ("train", "test"):
        (mounted / part).mkdir(parents=True)
    stand_in(monkeypatch, lambda handle: str(mounted.parent))
    target = fetch.fetch("kermany", tmp_path / "data")
    assert target.is_symlink() and (target / "train").is_dir() and (mounted / "train").is_dir()


def test_what_is_there_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, nothing)
    (tmp_path / "kermany" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="lacks test"):
        fetch.fetch("kermany", tmp_path)
    (tmp_path / "kermany" / "test").mkdir()
    assert fetch.fetch("kermany", tmp_path) == tmp_path / "kermany"


def error_of(name: str, status: int | None = None, base: type[Exception] = Exception) -> Exception:
    error = type(name, (base,), {})("boom")
    if status:
        error.response = types.SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (error_of("UnauthenticatedError"), "needs a login.*KAGGLE_API_TOKEN"),
        (error_of("KaggleApiHTTPError", 401, OSError), "needs a login"),
        (error_of("KaggleApiHTTPError", 403, OSError), "accept the rules"),
        (error_of("KaggleApiHTTPError", 404, OSError), "no longer has"),
        (error_of("KaggleApiHTTPError", 503, OSError), r"cannot be reached \(status 503\)"),
        (error_of("ConnectionError", None, OSError), "cannot be reached"),
        (OSError(28, "No space left on device"), "cannot be written.*No space"),
    ],
)
def test_failures_say_what_to_do_and_keep_what_was_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def download(handle: str) -> str:
        part = Path(os.environ["KAGGLEHUB_CACHE"]) / "half.zip"
        part.parent.mkdir(parents=True)
        part.write_text("half")
        raise error

    stand_in(monkeypatch, download)
    with pytest.raises(UserError, match=message):
        fetch.fetch("rsna", tmp_path)
    assert (tmp_path / ".fetching-rsna" / "half.zip").is_file() and not (tmp_path / "rsna").exists()


def test_defect_keeps_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(handle: str) -> str:
        raise ZeroDivisionError

    stand_in(monkeypatch, download)
    with pytest.raises(ZeroDivisionError):
        fetch.fetch("rsna", tmp_path)


def test_missing_package_full_disk_and_odd_archive_are_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # as if it were not installed
    assert main(["fetch", "rsna", "--to", str(tmp_path)]) == 2
    assert 'pip install -e ".[data]"' in capsys.readouterr().err
    stand_in(monkeypatch, lambda handle: str(tmp_path))
    with pytest.raises(UserError, match="does not contain"):
        fetch.fetch("rsna", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=2**30))
    with pytest.raises(UserError, match="GiB are free"):
        fetch.fetch("rsna", tmp_path)


def test_data_sets_how_to_get_lines_name_this_command() -> None:
    assert "python -m nbhelpers fetch rsna" in rsna.HOW_TO_GET
    assert set(fetch.RECIPES) == {"rsna", "kermany"}
