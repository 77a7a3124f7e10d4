"""Two arms and their start, for the tests of maps and figures."""

import pytest
from interpretability.interpretability_fixture import save_arm

from nbhelpers import runs
from nbhelpers.networks import trained


@pytest.fixture
def networks(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    run = tmp_path / "outputs" / "toy"
    save_arm(run, "one", seed=4)
    save_arm(run, "two", seed=5)
    return trained.load_networks(
        ["one", "two"], runs.Stage("05_interpretability", run, run, {"seed": 0, "device": "cpu"}, "cpu")
    )


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    run = tmp_path / "outputs" / "toy"
    for arm, size in (("one", 64), ("two", 64)):
        save_arm(run, arm, seed=4, size=size)
    folder = run / "05_interpretability"
    folder.mkdir()
    return runs.Stage("05_interpretability", folder, run, {"seed": 0, "device": "cpu"}, "cpu")
