"""What is said of networks and methods, against the model descriptions of a hand-made run."""

from __future__ import annotations

from pathlib import Path

from reporting import run_fixture

from nbhelpers.reporting import run_facts, topics_methods


def test_the_network_is_told_with_its_backbone(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo"))
    told = str(topics_methods.model(facts))
    assert all(model["backbone"] in told for model in facts.models.values())


def test_the_software_is_told_with_its_versions(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo"))
    told = str(topics_methods.software(facts))
    assert "2.6.0" in told and "1.0.15" in told
