"""Progress bars: nothing where there is nothing to do, and the last line alone in an executed notebook."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from nbhelpers.pipeline import notebooks
from nbhelpers.runs import front_end, parameters
from nbhelpers.runs.progress import progress


def test_a_bar_names_its_end_and_cuts_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a network of a long name on changed films of a data set of a long name"
    assert list(progress(range(3), desc=name, unit="film")) == [0, 1, 2]
    last = capsys.readouterr().err.strip().split("\r")[-1]
    assert last.startswith(f"{name}: 100%|") and "3/3" in last and last.endswith("film/s]")


def test_with_nothing_to_do_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([], desc="drawing")) == []
    progress(iter([]), desc="drawing", total=0).close()
    assert capsys.readouterr().err == ""


def test_an_executed_notebook_keeps_the_last_line_of_a_bar_and_the_log_sees_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redraws = [f"sys.stdout.write('\\rbar: {done}%|##| {done}/100')\nsys.stdout.flush()" for done in (10, 50, 100)]
    declared = nbformat.v4.new_code_cell('run: str = "toy"  # name\nseed: int = 0', metadata={"tags": ["parameters"]})
    cells = [declared, nbformat.v4.new_code_cell("\n".join(["import sys", *redraws]))]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "03_training.ipynb")
    monkeypatch.setattr(parameters, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(parameters, "load", lambda path: {"run": "toy", "seed": 0})
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    executed = nbformat.read(notebooks.execute("03_training", "toy.yaml"), as_version=4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert [output["text"] for output in outputs] == ["bar: 100%|##| 100/100"]
    assert "bar: 50%|##| 50/100" in capsys.readouterr().err


def test_in_a_notebook_a_bar_goes_to_standard_output_and_redraws_often_only_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(front_end, "in_notebook", lambda: True)
    for live, interval in ((True, 0.5), (False, 15.0)):
        monkeypatch.setattr(front_end, "live", lambda live=live: live)
        bar = progress(range(3), desc="drawing")
        assert bar.mininterval == interval and list(bar) == [0, 1, 2]
        said = capsys.readouterr()
        assert "drawing: 100%" in said.out and said.err == ""
