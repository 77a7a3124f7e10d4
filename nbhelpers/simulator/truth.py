"""Masks of a simulated film, as they are stored beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbhelpers.images.files import read_gray
from nbhelpers.images.masks import Mask
from nbhelpers.simulator.film import Film

LUNGS_BIT, LESION_BIT, OVERLAY_BIT = 1, 2, 4


def pack_truth(film: Film) -> NDArray[np.uint8]:
    """A film's masks as one uint8 image: bit 1 lungs, bit 2 lesion, bit 4 overlay."""
    return np.asarray(
        film.lungs * np.uint8(LUNGS_BIT) | film.lesion * np.uint8(LESION_BIT) | film.overlay * np.uint8(OVERLAY_BIT),
        dtype=np.uint8,
    )


def read_truth(path: Path | str) -> tuple[Mask, Mask, Mask]:
    """Lungs, lesion and overlay, each bool (h, w), from a truth image that the simulator wrote."""
    bits = read_gray(path)
    return bits & LUNGS_BIT > 0, bits & LESION_BIT > 0, bits & OVERLAY_BIT > 0
