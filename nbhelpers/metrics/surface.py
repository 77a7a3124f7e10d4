"""Distances between the outlines of two masks: HD95 by either definition, and the normalised surface Dice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nbhelpers.errors import UserError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Points = NDArray[np.int64]

# `directed`: the larger of the two directions' 95th percentiles (Metrics Reloaded, MONAI); `pooled`: one percentile
# over the distances of both directions (MedPy). On one pair of masks they give 24.3 and 11.0 pixels.
DEFINITIONS = ("directed", "pooled")
# A chamfer distance of steps 1, 1.4 and 2.1969 is at most 1.92 % longer and 1.76 % shorter than the Euclidean one.
LONGEST, SHORTEST = 1.0193, 0.9824
# Between blocks of 2 pixels a side, a distance is off by their diagonal at most.
SLACK = {1: 0.0, 2: math.sqrt(2) + 1e-4}
APART = 0.2  # share of an outline that lies on the other, below which blocks are worth it
ROUNDED = 4.1  # pixels of chamfer distance, up to which its square rounds to the square of the true one
PAIRS = 2_000_000  # of outline pixels, up to which all are compared
ALONE = 200_000  # multiplications, up to which a BLAS takes one thread for a product of matrices (OpenBLAS: 262,144)
EXACT_SIDE = 1_500  # pixels a side, up to which the terms of squared distances are exact in float32
CHAMFER_SIDE = 5_000  # pixels a side: OpenCV's chamfer distances end at 8,192 pixels
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True)
class Surfaces:
    """The outlines of two masks, and how far apart they are.

    An outline pixel belongs to the mask and has one of its four neighbours, or the image's edge, outside. Where a mask
    is empty there is no way from one to the other, and `diagonal` (of the image, pixels) stands in for a distance.
    """

    ways: tuple[_Way, ...]  # from the mask's outline to the truth's, and back; none where a mask is empty
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
        if not self.ways:
            return 0.0 if self.empty_mask and self.empty_truth else self.diagonal
        if definition == "pooled":
            return _percentile_95(self.ways)
        nearer, farther = sorted(self.ways, key=lambda way: float(way.rough.mean()))
        return _percentile_95([nearer], _percentile_95([farther]))

    def nsd(self, tolerance: float) -> float:
        """Share of both outlines within `tolerance` pixels of the other (Nikolov et al. 2018, by count), 0 to 1."""
        if not self.ways:
            return float(self.empty_mask and self.empty_truth)
        near = 0
        for way in self.ways:
            surely, perhaps = way.most(way.rough) <= tolerance, way.least(way.rough) <= tolerance
            near += int(surely.sum() + (way.exact(perhaps & ~surely) <= tolerance).sum())
        return near / sum(len(way.rough) for way in self.ways)


def outline(mask: Mask) -> Mask:
    """Pixels of a mask `(h, w)` that have a 4-neighbour, or the image's edge, outside it: bool `(h, w)`."""
    return _outline(np.ascontiguousarray(mask, dtype=np.uint8)).view(np.bool_)


def surfaces(mask: Mask, truth: Mask) -> Surfaces:
    """What lies between two bool masks `(h, w)`; other shapes are a `UserError`."""
    if mask.shape != truth.shape or mask.ndim != 2:
        raise UserError(f"masks of shape {mask.shape} and {truth.shape} cannot be compared", "masks", "resize one")
    diagonal = math.hypot(*mask.shape)
    is_empty, is_truth_empty = not mask.any(), not truth.any()
    if is_empty or is_truth_empty:
        return Surfaces((), is_empty, is_truth_empty, diagonal)
    both = [np.ascontiguousarray(values, dtype=np.uint8) for values in (mask, truth)]
    left, top, width, height = cv2.boundingRect(cv2.bitwise_or(*both))
    lines = [_outline(values[top : top + height, left : left + width]) for values in both]
    a, b = (np.stack(np.divmod(np.flatnonzero(line.view(np.bool_)), width)[::-1], 1) for line in lines)
    few = len(a) * len(b) <= PAIRS and max(width, height) <= EXACT_SIDE
    shared = [end[points[:, 1], points[:, 0]] > 0 for points, end in ((a, lines[1]), (b, lines[0]))]
    known = [_all_distances(*pair) if few else None for pair in ((a, b, shared[0]), (b, a, shared[1]))]
    block = 2 if shared[0].mean() < APART else 1
    ways = _Way(a, b, lines[1], known[0], block), _Way(b, a, lines[0], known[1], block)
    return Surfaces(ways, False, False, diagonal)


def _outline(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    inside = cv2.erode(mask, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0.0)
    return mask ^ np.asarray(inside, dtype=np.uint8)


def _all_distances(starts: Points, ends: Points, shared: Mask) -> Floats:
    """From each start to the nearest end: `|q|^2 - 2 p.q` of all pairs is a product of matrices, and `|p|^2` is added.

    In blocks so small that no BLAS starts threads: beside other work these wait for each other, twenty times as long.
    What both outlines share is at 0.
    """
    apart = starts[~shared].astype(np.float32)
    p = np.column_stack([apart, np.ones(len(apart), np.float32)])
    q = np.ones((3, len(ends)), dtype=np.float32)
    q[:2] = ends.T
    q[2], q[:2] = (q[:2] * q[:2]).sum(0), -2 * q[:2]
    step = max(1, ALONE // (len(q) * len(ends)))
    found, least = np.zeros(len(starts)), np.empty(len(apart), dtype=np.float32)
    for start in range(0, len(apart), step):
        np.min(p[start : start + step] @ q, axis=1, out=least[start : start + step])
    found[~shared] = np.sqrt(least + (apart * apart).sum(1))
    return found


@dataclass(frozen=True)
class _Way:
    """From each pixel `(x, y)` of one outline `(n, 2)` to the nearest of another `(m, 2)`, which `end` draws.

    Where not all distances are known, chamfer distances come first, between blocks of `block` pixels a side: they cost
    a third of the exact ones, or a tenth, and bound them, so that the few that a result hangs on are looked up.
    """

    starts: Points
    ends: Points
    end: NDArray[np.uint8]
    known: Floats | None
    block: int

    @cached_property
    def rough(self) -> NDArray[np.floating]:
        """Each distance in pixels, no less than `least` and no more than `most` of it say, `(n,)`."""
        if self.known is not None:
            return self.known
        if max(self.end.shape) > CHAMFER_SIDE:
            return self._sought(self.starts)
        end, step = self.end, self.block
        if step > 1:
            end = np.pad(end, [(0, -side % step) for side in end.shape])
            end = end[::2] | end[1::2]
            end = end[:, ::2] | end[:, 1::2]
        chamfer = cv2.distanceTransform(1 - end, cv2.DIST_L2, cv2.DIST_MASK_5)
        x, y = self.starts.T // step
        return np.asarray(chamfer, dtype=np.float32)[y, x] * np.float32(step)

    def least(self, rough: Any) -> Any:
        """The shortest distance that may stand behind a rough one."""
        return rough if self.known is not None else rough / LONGEST - SLACK[self.block]

    def most(self, rough: Any) -> Any:
        """The longest distance that may stand behind a rough one."""
        return rough if self.known is not None else rough / SHORTEST + SLACK[self.block]

    def exact(self, wanted: Mask) -> Floats:
        """The distances of the `wanted` `(n,)` starts, in their order, pixels."""
        if self.known is not None:
            return self.known[wanted]
        rough = self.rough[wanted].astype(np.float64)
        found, far = np.sqrt(np.round(rough * rough)), (rough > ROUNDED) | (self.block > 1)
        found[far] = self._sought(self.starts[wanted][far]) if far.any() else 0.0
        return found

    def _sought(self, starts: Points) -> Floats:
        # An unbalanced tree is built faster, and pixels lie evenly enough for it.
        return np.asarray(cKDTree(self.ends, balanced_tree=False, compact_nodes=False, leafsize=64).query(starts)[0])


def _percentile_95(ways: Sequence[_Way], least: float = 0.0) -> float:
    """`np.percentile(distances, 95)` over all the ways, by the exact distances of those that may have its rank.

    No less than `least`, below which nothing is looked up.
    """
    rough = np.concatenate([way.rough for way in ways])
    place = 0.95 * (len(rough) - 1)
    low, high = int(place), min(int(place) + 1, len(rough) - 1)
    ranked = np.partition(rough, (low, high))
    first, second = float(ranked[low]), float(ranked[high])
    if ways[0].most(second) <= least:
        return least
    if ways[0].known is None:
        below, within = ways[0].most(rough) < ways[0].least(first), ways[0].least(rough) <= ways[0].most(second)
        parts = np.split(within & ~below, np.cumsum([len(way.rough) for way in ways])[:-1])
        exact = np.sort(np.concatenate([way.exact(part) for way, part in zip(ways, parts, strict=True)]))
        first, second = (float(exact[rank - np.count_nonzero(below)]) for rank in (low, high))
    return max(least, first + (place - low) * (second - first))
