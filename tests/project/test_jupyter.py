"""A notebook opened in JupyterLab, where its kernel starts in notebooks/, gives what papermill gives from the root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from nbclient import NotebookClient

from nbhelpers.runs import parameters
from nbhelpers.runs.files import sha256_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
STAGE = "01_prompting"
SETTINGS = {"run": "cwd", "images_per_class": 3, "simulator_size": 96, "diversity_images": 3}
ARMS = {"raw": {"source": "simulator", "crop": "none"}}


@pytest.fixture(scope="module")
def as_jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nbformat.NotebookNode]:
    """A user edits the parameters cell and runs all cells; JupyterLab starts the kernel in the notebook's folder."""
    outputs = tmp_path_factory.mktemp("lab")
    notebook = nbformat.read(parameters.NOTEBOOKS / f"{STAGE}.ipynb", as_version=4)
    edited = "\n".join(f"{name} = {value!r}" for name, value in {**SETTINGS, "arms": ARMS}.items())
    notebook.cells.insert(2, nbformat.v4.new_code_cell(edited))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(parameters.NOTEBOOKS)}})
    client.execute(env=os.environ | {"NBHELPERS_OUTPUTS": str(outputs), "JUPYTER_PREFER_ENV_PATH": "1"})
    return outputs / "cwd", notebook


@pytest.fixture(scope="module")
def by_papermill(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The command of the README, from the project's root."""
    outputs = tmp_path_factory.mktemp("papermill")
    file = outputs / "mine.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, "arms": ARMS}))
    executed = outputs / "out.ipynb"
    subprocess.run(
        [sys.executable, "-m", "papermill", f"notebooks/{STAGE}.ipynb", str(executed), "-f", str(file)],
        cwd=parameters.ROOT,
        env=os.environ | {"NBHELPERS_OUTPUTS": str(outputs), "JUPYTER_PREFER_ENV_PATH": "1"},
        check=True,
        capture_output=True,
        timeout=600,
    )
    return outputs / "cwd", executed


def test_both_draw_the_same_images_and_tables(
    as_jupyterlab: tuple[Path, nbformat.NotebookNode], by_papermill: tuple[Path, Path]
) -> None:
    here, there = as_jupyterlab[0] / STAGE, by_papermill[0] / STAGE
    tables = sorted(path.relative_to(here) for path in here.rglob("*.csv"))
    assert tables == sorted(path.relative_to(there) for path in there.rglob("*.csv")) and len(tables) >= 2
    for name in tables:
        pd.testing.assert_frame_equal(pd.read_csv(here / name), pd.read_csv(there / name))
    pictures = sorted(path.relative_to(here) for path in here.rglob("*.png"))
    assert len(pictures) >= 6
    assert [sha256_file(here / name) for name in pictures] == [sha256_file(there / name) for name in pictures]


def test_both_write_nothing_beside_the_notebook(
    as_jupyterlab: tuple[Path, nbformat.NotebookNode], by_papermill: tuple[Path, Path]
) -> None:
    allowed = {f"{stage}.ipynb" for stage in parameters.STAGES} | {".ipynb_checkpoints"}
    assert {path.name for path in parameters.NOTEBOOKS.iterdir()} <= allowed


def test_both_say_the_same_parameters(
    as_jupyterlab: tuple[Path, nbformat.NotebookNode], by_papermill: tuple[Path, Path]
) -> None:
    records = [json.loads((run / STAGE / "run.json").read_text("utf-8")) for run in (as_jupyterlab[0], by_papermill[0])]
    assert records[0]["parameters"] == records[1]["parameters"]
    assert records[0]["parameters"]["images_per_class"] == 3 and records[0]["parameters"]["arms"] == ARMS


def test_the_kernel_is_the_environments_own(by_papermill: tuple[Path, Path], tmp_path: Path) -> None:
    """A kernel `python3` in the user's home, of another environment, must not take its place."""
    kernel = tmp_path / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "another", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**SETTINGS, "arms": ARMS}))
    code = f"from nbhelpers.pipeline.notebooks import execute; execute({STAGE!r}, {str(file)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {"NBHELPERS_OUTPUTS": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "share"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
