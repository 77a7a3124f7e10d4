"""The papers of a run: all written, twice the same, and one clear line where there is no run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from reporting import run_fixture

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
