"""A home that cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbhelpers.runs import home


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in home.CACHES:
        monkeypatch.setenv(name, "")  # so that what the test sets is taken back
        monkeypatch.delenv(name)


def test_a_home_that_can_be_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    home.settle(tmp_path / "outputs")
    assert not any(os.environ.get(name) for name in home.CACHES) and not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("name", ["HOME", "XDG_CACHE_HOME"])
def test_caches_of_one_that_cannot_go_below_the_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").write_text("")  # root may write into any folder, and into no file as if it were one
    monkeypatch.setenv(name, str(tmp_path / "file" / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "mine"))
    home.settle(tmp_path / "outputs")
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "mine")
    for variable in set(home.CACHES) - {"MPLCONFIGDIR"}:
        assert Path(os.environ[variable]).is_relative_to(tmp_path / "outputs") and Path(os.environ[variable]).is_dir()
