"""What the figures show, read from what they draw."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from segmentation.segmentation_fixture import disc
from segmentation.study_fixture import study

from nbhelpers.segmentation import figures, tables


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(figure: Any) -> str:
    return " ".join(text.get_text() for text in figure.findobj(plt.Text))


def test_figure_6_has_the_bars_of_the_published_selection_and_the_gap_of_choice_alone(found: dict[str, Any]) -> None:
    figure = figures.figure_6(found["comparison"], found["study"], "directed")
    hard = found["comparison"].query("selection == 'specialist' and extreme == 'hard'").iloc[0]
    dice, hd95 = figure.axes[:2]
    heights = [bar.get_height() for bar in dice.patches]
    assert heights[::2] == pytest.approx([hard["mean_a"], hard["mean_b"]])
    assert f"gap {hard['difference']:+z.2f}\nby selection\n{hard['swap_null']:+z.2f}" in texts(figure)
    assert [bar.get_height() for bar in hd95.patches][::2] == pytest.approx([hard["hd95_a"], hard["hd95_b"]])
    assert "stand-in (no omnimodel)" in texts(figure) and "published" not in texts(figure)


def test_published_values_are_marks_on_sets_of_the_same_task_alone(found: dict[str, Any]) -> None:
    busi = found["comparison"].assign(dataset="busi")
    figure = figures.figure_6(busi, replace(found["study"], names={"busi": "Breast"}), "pooled")
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert list(marks[0].get_ydata()) == [0.031, 0.211]
    assert "other cases and models" in texts(figure) and "HD95, pooled" in texts(figure)


# Linear RGB as a deuteranope sees it (Viénot, Brettel, Mollon 1999).
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


def test_hit_missed_extra_and_the_image_are_told_apart_in_grey_and_without_red_and_green() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 96, 3)).astype(np.uint8)
    truth, mask = disc(96), disc(96, (40, 60))
    shown = figures.error_overlay(image, mask, truth)
    kinds = {"hit": mask & truth, "missed": truth & ~mask, "extra": mask & ~truth, "image": ~mask & ~truth}
    assert (np.ptp(shown[kinds["image"]].astype(int), axis=1) == 0).all(), "what is neither stays grey"
    seen = ((shown / 255) ** 2.2 @ DEUTERANOPIA.T).clip(0, 1) ** (1 / 2.2)
    for name, picture in (
        ("grey", shown @ (0.299, 0.587, 0.114)),
        ("deuteranopia", 255 * seen @ (0.299, 0.587, 0.114)),
    ):
        ranges = sorted((picture[where].min(), picture[where].max()) for where in kinds.values())
        gaps = [after[0] - before[1] for before, after in pairwise(ranges)]
        assert min(gaps) > 30, f"{name}: levels {ranges} of 256 must lie apart"
    for name, colour in (("hit", figures.HIT), ("missed", figures.MISSED_COLOUR), ("extra", figures.EXTRA)):
        assert np.abs(shown[kinds[name]] - np.array(to_rgb(colour)) * 255).max() <= 1, "the legend's colours"


def test_cases_show_what_both_models_drew_with_the_dice_of_the_table(found: dict[str, Any]) -> None:
    figure = figures.worst_and_best(found["study"])
    assert len(figure.axes) == 9 and "refused" in texts(figure), "the case that lost most has no answer"


def test_scatter_shades_what_hardest_would_choose(found: dict[str, Any]) -> None:
    figure = figures.paired_scatter(found["study"], 0.2)
    assert len(figure.axes[0].collections[0].get_offsets()) == 12
    assert "of 12" in texts(figure) and "stand-in" in texts(figure)


def test_sweep_curve_seeds_and_kinds_are_drawn(found: dict[str, Any], tmp_path: Any) -> None:
    sweep = figures.threshold_sweep(found["sweep"], found["study"])
    assert len([line for line in sweep.axes[0].lines if len(line.get_xdata()) == 3]) == 6
    curve = figures.difficulty_curve(found["curve"], found["study"])
    assert len(curve.axes) == found["curve"]["covariate"].nunique()
    seeds = figures.seeds(found["seeds"], found["study"])
    assert len(seeds.axes[0].patches) == 8 and "two seeds" in texts(seeds)
    kinds = figures.answer_kinds(tables.kinds(found["scores"]), found["study"])
    assert sorted(bar.get_width() for bar in kinds.axes[0].patches)[0] == 1
