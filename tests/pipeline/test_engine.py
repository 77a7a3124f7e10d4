"""papermill by hand: no false alarm on a correct file, and what nobody declares is refused."""

from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys
from pathlib import Path

import papermill  # noqa: F401  (first: it loads the engine itself)
import pytest

from nbhelpers.pipeline import engine
from nbhelpers.runs import parameters


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Passed unknown parameter: epochs", False),
        ("Passed unknown parameter: images_per_class", False),
        ("Unable to parse line 3 'workers: int = 0  # 0 = one'.", False),
        ("Passed unknown parameter: epoch", True),
        ("Executing notebook with kernel: python3", True),
        ("Input Notebook:  a.ipynb", True),
    ],
)
def test_only_what_is_false_here_leaves_papermills_log(text: str, kept: bool) -> None:
    record = logging.LogRecord("papermill", logging.WARNING, "", 0, text, None, None)
    assert engine.is_true(record) == kept
    assert bool(logging.getLogger("papermill").filter(record)) == kept


def test_papermill_finds_it_by_the_projects_entry_point() -> None:
    declared = [
        entry for entry in importlib.metadata.entry_points(group="papermill.engine") if entry.name == "nbhelpers"
    ]
    if not declared:
        pytest.skip("this environment holds an installation of before the entry point: install the project again")
    assert declared[0].load() is engine.NBClientEngine


def test_papermill_by_hand_is_silent_on_a_correct_file_and_stops_at_an_unknown_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("run: mine\nimages_per_class: 3\nworkers: 1\nlearning_rate: 0.001\nprompt_templates: null\n")
    words = ["notebooks/01_prompting.ipynb", str(tmp_path / "out.ipynb"), "-f", str(file), "-p", "image_per_class", "4"]
    code = "import papermill.cli; papermill.cli.papermill()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--no-progress-bar"],
        cwd=parameters.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0 and "unknown parameter 'image_per_class'" in done.stderr
    assert "did you mean 'images_per_class'" in done.stderr and "Unable to parse" not in done.stderr
    warned = [line.rpartition(": ")[2] for line in done.stderr.splitlines() if "Passed unknown parameter" in line]
    assert warned == ["image_per_class"]
