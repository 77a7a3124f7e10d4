"""The data-flow diagram of a hand-made run: every count and reason, inside the page."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from reporting import run_fixture

from nbhelpers.reporting import flow, flow_diagram, run_facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def test_figure_shows_every_count_and_reason_and_marks_what_is_simulated(run: Path) -> None:
    counts = flow.flow_counts(run_facts.read(run))
    figure = flow_diagram.figure_flow(counts)
    shown = " ".join(" ".join(text.get_text().split()) for text in figure.axes[0].texts)
    for row in counts.to_dict("records"):
        what = f"{flow_diagram.NAMES[row['step']]}: {row['n']}" if row["kept"] else row["reason"].replace("_", " ")
        assert what in shown
    assert shown.count("(simulated)") == 3
    plt.close(figure)


def test_figures_texts_stay_inside_the_page(run: Path) -> None:
    figure = flow_diagram.figure_flow(flow.flow_counts(run_facts.read(run)))
    figure.canvas.draw()
    page = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, text.get_text()
    plt.close(figure)
