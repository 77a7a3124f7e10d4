from __future__ import annotations

import numpy as np

from nbhelpers.images.masks import box_mask, resize_mask


def test_a_thin_structure_does_not_vanish_when_a_mask_shrinks():
    mask = np.zeros((64, 64), bool)
    mask[10, 5:40] = True
    small = resize_mask(mask, 16)
    assert small.any() and not small[4:].any()
    assert not resize_mask(np.zeros((64, 64), bool), 16).any()


def test_box_mask_marks_pixels_whose_centre_lies_in_a_box() -> None:
    mask = box_mask("[[256, 512, 256, 128]]", 1024, 1024, 8)
    expected = np.zeros((8, 8), bool)
    expected[4, 2:4] = True
    np.testing.assert_array_equal(mask, expected)
    # The right half of the film, stretched to the same size: only what the crop shows is left.
    cropped = box_mask("[[256, 512, 512, 128]]", 1024, 1024, 8, crop=(512, 0, 1024, 1024))
    expected = np.zeros((8, 8), bool)
    expected[4, 0:4] = True
    np.testing.assert_array_equal(cropped, expected)
