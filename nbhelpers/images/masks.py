"""Boxes and masks, and one turned into the other."""

from __future__ import annotations

import json
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.errors import UserError

Mask = NDArray[np.bool_]


class Box(NamedTuple):
    """Pixels `left <= x < right`, `top <= y < bottom`."""

    left: int
    top: int
    right: int
    bottom: int


def mask_box(mask: Mask) -> Box | None:
    """Smallest box around a mask's pixels, or None when it has none."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if rows.size == 0:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def box_mask(boxes: str, width: int, height: int, size: int, crop: tuple[int, int, int, int] | None = None) -> Mask:
    """Boxes of one film as a bool mask `(size, size)` over the film as a network sees it.

    `boxes` is the JSON of the films table, in pixels of the film of `width` times `height`; `crop` is the part of the
    film, (left, top, right, bottom), that was resized to `size`, the whole film when None. A pixel of the mask is true
    when its centre lies in a box.
    """
    left, top, right, bottom = crop or (0, 0, width, height)
    centres_x = left + (np.arange(size) + 0.5) * (right - left) / size
    centres_y = top + (np.arange(size) + 0.5) * (bottom - top) / size
    mask = np.zeros((size, size), dtype=np.bool_)
    for x, y, box_width, box_height in json.loads(boxes):
        across = (centres_x >= x) & (centres_x < x + box_width)
        down = (centres_y >= y) & (centres_y < y + box_height)
        mask |= down[:, None] & across[None, :]
    return mask


def resize_mask(mask: Mask, size: int, box: tuple[int, int, int, int] | None = None) -> Mask:
    """A mask `(h, w)`, cut to `box` (left, top, right, bottom) and brought to `(size, size)`.

    A pixel is kept when half of it or more is covered; of a structure too thin for that, its best covered pixels are.
    """
    if box is not None:
        left, top, right, bottom = box
        mask = mask[top:bottom, left:right]
    if mask.size == 0:
        raise UserError("the crop holds no pixel", "film_crop", "use another crop")
    shrinking = min(mask.shape) >= size
    covered = cv2.resize(
        mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    peak = float(covered.max())
    return covered >= min(0.5, peak) if peak > 0 else np.zeros((size, size), dtype=bool)
