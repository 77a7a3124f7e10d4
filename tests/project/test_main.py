"""The one command: its verbs, its one form of error, its exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from reporting import run_fixture

from nbhelpers.__main__ import main
from nbhelpers.runs.parameters import ROOT


def test_handout_names_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_fixture.write(tmp_path / "demo", with_validation=False)
    assert main(["handout", str(run)]) == 0
    assert "model_card.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["handout", "nothing/here"],
        ["fetch", "imagenet"],
        ["checkpoint", "none.pth", "--backbone", "resnet18", "--to", "mine"],
        ["run", "params/none.yaml"],
        ["check", "params/none.yaml"],
        ["notebook", "03_training", "params/none.yaml", "--arm", "raw"],
        ["arms", "params/none.yaml"],
        ["report", "params/none.yaml"],
        ["release", "params/none.yaml"],
    ],
    ids=lambda words: words[0],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and len(told.err.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["runn"], ["handout"], ["notebook", "09_none", "x.yaml"]])
def test_a_command_that_is_none_says_how_it_is_called(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "nbhelpers", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "usage: python -m nbhelpers" in done.stderr


def test_the_command_itself_loads_no_torch() -> None:
    code = (
        "import sys, nbhelpers.__main__; print([name for name in ('torch', 'pandas', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
