"""The model card of a hand-made run: its numbers, its warnings, and nothing that the run does not say."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.reporting import model_card, run_facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str) -> pd.DataFrame:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return pd.DataFrame(cells[2:], columns=cells[0])


def test_results_are_the_primary_overall_rows_of_metrics(run: Path) -> None:
    text = model_card.write(run).read_text(encoding="utf-8")
    shown = table(section(text, "Results"))
    metrics = pd.read_csv(run / "04_external_validation" / "metrics.csv")
    metrics = metrics[metrics["primary"] & (metrics["metric"] == "auroc")]
    assert len(shown) == len(metrics) == 6
    expected = [f"{r['value']:.3f} ({r['ci_low']:.3f} to {r['ci_high']:.3f})" for r in metrics.to_dict("records")]
    assert shown["AUROC"].tolist() == expected
    assert shown["arm"].tolist() == metrics["arm"].tolist()


def test_every_arm_has_a_row_with_its_weights(run: Path) -> None:
    shown = table(section(model_card.write(run).read_text(), "Models")).set_index("arm")
    assert set(shown.index) == set(run_fixture.ARMS)
    assert (shown["weights (SHA-256)"] == "ab" * 6).all()
    assert shown["images"].to_dict() == {"cropped": "14", "raw": "16", "photos": "14"}


def test_what_is_simulated_is_said_at_the_top_and_in_the_tables(run: Path) -> None:
    text = model_card.write(run).read_text()
    assert "Simulated in this run: training images of cropped, raw and films of Other hospital" in text.split("## ")[0]
    assert "simulator (simulated)" in section(text, "Models")
    assert "Other hospital (simulated)" in section(text, "Results")


def test_limitations_name_the_arms_that_a_trivial_baseline_matches(run: Path) -> None:
    limits = section(model_card.write(run).read_text(), "Limitations")
    assert "arm raw" in limits and "arm photos" in limits and "arm cropped" not in limits


def test_what_the_run_cannot_know_is_listed_as_open(run: Path) -> None:
    listed = section(model_card.write(run).read_text(), "To be completed by the authors")
    assert listed.count("\n- ") == len(model_card.OPEN)


def test_sections_without_results_say_so(tmp_path: Path) -> None:
    text = model_card.write(run_fixture.write(tmp_path / "demo", with_validation=False)).read_text()
    for heading in ("Results", "Evaluation data", "Subgroups"):
        assert "Not part of this run." in section(text, heading)


def test_text_from_the_run_does_not_become_markup(run: Path) -> None:
    path = run / "03_training" / "raw" / "model.json"
    model = json.loads(path.read_text()) | {"backbone": "<img src=x onerror=alert(1)> | [a](javascript:b) `c`"}
    path.write_text(json.dumps(model))
    page = model_card.write(run).with_suffix(".html").read_text()
    assert "<img" not in page and 'href="javascript' not in page
    assert page.count("<table>") >= 4
    rows = table(section(model_card.markdown(run_facts.read(run)), "Computing"))
    assert len(rows) == 7


def test_html_holds_the_same_headings(run: Path) -> None:
    path = model_card.write(run)
    page = path.with_suffix(".html").read_text()
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            assert line.removeprefix("## ") in page
