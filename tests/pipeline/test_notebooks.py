"""What of a notebook's output reaches the log."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
import yaml

from nbhelpers.errors import UserError
from nbhelpers.pipeline import notebooks
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


@pytest.mark.parametrize("failed", [True, False])
def test_a_disk_that_takes_no_copy_hides_no_error_of_the_notebook(
    failed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(*_: Any, on_cell_error: Any, **__: Any) -> None:
        if failed:
            content = {"ename": "UserError", "evalue": "the key is refused", "status": "error"}
            on_cell_error(cell={}, cell_index=0, execute_reply={"content": content})
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path))
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"run": "x"}))
    with pytest.raises(UserError) as told:
        notebooks.execute("01_prompting", tmp_path / "p.yaml")
    said = "the key is refused" if failed else "No space left on device"
    assert said in str(told.value) and told.value.__suppress_context__


def test_a_picture_is_described_by_the_heading_that_it_stands_under(tmp_path: Path) -> None:
    picture = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})
    cells = [
        nbformat.v4.new_markdown_cell("# 02 What is left?\n\n## Before and after\n\nLook for lungs."),
        nbformat.v4.new_code_cell("draw()", outputs=[picture]),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    page = notebooks.write_html(tmp_path / "a.ipynb").read_text("utf-8")
    assert 'alt="Figure: Before and after"' in page and "No description" not in page
    assert "alt" not in (tmp_path / "a.ipynb").read_text("utf-8"), "the notebook itself stays as it is"
