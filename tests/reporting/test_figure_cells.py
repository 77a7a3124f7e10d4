"""Where each figure was made: the very cell, not one that writes a table of the same name."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from reporting import run_fixture

from nbhelpers.reporting import figure_cells, report, run_facts
from nbhelpers.runs import parameters


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = run_fixture.write(tmp_path / "demo")
    (folder / "notebooks").mkdir()
    cells = {
        "04_external_validation": [
            'stage.write_table(spread, "seeds")',
            'stage.save_figure(figures.figure_2(results, by="title"), "figure_2")',
            'figures.save_spread(by_seed, stage)  # figure "seeds"',
        ],
        "03_training_raw": [
            'stage.save_figure(\n    curves, f"training_{place.name}"\n)',
            'drawn.save_drawn(result, stage, place.name)  # figure "drawn"',
        ],
    }
    for name, sources in cells.items():
        made = [new_code_cell(source, id=f"{name[:2]}-{number}") for number, source in enumerate(sources)]
        nbformat.write(new_notebook(cells=made), folder / "notebooks" / f"{name}.ipynb")
        (folder / "notebooks" / f"{name}.html").write_text("")
    return folder


def test_a_figure_is_of_the_cell_that_saves_it(run: Path) -> None:
    found = figure_cells.cells(run_facts.read(run))
    assert {name: cell.link for name, cell in found.items()} == {
        "figure_2": "notebooks/04_external_validation.html#cell-id=04-1",
        "seeds": "notebooks/04_external_validation.html#cell-id=04-2",
        "training_raw": "notebooks/03_training_raw.html#cell-id=03-0",
        "drawn_raw": "notebooks/03_training_raw.html#cell-id=03-1",
    }
    assert found["figure_2"].commit == "0123456789ab"


def test_the_report_links_each_caption_to_its_cell(run: Path) -> None:
    (run / "figures").mkdir(exist_ok=True)
    (run / "figures/figure_2.png").write_bytes(b"")
    page = report.write(run).read_text(encoding="utf-8")
    assert 'href="notebooks/04_external_validation.html#cell-id=04-1"' in page and "<code>0123456789ab</code>" in page


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("01_prompting", {"figure_1", "diversity", "requests"}),
        ("02_cropping", {"crops", "exclusions"}),
        ("04_external_validation", {"figure_2", "roc_pr", "seeds", "dose", "subgroups", "calibration", "robustness"}),
        ("05_interpretability", {"figure_3", "figure_4", "saliency"}),
        ("07_segmentation", {"figure_6", "segmentation_cases"}),
    ],
)
def test_each_notebook_of_the_project_names_its_figures(tmp_path: Path, stage: str, names: set[str]) -> None:
    folder = run_fixture.write(tmp_path / "demo")
    (folder / "notebooks").mkdir()
    run_fixture.write_segmentation(folder)
    (folder / "notebooks" / f"{stage}.ipynb").write_bytes((parameters.NOTEBOOKS / f"{stage}.ipynb").read_bytes())
    (folder / "notebooks" / f"{stage}.html").write_text("")
    assert names <= set(figure_cells.cells(run_facts.read(folder)))
