"""The simulator's masks, cut and shrunk as the images that a network sees."""

import cv2
import numpy as np
import pandas as pd
import pytest

from nbhelpers.errors import UserError
from nbhelpers.prompting import drawing
from nbhelpers.training.masks import SOURCES, load_masks

BOX = {"left": 8, "top": 4, "right": 72, "bottom": 68}  # 64 pixels, shrunk to 32


@pytest.fixture
def run(tmp_path):
    """A run with one image of each simulated source: lungs on the left half, a lesion at its foot."""
    for source, width in zip(SOURCES, (16, 32), strict=True):
        truth = np.zeros((80, 80), np.uint8)
        truth[4:68, 8 : 8 + width] |= 1
        truth[52:68, 8 : 8 + width] |= 2
        (folder := tmp_path / "01_prompting" / source / "truth").mkdir(parents=True)
        cv2.imwrite(str(folder / "p1.png"), truth)
    return tmp_path


def test_masks_are_cut_to_the_crop_and_shrunk_with_the_image_source_by_source(run):
    rows = [{"image_id": f"{source}/p1", "source": source, **BOX} for source in SOURCES]
    found = load_masks(run, pd.DataFrame(rows), 32)[:]
    assert found.shape == (2, 2, 32, 32) and found.dtype == np.uint8
    for (lesion, lungs), width in zip(found, (8, 16), strict=True):
        assert (lungs[:, :width] == 255).all() and (lungs[:, width:] == 0).all()
        assert (lesion[24:, :width] == 255).all() and lesion.sum() == 255 * 8 * width


def test_a_pixel_that_is_part_lesion_has_its_share(run):
    row = {"image_id": "p1", "source": SOURCES[0], "left": 0, "top": 0, "right": 80, "bottom": 80}
    lesion, lungs = load_masks(run, pd.DataFrame([row]), 5)[:][0]  # 16 pixels each: of 24 columns a whole and a half
    np.testing.assert_array_equal(lungs[1], [128, 128, 0, 0, 0])
    assert lesion[3, 0] == round(255 * 0.5 * 12 / 16)


def test_an_image_without_a_mask_or_with_one_of_another_size_is_named(run):
    row = {"image_id": "p2", "source": SOURCES[0], **BOX}
    with pytest.raises(UserError, match=r"no mask of this image.*p2.png"):
        load_masks(run, pd.DataFrame([row]), 32)[:]
    with pytest.raises(UserError, match="the mask has 80 x 80 pixels, the crop ends at 90, 68"):
        load_masks(run, pd.DataFrame([row | {"image_id": "p1", "right": 90}]), 32)[:]
    with pytest.raises(UserError):
        load_masks(run, pd.DataFrame([row | {"image_id": "../../../secret"}]), 32)[:]


def test_the_sources_with_masks_are_the_simulated_ones():
    assert set(SOURCES) == {name for name in drawing.SOURCES if name.startswith("simulator")}
