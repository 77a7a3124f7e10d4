"""Near-duplicate images, by perceptual hash and thumbnail."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.images.files import Gray

HASH_SIDE = 16
THUMBNAIL_SIDE = 64
DUPLICATE_CORRELATION = 0.995  # of the thumbnails of two images whose hashes are close


def thumbnail_of(image: Gray) -> Gray:
    """The image at `THUMBNAIL_SIDE` pixels a side, which hash and correlation look at: uint8 (64, 64)."""
    size = THUMBNAIL_SIDE, THUMBNAIL_SIDE
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float32]:
    """The first rows of the orthonormal DCT-II matrix, `(HASH_SIDE, THUMBNAIL_SIDE)`."""
    n, k = np.arange(THUMBNAIL_SIDE), np.arange(HASH_SIDE)[:, None]
    matrix = np.cos(np.pi * (2 * n + 1) * k / (2 * THUMBNAIL_SIDE)) * np.sqrt(2 / THUMBNAIL_SIDE)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def perceptual_hash(thumbnail: Gray) -> NDArray[np.uint64]:
    """The DCT perceptual hash of a 64 x 64 thumbnail: 256 bits as uint64 `(4,)`.

    The `phash` of the ImageHash package with `hash_size=16`, its DCT as a product of matrices in NumPy: the 16 x 16
    lowest frequencies, each a bit that says whether it is over their median.
    """
    cosines = _cosines()
    low = cosines @ thumbnail.astype(np.float32) @ cosines.T
    return np.packbits((low > np.median(low)).ravel()).view(np.uint64)


def near_duplicates(
    hashes: NDArray[np.uint64], thumbnails: NDArray[np.uint8], distance: int, block: int = 1024
) -> NDArray[np.int64]:
    """For each image the index of an earlier one that it nearly equals, or -1; the first of a group is kept.

    Two images are near-duplicates when at most `distance` of their 256 hash bits differ, and their thumbnails
    correlate by `DUPLICATE_CORRELATION`: films are alike, and a hash alone would take a patient's second film for
    the first. A `distance` under 0 looks for nothing. `hashes` are uint64 (n, 4), of `perceptual_hash`, `thumbnails`
    uint8 (n, 64, 64); `block` rows are compared with all earlier ones at a time: n^2 / 2 comparisons, each a few
    machine instructions.
    """
    count = len(hashes)
    twin = np.full(count, -1, dtype=np.int64)
    if distance < 0:
        return twin
    first_words = np.ascontiguousarray(hashes[:, 0])
    kept = np.empty(0, dtype=np.int64)
    for start in range(0, count, block):
        rows = np.arange(start, min(start + block, count))
        # An image that is itself a copy needs no copies: its first stands for it.
        earlier = np.concatenate([kept, rows])
        # Whatever is near in all four words is near in the first.
        near = np.bitwise_count(first_words[rows, None] ^ first_words[None, earlier]) <= distance
        near &= earlier[None] < rows[:, None]
        for place in np.flatnonzero(near.any(axis=1)):
            row = rows[place]
            candidates = earlier[near[place]]
            candidates = candidates[twin[candidates] < 0]
            bits = np.bitwise_count(hashes[candidates] ^ hashes[row]).sum(axis=1, dtype=np.int64)
            for other in candidates[bits <= distance]:
                if _correlation(thumbnails[row], thumbnails[other]) >= DUPLICATE_CORRELATION:
                    twin[row] = other
                    break
        kept = np.flatnonzero(twin[: rows[-1] + 1] < 0)
    return twin


def _correlation(first: Gray, second: Gray) -> float:
    a, b = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    a -= a.mean()
    b -= b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float(np.array_equal(first, second))
