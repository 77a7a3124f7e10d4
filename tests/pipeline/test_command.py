"""One run at a time, and what is asked of Snakemake."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nbhelpers.errors import UserError
from nbhelpers.pipeline import command
from nbhelpers.pipeline.command import only_run, run, what_is_asked
from nbhelpers.pipeline.jobs import Asked
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
    monkeypatch.setattr(command, "what_is_asked", lambda _: Asked())
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(command, "snakemake", lambda _, target, options, __: calls.append((target, options)) or 0)
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
    again = ["--forcerun", "01_prompting/run.json", "--keep-going"]
    assert told["not yet: in a batch job"] == {"images": again, "scores": ["--keep-going"], "all": ["--keep-going"]}
    for status in ("ok", "given up: prompt_blocked"):
        assert all(options == ["--keep-going"] for options in told[status].values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 0),
        ({"editing_judge": {"provider": "openai", "deadline_s": 90}}, 90),
        ({"arms": {"a": {"source": "gemini", "crop": "none"}}, "gemini_deadline_s": 50.0}, 50),
        ({"omnimodel": "gemini_json", "gemini_deadline_s": 50.0}, 50),
        ({"editors": {"bfl": {"model": "x", "deadline_s": 300.0}, "nothing": None}}, 300),
        ({"editors": {"gpt": {"provider": "openai", "model": "x"}, "web": {"provider": "folder", "path": "x"}}}, 180),
        ({"image_models": {"ark": {"model": "x", "deadline_s": 90.0}}}, 90),
    ],
)
def test_a_stopped_run_waits_as_long_as_a_paid_request_may_take(given: dict[str, object], seconds: float) -> None:
    values = {"arms": {}, "omnimodel": "stand_in", "gemini_deadline_s": 180.0, "editors": {}, "image_models": {}}
    values |= {"editing_judge": None}
    assert command.longest_request(values | given) == seconds


def test_a_dry_run_tells_what_would_be_run_and_sees_films_that_have_gone(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number in range(4):
        cv2.imwrite(str(films / f"{number}.png"), np.full((64, 64), 50 * number, np.uint8))
    (films / "films.csv").write_text("path,label\n0.png,0\n1.png,1\n2.png,0\n3.png,1\n")
    file = tmp_path / "mine.yaml"
    file.write_text(f"run: mine\ndatasets: [folder]\nfolder_films: {films / 'films.csv'}\n")

    def dry_run() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "nbhelpers", "run", str(file), "--dry-run"],
            cwd=parameters.ROOT,
            env=os.environ | {"NBHELPERS_OUTPUTS": str(tmp_path / "outputs")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    code, told = dry_run()
    assert code == 0 and "prompting" in told and "interpretability" in told and "dry run" in told
    assert len(told.splitlines()) < 40
    assert not any(line.startswith("report:") for line in told.splitlines()) and "up to date" not in told
    assert sorted(path.name for path in (tmp_path / "outputs" / "mine").iterdir() if path.name[0] != ".") == [
        "parameters.yaml"
    ]
    (films / "0.png").unlink()
    code, told = dry_run()
    assert code == 2 and "3 films that are there" in told and "Traceback" not in told
    assert [line.startswith("error: ") for line in told.splitlines()] == [True]
    (films / "films.csv").unlink()
    code, told = dry_run()
    assert code == 2 and "films.csv" in told


def test_what_is_said_to_be_run_again_is_forced_once_whatever_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    stale = {f"{stage}/run.json": {"seed": (1, 0)} for stage in parameters.STAGES}
    monkeypatch.setattr(command, "draw_rules", lambda _: None)
    monkeypatch.setattr(command, "made_otherwise", lambda *_: stale)
    forced: list[str] = []
    monkeypatch.setattr(command, "snakemake", lambda _, __, options, ___: forced.extend(options[1:]) or 0)
    file = tmp_path / "mine.yaml"
    file.write_text((parameters.ROOT / "params/demo.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert run(file, []) == 0 and sorted(forced) == sorted(stale)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--profile=profiles/slurm"], Asked(elsewhere=True, cores=True)),
        (["--profile", str(parameters.ROOT / "profiles/slurm"), "-n"], Asked(elsewhere=True, cores=True, dry=True)),
        (["--exec", "slurm", "--jobs", "3"], Asked(elsewhere=True)),
        (["--keep-going", "--dry-run"], Asked(dry=True)),
        (["-j2", "--res", "accelerator=2"], Asked(cores=True, resources=True)),
        (["--forcerun", "prompting", "cropping"], Asked(forced=True)),
    ],
)
def test_options_mean_what_snakemake_takes_them_for_however_they_are_written(
    monkeypatch: pytest.MonkeyPatch, options: list[str], asked: Asked
) -> None:
    monkeypatch.chdir(parameters.ROOT)
    assert what_is_asked(options) == asked


def test_a_profile_of_another_kind_of_run_stays_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("keep-going: true\ncores: 1\n")
    assert what_is_asked(["--profile", str(tmp_path)]) == Asked(cores=True)


@pytest.mark.parametrize(
    ("gpu", "device", "asked", "words"),
    [
        (True, "auto", Asked(), ["accelerator=1"]),
        (True, "auto", Asked(resources=True), []),
        (True, "cpu", Asked(), ["side_by_side=true"]),
        (False, "auto", Asked(), ["side_by_side=true"]),
        (False, "auto", Asked(elsewhere=True), []),
    ],
)
def test_notebooks_run_side_by_side_here_unless_one_accelerator_serves_all(
    gpu: bool, device: str, asked: Asked, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"run: mine\ndevice: {device}\n")
    monkeypatch.setattr(command.shutil, "which", lambda name: "/bin/x" if gpu else None)
    monkeypatch.setattr(command.sys, "platform", "linux")
    told: list[str] = []
    monkeypatch.setattr(command, "supervise", lambda given, *_: told.extend(given) or 0)
    assert command.snakemake(file, "all", [], asked) == 0
    assert [one for one in told if one in ("accelerator=1", "side_by_side=true")] == words
    if "side_by_side=true" in words:  # the values of one option
        assert told[told.index("side_by_side=true") - 1].startswith("parameters=")


def test_without_options_nothing_is_asked_of_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.subprocess, "run", lambda *_, **__: pytest.fail("it was asked"))
    assert what_is_asked([]) == Asked()


@pytest.mark.parametrize("options", [["--nonsense", "3"], ["--profile", "profiles/none"]])
def test_what_snakemake_refuses_is_one_line_before_anything_runs(options: list[str]) -> None:
    with pytest.raises(UserError) as told:
        what_is_asked(options)
    assert len(str(told.value).splitlines()) == 1 and options[1] in str(told.value)
