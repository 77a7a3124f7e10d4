from __future__ import annotations

import numpy as np
import pytest

from nbhelpers.errors import UserError
from nbhelpers.images.masks import Box, box_mask, mask_box, resize_mask


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


def test_the_box_of_a_mask_holds_its_pixels_and_no_row_or_column_more():
    mask = np.zeros((20, 30), bool)
    mask[4, 7] = mask[11, 9] = True
    assert mask_box(mask) == Box(left=7, top=4, right=10, bottom=12)
    assert mask_box(np.zeros((20, 30), bool)) is None


def test_a_mask_is_cut_to_its_box_before_it_is_resized_and_an_empty_box_is_an_error():
    mask = np.zeros((40, 40), bool)
    mask[10:20, 20:40] = True
    np.testing.assert_array_equal(resize_mask(mask, 10, (20, 10, 40, 30)), np.arange(10)[:, None] < np.full(10, 5))
    with pytest.raises(UserError, match="holds no pixel"):
        resize_mask(mask, 10, (5, 5, 5, 20))
