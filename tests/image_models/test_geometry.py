"""Pictures in a shape that models draw, and back."""

import cv2
import numpy as np
import pytest

from nbhelpers.image_models import geometry
from nbhelpers.metrics.overlap import dice


@pytest.mark.parametrize("shape", [(96, 96), (500, 574), (584, 565), (288, 384), (352, 1000), (90, 60)])
def test_padding_reaches_a_listed_ratio_and_is_undone(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, np.uint8)
    cv2.ellipse(mask, (shape[1] // 2, shape[0] // 3), (shape[1] // 4, shape[0] // 5), 0, 0, 360, 255, -1)
    canvas, name = geometry.padded(mask)
    width, height = geometry.RATIOS[name]
    assert canvas.shape[1] / canvas.shape[0] == pytest.approx(width / height, rel=0.01)
    drawn = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
    back = geometry.unpadded(drawn, shape)
    assert back.shape == shape and dice(back > 127, mask > 127) > 0.98


@pytest.mark.parametrize("shape", [(96, 96), (500, 574), (584, 565), (352, 1000), (90, 61)])
@pytest.mark.parametrize("side", [None, 1024])
def test_a_square_comes_back_in_its_place_from_whatever_size_it_was_drawn(shape, side):
    image = np.zeros((*shape, 3), np.uint8)
    cv2.ellipse(image, (shape[1] // 2, shape[0] // 3), (shape[1] // 4, shape[0] // 5), 0, 0, 360, (255, 80, 9), -1)
    canvas = geometry.squared(image, side)
    assert canvas.shape[0] == canvas.shape[1] == side or (side is None and canvas.shape[0] % 16 == 0)
    assert canvas.shape[0] == canvas.shape[1]
    drawn = cv2.resize(canvas, (1248, 1248), interpolation=cv2.INTER_LINEAR)
    back = geometry.unsquared(drawn, shape)
    assert back.shape == image.shape and dice(back[..., 0] > 127, image[..., 0] > 127) > 0.97
    if side is None:
        assert (geometry.unsquared(canvas, shape) == image).all(), "without a change of size nothing is resampled"
