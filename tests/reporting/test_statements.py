"""Statements of a hand-made run: one a topic, from its tables alone, and none where a table is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.reporting import limitations, run_facts, statements


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def test_every_topic_says_something_of_a_whole_run_or_waits_for_a_table(run: Path) -> None:
    facts = run_facts.read(run)
    silent = {topic for topic in statements.TOPICS if statements.state(topic, facts) is None}
    assert silent == {"operating_point", "robustness", "subgroups", "fairness"}


def test_words_that_need_films_are_not_said_without_films(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo", with_validation=False))
    assert statements.state("poor_input", facts) is statements.state("blinding", facts) is None
    assert statements.state("ensemble", facts).text.startswith("No: each arm is one network")
    assert statements.state("user_skill", facts).open == ""


def test_both_rsna_cohorts_are_told_and_the_easy_one_is_marked(run: Path) -> None:
    path = run / "04_external_validation" / "datasets.csv"
    table = pd.read_csv(path).assign(dataset=["rsna", "rsna_full"], simulated=False)
    table.assign(title=["RSNA 2018", "RSNA 2018 (all classes)"]).to_csv(path, index=False)
    record = run / "04_external_validation" / "run.json"
    facts = json.loads(record.read_text())
    facts["parameters"] |= {"rsna_cohort": "paper", "datasets": ["rsna", "rsna_full"]}
    record.write_text(json.dumps(facts))
    found = run_facts.read(run)
    assert "RSNA 2018 (all classes) is reported as well" in " ".join(limitations.of_results(found))
    assert "cohort 'paper', 'full'" in statements.state("subsets", found).text
    assert statements.state("reference_standard", found).text.count("radiologists' reading") == 2


def test_statements_read_a_run_of_one_stage(tmp_path: Path) -> None:
    folder = run_fixture.write(tmp_path / "demo", with_validation=False)
    for stage in ("02_cropping", "03_training"):
        for path in sorted((folder / stage).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    facts = run_facts.read(folder)
    for topic in statements.TOPICS:
        statements.state(topic, facts)
