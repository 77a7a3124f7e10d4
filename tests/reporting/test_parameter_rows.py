"""Parameters of a run: by stage where they differ, and named where they are not the file's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from reporting import run_fixture

from nbhelpers.reporting import parameter_rows, report, run_facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = run_fixture.write(tmp_path / "demo")
    for arm in run_fixture.ARMS:
        path = folder / "03_training" / arm / "run.json"
        record = json.loads(path.read_text())
        record["parameters"]["epochs"] = 4 if arm == "raw" else 2
        path.write_text(json.dumps(record))
    return folder


def test_a_parameter_that_differs_is_told_by_stage(run: Path) -> None:
    rows = {row["name"]: row["values"] for row in parameter_rows.rows(run_facts.read(run))}
    assert [(one["text"], one["stages"]) for one in rows["epochs"]] == [
        ("2", "03_training/cropped, 03_training/photos"),
        ("4", "03_training/raw"),
    ]
    assert [(one["text"], one["stages"]) for one in rows["seed"]] == [("3", "")]
    assert "arm" not in rows and parameter_rows.differing(run_facts.read(run)) == []


def asked(run: Path, **values: object) -> None:
    """The run's file, which says what the run's stages were made with, but for `values`."""
    made: dict[str, object] = {"run": "demo", "arms": run_fixture.ARMS}
    for path in run.glob("0*/**/run.json"):
        made |= json.loads(path.read_text())["parameters"]
    made = {name: value for name, value in made.items() if name not in ("arm", "training_seed")}
    (run / "parameters.yaml").write_text(yaml.safe_dump(made | values))


def test_a_stage_made_with_another_value_than_the_file_has_is_named_in_red(run: Path) -> None:
    asked(run, epochs=2)
    (line,) = parameter_rows.differing(run_facts.read(run))
    assert line == "03_training/raw was made with epochs 4 (parameters.yaml: 2)."
    page = report.write(run).read_text("utf-8")
    assert f'<p class="notice off">{line}</p>' in page and page.count('class="off"') == 1


def test_what_no_result_depends_on_is_not_red(run: Path) -> None:
    """Another number of processes makes nothing out of date, an arm that was added what compares arms alone."""
    before = run_fixture.ARMS
    for path in run.glob("01_prompting/run.json"):
        record = json.loads(path.read_text())
        record["parameters"] |= {"workers": 7, "arms": before}
        path.write_text(json.dumps(record))
    asked(run, epochs=2, workers=1, arms=before | {"own": {"source": "simulator", "crop": "none"}})
    lines = parameter_rows.differing(run_facts.read(run))
    stale = ["03_training/raw", "04_external_validation", "05_interpretability"]
    assert [line.partition(" ")[0] for line in lines] == stale
