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


def test_a_stage_made_with_another_value_than_the_file_has_is_named_in_red(run: Path) -> None:
    (run / "parameters.yaml").write_text(yaml.safe_dump({"epochs": 2, "seed": 3}))
    (line,) = parameter_rows.differing(run_facts.read(run))
    assert line == "03_training/raw was made with epochs 4; parameters.yaml has another value."
    page = report.write(run).read_text("utf-8")
    assert f'<p class="notice off">{line}</p>' in page and page.count('class="off"') == 1
