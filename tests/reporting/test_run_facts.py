"""What a run's folder says of the run, read once."""

from __future__ import annotations

from pathlib import Path

import pytest
from reporting import run_fixture

from nbhelpers.errors import UserError
from nbhelpers.reporting import run_facts


@pytest.fixture
def facts(tmp_path: Path) -> run_facts.RunFacts:
    return run_facts.read(run_fixture.write(tmp_path / "demo"))


def test_whether_a_source_is_simulated_is_read_from_its_table(facts: run_facts.RunFacts) -> None:
    assert [name for name in facts.images if facts.source_is_simulated(name)] == ["simulator"]
    assert facts.is_simulated("raw") and not facts.is_simulated("photos")


def test_simulated_sets_are_marked_once_in_their_titles(facts: run_facts.RunFacts) -> None:
    simulated = facts.simulated_datasets()
    assert simulated and all(facts.title(name).count("(simulated)") == (name in simulated) for name in facts.titles())


def test_a_table_that_was_not_written_is_empty(facts: run_facts.RunFacts) -> None:
    assert facts.table("no_such_table").empty and not facts.table("metrics").empty


def test_a_folder_without_a_stage_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage of a run"):
        run_facts.read(tmp_path)
