"""Distances between the outlines of two masks: HD95 by either definition, and the normalised surface Dice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nbhelpers.errors import UserError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

# `directed`: the larger of the two directions' 95th percentiles (Metrics Reloaded, MONAI); `pooled`: one percentile
# over the distances of both directions (MedPy). On one pair of masks they give 24.3 and 11.0 pixels.
DEFINITIONS = ("directed", "pooled")
PAIRS = 2_000_000  # of outline pixels, up to which all are compared
EXACT_SIDE = 1500  # pixels of the crop, up to which the terms of squared distances are exact in float32
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Surfaces:
    """Distances in pixels from each outline pixel of one mask to the other's outline, both ways, float64 `(n,)`.

    An outline pixel belongs to the mask and has one of its four neighbours, or the image's edge, outside. Where a mask
    is empty both arrays are, and `diagonal` (of the image, pixels) stands in for a distance.
    """

    from_mask: Floats
    from_truth: Floats
    empty_mask: bool
    empty_truth: bool
    diagonal: float

    def hd95(self, definition: str = "directed") -> float:
        """95th percentile of the distances, pixels: 0 when both masks are empty, the diagonal when one is.

        Raises
        ------
        UserError
            For a definition that is not among `DEFINITIONS`.
        """
        if definition not in DEFINITIONS:
            raise UserError(f"no HD95 is called {definition!r}", "hd95_definition", f"use {' or '.join(DEFINITIONS)}")
        if self.empty_mask or self.empty_truth:
            return 0.0 if self.empty_mask and self.empty_truth else self.diagonal
        if definition == "pooled":
            return _percentile_95(np.concatenate([self.from_mask, self.from_truth]))
        return max(_percentile_95(self.from_mask), _percentile_95(self.from_truth))

    def nsd(self, tolerance: float) -> float:
        """Share of both outlines within `tolerance` pixels of the other (Nikolov et al. 2018, by count), 0 to 1."""
        if self.empty_mask or self.empty_truth:
            return float(self.empty_mask and self.empty_truth)
        near = np.count_nonzero(self.from_mask <= tolerance) + np.count_nonzero(self.from_truth <= tolerance)
        return near / (len(self.from_mask) + len(self.from_truth))


def outline(mask: Mask) -> Mask:
    """Pixels of a mask `(h, w)` that have a 4-neighbour, or the image's edge, outside it: bool `(h, w)`."""
    return _outline(np.ascontiguousarray(mask, dtype=np.uint8)).view(np.bool_)


def surfaces(mask: Mask, truth: Mask) -> Surfaces:
    """Both directions' surface distances of two bool masks `(h, w)`; other shapes are a `UserError`.

    Short outlines are compared pixel by pixel; for long ones the nearest neighbours are found in a k-d tree, except of
    pixels that both outlines share, which saves most of the work where a mask is good.
    """
    if mask.shape != truth.shape or mask.ndim != 2:
        raise UserError(f"masks of shape {mask.shape} and {truth.shape} cannot be compared", "masks", "resize one")
    diagonal = math.hypot(*mask.shape)
    is_empty, is_truth_empty = not mask.any(), not truth.any()
    if is_empty or is_truth_empty:
        return Surfaces(np.empty(0), np.empty(0), is_empty, is_truth_empty, diagonal)
    a, b = (np.ascontiguousarray(values, dtype=np.uint8) for values in (mask, truth))
    left, top, width, height = cv2.boundingRect(cv2.bitwise_or(a, b))
    a, b = (_outline(values[top : top + height, left : left + width]) for values in (a, b))
    if cv2.countNonZero(a) * cv2.countNonZero(b) <= PAIRS and max(width, height) <= EXACT_SIDE:
        return Surfaces(*_all_distances(a, b), False, False, diagonal)
    return Surfaces(_distances(a, b), _distances(b, a), False, False, diagonal)


def _outline(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    inside = cv2.erode(mask, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
    return mask ^ np.asarray(inside, dtype=np.uint8)


def _all_distances(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Both directions at once: `|p|^2 - 2 p.q + |q|^2` of all pairs is one product of matrices."""
    p, q = (cv2.findNonZero(values).reshape(-1, 2).astype(np.float32) for values in (a, b))
    left = np.column_stack([-2 * p, (p * p).sum(1), np.ones(len(p), np.float32)])
    right = np.column_stack([q, np.ones(len(q), np.float32), (q * q).sum(1)])
    squares = left @ right.T
    return np.sqrt(squares.min(1), dtype=np.float64), np.sqrt(squares.min(0), dtype=np.float64)


def _distances(from_: NDArray[np.uint8], to: NDArray[np.uint8]) -> Floats:
    found = np.zeros(cv2.countNonZero(from_))
    wanted = cv2.findNonZero(cv2.subtract(from_, to))
    if wanted is not None:
        ends, points = (values.reshape(-1, 2).astype(np.float64) for values in (cv2.findNonZero(to), wanted))
        # The shared pixels come first, at 0: order does not matter to a percentile. An unbalanced tree is built
        # faster, and pixels lie evenly enough for it.
        found[-len(points) :] = cKDTree(ends, balanced_tree=False, compact_nodes=False, leafsize=32).query(points)[0]
    return found


def _percentile_95(values: Floats) -> float:
    """`np.percentile(values, 95)`, which takes as long as the distances do for a small outline."""
    place = 0.95 * (len(values) - 1)
    low = int(place)
    ranked = np.partition(values, (low, min(low + 1, len(values) - 1)))
    return float(ranked[low] + (place - low) * (ranked[min(low + 1, len(values) - 1)] - ranked[low]))
