"""What is said of images and films, against the counts of a hand-made run."""

from __future__ import annotations

from pathlib import Path

from reporting import run_fixture

from nbhelpers.reporting import run_facts, topics_data


def test_images_are_counted_by_source_and_simulators_are_named_as_such(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo"))
    told = topics_data.training_sources(facts) or ""
    drawn = {name: int((table["status"] == "ok").sum()) for name, table in facts.images.items()}
    assert f"simulator (simulated): {drawn['simulator']} images" in told and f"Gemini: {drawn['gemini']} images" in told


def test_films_are_told_with_their_prevalence(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo"))
    table = facts.table("datasets").iloc[0]
    told = topics_data.evaluation_sources(facts) or ""
    assert f"{table['n']:,} films" in told and f"{table['n_positive'] / table['n']:.1%} pneumonia" in told


def test_without_validation_nothing_is_said_of_films(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo", with_validation=False))
    assert topics_data.evaluation_sources(facts) is None
