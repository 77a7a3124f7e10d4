"""The papers of a run: all written, twice the same, and one clear line where there is no run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import run_fixture

from nbhelpers.reporting import handout

NAMES = ("model_card.md", "model_card.html", "checklists/checklists.html", "flow.csv")
FIGURES = ("figures/flow.png", "figures/flow.svg")


def test_everything_is_written_and_twice_the_same(tmp_path: Path) -> None:
    run = run_fixture.write(tmp_path / "demo")
    written = handout.write(run)
    assert [path.relative_to(run).as_posix() for path in written] == [*NAMES, *FIGURES]
    first = {path: path.read_bytes() for path in written}
    assert {path: path.read_bytes() for path in handout.write(run)} == first
    counts = pd.read_csv(run / "flow.csv")
    assert counts.loc[counts["step"] == "scored", "n"].tolist() == [24, 4, 2, 24]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_fixture.write(tmp_path / "demo", with_validation=False)
    assert handout.main([str(run)]) == 0
    assert "model_card.md" in capsys.readouterr().out
    assert handout.main([str(tmp_path / "nothing")]) == 1
    assert "no stage of a run" in capsys.readouterr().err
    assert handout.main([]) == 2
