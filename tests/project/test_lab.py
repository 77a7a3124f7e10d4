"""JupyterLab as a user works in it: `make lab` in a clone, each notebook run and saved, each widget turned."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from project import lab_fixture
from project.tiny import TINY

from nbhelpers.runs import parameters, reviews
from nbhelpers.runs.tables import read_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# What can be turned, by notebook: the cell, and what it writes or shows once it was.
WIDGETS = {
    "01_prompting": ("prompting-ask-1", "prompting-review-1"),
    "02_cropping": ("cropping-out-1", "cropping-turn-1"),
    "03_training": (),
    "04_external_validation": ("c39-turn-1",),
    "05_interpretability": ("interpretability-browse-1",),
    "06_image_editing": ("e11-wipe-1",),
    "07_segmentation": ("s30-turn-1",),
}
# Of the smallest experiment what a widget's look needs no more of.
SMALLER = {
    "arms": {"cropped": {"source": "simulator", "crop": "content", "method": "pairs"}},
    **{"simulated_test_films": 12, "simulated_training_films": 12, "specialist_seeds": 1, "third_model": None},
    **{"editors": {"nothing": None, "simulator": None}, "editing_chains": 0},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab_fixture.Lab]:
    """A clone whose notebooks name a parameter file, in one line each, as its user committed them."""
    lab_fixture.browser_program()
    scratch = tmp_path_factory.mktemp("lab")
    folder = lab_fixture.clone(scratch / "clone")
    (folder / "params" / "tiny.yaml").write_text(yaml.safe_dump(TINY | SMALLER, sort_keys=False))
    line = f"{parameters.FILE}: str | None = "
    for notebook in (folder / "notebooks").glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        assert text.count(f"{line}None") == 1
        notebook.write_text(text.replace(f"{line}None", f'{line}\\"params/tiny.yaml\\"'), encoding="utf-8")
    lab_fixture.git(folder, "add", "-A")
    lab_fixture.git(folder, "commit", "-q", "-m", "as its user has it")
    with lab_fixture.started(folder, scratch) as opened:
        yield opened


def run(lab: lab_fixture.Lab, stage: str) -> None:
    """Open, Run All, and turn each widget; a picture of each is kept beside the log of the server."""
    lab.open(stage)
    lab.run_all()
    assert lab.errors() == []
    told = [one for outputs in lab.outputs().values() for one in outputs if one.get("name") == "stderr"]
    assert [one["text"] for one in told if "%|" in one["text"]] == [], "a progress bar looks like an error"
    for cell in WIDGETS[stage]:
        output = lab.cell(cell)
        before = lab.seen(output)
        turned = lab.turn(output)
        lab.page.screenshot(path=lab.folder.parent / f"{cell}.png")
        # One image alone was left out: there is no other to turn to.
        assert turned and (cell == "cropping-out-1" or lab.seen(output) != before), cell
    assert lab.console() == []


def test_each_notebook_runs_and_each_widget_turns(lab: lab_fixture.Lab) -> None:
    outputs = lab.folder / "outputs" / TINY["run"]
    run(lab, "01_prompting")
    output = lab.cell("prompting-review-1")
    for menu in output.locator("select").all():
        menu.select_option(index=0)
    output.get_by_placeholder("your name").fill("A. Reader")
    output.get_by_placeholder("reason for rejection").fill("two hearts")
    output.get_by_placeholder("reason for rejection").press("Tab")
    output.get_by_role("button", name="reject").click()
    lab.page.wait_for_timeout(1500)
    lab.save_and_close()
    (decided,) = reviews.read(outputs).to_dict("records")
    assert (decided["decision"], decided["reviewer"], decided["reason"]) == ("reject", "A. Reader", "two hearts")

    run(lab, "02_cropping")
    lab.save_and_close()
    cropped = read_table(outputs / "02_cropping" / decided["source"] / "images.csv", "cropped")
    row = cropped[cropped["image_id"] == decided["image_id"]].iloc[0]
    assert (row["status"], row["reason"], row["detail"]) == ("excluded", "reviewer", "A. Reader: two hearts")

    run(lab, "03_training")
    lab.save_and_close()
    for stage in ("04_external_validation", "05_interpretability", "06_image_editing", "07_segmentation"):
        run(lab, stage)
        lab.save_and_close()
    log = (lab.folder.parent / "lab.log").read_text(encoding="utf-8")
    assert "Traceback" not in log, "something that a widget called failed"


def test_what_was_run_and_saved_is_no_change_to_git(lab: lab_fixture.Lab) -> None:
    executed = (lab.folder / "notebooks" / "01_prompting.ipynb").read_text(encoding="utf-8")
    assert '"execution_count": 1' in executed
    assert lab_fixture.git(lab.folder, "diff", "HEAD") == ""


def test_the_report_is_one_command_away(lab: lab_fixture.Lab) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "nbhelpers", "handout", "outputs/tiny"],
        cwd=lab.folder,
        env=os.environ | {"PYTHONPATH": str(lab.folder)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    page = Path(told.splitlines()[-1])
    assert page.name == "index.html" and "AUROC" in (lab.folder / page).read_text(encoding="utf-8")
