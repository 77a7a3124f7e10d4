"""What would stop a run later stops it before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nbhelpers.errors import UserError
from nbhelpers.pipeline.checks import check_inputs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ["kermanny"]}, "did you mean 'kermany'"),
        ({"backbone": "resnet81"}, "did you mean 'resnet"),
        ({"arms": {"raw": {"source": "simulater", "crop": "none"}}}, "did you mean 'simulator'"),
        ({"arms": {"raw": {"source": "simulator", "crop": "nothing"}}}, "unknown crop"),
        ({"arms": {"raw": {"source": "folder", "crop": "none"}}}, "folder_table"),
        ({"checkpoints": {"mine": "no/such/folder"}}, "no/such/folder"),
        ({"datasets": ["kermany"]}, "kermany"),
        ({"datasets": ["rsna"]}, "rsna"),
    ],
)
def test_what_would_stop_a_run_later_stops_it_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "no data"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": "mine"} | changes))
    with pytest.raises(UserError, match=message):
        check_inputs(path)
