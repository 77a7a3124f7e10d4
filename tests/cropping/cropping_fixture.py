"""A chest-like picture with frames, and boxes compared."""

from __future__ import annotations

import cv2
import numpy as np

from nbhelpers.images.masks import Box

ARMS = {
    "cropped": {"source": "simulator", "crop": "content"},
    "raw": {"source": "simulator", "crop": "none"},
    "margins": {"source": "simulator", "crop": "margins"},
}


def film(size: int = 256, seed: int = 0) -> np.ndarray:
    """A chest-like picture from ellipses: two dark lungs in a bright body, black air around, some grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    body = 1 / (1 + np.exp((((x - 0.5) / 0.46) ** 2 + ((y - 0.75) / 0.75) ** 4 - 1) * 12))
    lungs = sum(
        1 / (1 + np.exp((((x - centre) / 0.15) ** 2 + ((y - 0.45) / 0.27) ** 2 - 1) * 8)) for centre in (0.3, 0.7)
    )
    values = 15 + 165 * body - 120 * lungs + 12 * np.sin(40 * y) * body + rng.normal(0, 3, (size, size))
    return np.clip(values, 0, 255).astype(np.uint8)


def lung_box(size: int = 256) -> Box:
    return Box(int(0.15 * size), int(0.18 * size), int(0.85 * size), int(0.72 * size))


def holds(outer: Box, inner: Box, slack: int = 0) -> bool:
    return (
        outer.left <= inner.left + slack
        and outer.top <= inner.top + slack
        and outer.right >= inner.right - slack
        and outer.bottom >= inner.bottom - slack
    )


def framed(image: np.ndarray, borders: tuple[int, int, int, int], value: int) -> np.ndarray:
    left, top, right, bottom = borders
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=value)
