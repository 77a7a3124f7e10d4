"""What of a notebook's output reaches the log."""

from __future__ import annotations

import pytest

from nbhelpers.pipeline.notebooks import ProgressLines


def test_progress_bars_pass_and_everything_else_stays_in_the_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines("03_training_raw")
    lines.write("UserWarning: something\n  warn(x)\n")
    lines.write("drawing: 0film [00:00, ?film/s]\n")
    lines.write("raw 1/2:   0%|          | 0/9 [00:00<?, ?step/s]")
    lines.write("\rraw 1/2:  50%|#####     | 4/9 [00:01<00:01,  4.00step/s]\rraw 1/2: 100%|####")
    lines.write("######| 9/9 [00:02<00:00,  4.50step/s]\n")
    told = capsys.readouterr().err.splitlines()
    assert [line.split("%")[0] for line in told] == ["[03_training_raw] raw 1/2:  50", "[03_training_raw] raw 1/2: 100"]
