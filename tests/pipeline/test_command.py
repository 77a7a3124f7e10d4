"""One run at a time, and what is asked of Snakemake."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest

from nbhelpers.errors import UserError
from nbhelpers.pipeline import command
from nbhelpers.pipeline.command import only_run, run
from nbhelpers.runs import parameters


def test_a_folder_is_held_by_one_run_and_let_go_at_its_end(tmp_path: Path) -> None:
    with only_run(tmp_path / "run"):
        with pytest.raises(UserError, match=r"another run.*process"), only_run(tmp_path / "run"):
            pass
        with only_run(tmp_path / "other"):
            pass
    with only_run(tmp_path / "run"), open(tmp_path / "run" / ".lock") as handle, pytest.raises(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_images_that_may_still_come_are_asked_for_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(command, "snakemake", lambda _, target, options: calls.append((target, options)) or 0)
    file = tmp_path / "mine.yaml"
    file.write_text((parameters.ROOT / "params/demo.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    table = tmp_path / "demo/01_prompting/gemini/images.csv"
    table.parent.mkdir(parents=True)
    told = {}
    for status in ("ok", "given up: prompt_blocked", "not yet: in a batch job"):
        table.write_text(f'image_id,status\na,ok\nb,"{status}"\n', encoding="utf-8")
        calls.clear()
        assert run(file, ["--keep-going"]) == 0
        told[status] = dict(calls)
    again = ["--keep-going", "--forcerun", "prompting"]
    assert told["not yet: in a batch job"] == {"images": again, "scores": ["--keep-going"], "all": ["--keep-going"]}
    for status in ("ok", "given up: prompt_blocked"):
        assert all(options == ["--keep-going"] for options in told[status].values())
