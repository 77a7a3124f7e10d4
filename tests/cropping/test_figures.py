"""Contact sheets of crops and exclusions, from images whose boxes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nbhelpers.cropping import figures
from nbhelpers.images.files import write_png


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Four images of 64 pixels under two crops; one is left out. Inside its box each is white."""
    rows, raw = [], []
    for number in range(4):
        image = np.zeros((64, 64), np.uint8)
        image[16:48, 8:56] = 255
        write_png(tmp_path / "simulator" / f"images/{number}.png", image)
        raw.append({"source": "simulator", "image_id": str(number), "path": f"images/{number}.png"})
        for crop, box in (("content", (8, 16, 56, 48)), ("none", (0, 0, 64, 64))):
            fit = number < 3
            rows.append(
                {
                    **{"source": "simulator", "image_id": str(number), "label": ("normal", "pneumonia")[number % 2]},
                    **{"crop": crop, "status": "ok" if fit else "excluded", "reason": "" if fit else "too_small"},
                    **dict(zip(("left", "top", "right", "bottom"), box, strict=True)),
                    **{"path": f"{crop}/{number}.png", "simulated": True},
                }
            )
    return tmp_path, pd.DataFrame(rows), pd.DataFrame(raw)


def test_the_crop_below_each_image_is_what_its_box_holds(made: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    folder, cropped, raw = made
    figure = figures.figure_crops(cropped, folder, raw, columns=3)
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 2 * 3  # `none` keeps all and is not shown
    for above, below in zip(shown[:3], shown[3:], strict=True):
        assert len(above.patches) == 1
        tile = np.asarray(below.images[0].get_array())
        # Four times as large as the file: the edges are mixed with the black around the box.
        assert tile.shape == (128, 192) and (tile[8:-8, 8:-8] == 255).all()
    assert figure.get_suptitle().endswith("(simulated)")


def test_images_left_out_stand_with_their_reasons_in_words(made: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    figure = figures.figure_exclusions(made[1], made[0], made[2])
    assert [axis.get_title() for axis in figure.axes if axis.images] == ["too small"]
    assert figure.get_suptitle() == "Excluded: 1 of 4 (simulated)"


def test_where_nothing_is_left_out_a_line_says_so(
    made: tuple[Path, pd.DataFrame, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cropped, raw = made
    figures.save_exclusions(cropped[cropped["status"] == "ok"], folder, raw, stage=None)  # would fail if it saved
    assert capsys.readouterr().out == "no exclusions: all 3 images passed quality control\n"
