"""Pictures put into a shape that image models draw, and what came put back: geometry is known, never guessed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
STEP = 16  # pixels: sides of pictures that models take and draw are multiples of it

# Sizes that gemini-2.5-flash-image returns, by the ratio that is asked for: width, height.
RATIOS = {
    **{"1:1": (1024, 1024), "2:3": (832, 1248), "3:2": (1248, 832), "3:4": (864, 1184), "4:3": (1184, 864)},
    **{"4:5": (896, 1152), "5:4": (1152, 896), "9:16": (768, 1344), "16:9": (1344, 768), "21:9": (1536, 672)},
}


def resized(values: Pixels, shape: tuple[int, ...]) -> Pixels:
    """A grey map or RGB picture at another shape `(h, w)`: by area when shrinking, else bilinear."""
    if values.shape[:2] == shape[:2]:
        return values
    shrinking = values.shape[0] >= shape[0] and values.shape[1] >= shape[1]
    way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=way), dtype=np.uint8)


def padded(image: Pixels) -> tuple[Pixels, str]:
    """An image with a black margin right and below, so that it has a ratio of `RATIOS`, and that ratio's name.

    The ratio that needs least padding; asked for by name, the answer's geometry is then known.
    """
    height, width = image.shape[:2]

    def canvas(name: str) -> tuple[int, int]:
        across, down = RATIOS[name]
        return max(height, round(width * down / across)), max(width, round(height * across / down))

    name = min(RATIOS, key=lambda ratio: canvas(ratio)[0] * canvas(ratio)[1])
    return _margin(image, canvas(name)), name


def unpadded(answer: Pixels, shape: tuple[int, ...]) -> Pixels:
    """An answer to a `padded` image of `shape`, stretched to that image and its margin cut off: uint8, RGB or grey."""
    return resized(answer, padded(np.zeros(shape[:2], np.uint8))[0].shape)[: shape[0], : shape[1]]


def squared(image: Pixels, side: int | None = None) -> Pixels:
    """An image with a black margin right and below, so that it is a square whose side is a multiple of `STEP`.

    Stretched to `side` pixels where that is given.
    """
    own = _square_side(image.shape)
    canvas = _margin(image, (own, own))
    return resized(canvas, (side, side)) if side else canvas


def unsquared(answer: Pixels, shape: tuple[int, ...]) -> Pixels:
    """An answer of any size to a `squared` image of `shape`, stretched back and its margin cut off: uint8."""
    own = _square_side(shape)
    return resized(answer, (own, own))[: shape[0], : shape[1]]


def _square_side(shape: tuple[int, ...]) -> int:
    return -(-max(shape[:2]) // STEP) * STEP


def _margin(image: Pixels, canvas: tuple[int, int]) -> Pixels:
    edges = [(0, whole - part) for whole, part in zip(canvas, image.shape[:2], strict=True)]
    return np.pad(image, edges + [(0, 0)] * (image.ndim - 2))
