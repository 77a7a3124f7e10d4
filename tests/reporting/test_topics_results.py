"""What is said of results, against the tables of a hand-made run."""

from __future__ import annotations

from pathlib import Path

from reporting import run_fixture

from nbhelpers.reporting import run_facts, topics_results


def test_performance_tells_every_primary_value_with_its_interval(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo"))
    told = topics_results.performance(facts) or ""
    rows = facts.overall("auroc")
    assert len(rows) and all(f"AUROC {row['value']:.3f} (" in told for row in rows.to_dict("records"))


def test_synthetic_scores_are_said_to_say_nothing_of_films(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo", with_validation=False))
    told = topics_results.internal(facts) or ""
    assert "does not predict performance on films" in told
    assert all(f"{name} {model['val_auroc']:.3f}" in told for name, model in facts.models.items())
    assert topics_results.performance(facts) is None
