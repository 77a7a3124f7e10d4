"""How well a map falls on a mask (pointing game, energy inside, IoU), how alike two maps are, and Dice of two masks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from nbhelpers.errors import UserError

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def pointing_game(maps: ArrayLike, masks: ArrayLike) -> Floats:
    """Whether each map's peak lies in the mask (Zhang et al. 2018, without tolerance): 1 or 0, float64 `(n,)`.

    Of several equal peaks, the share that does. A map that is zero everywhere points nowhere and counts as a miss.
    """
    values, inside = _checked(maps, masks)
    peak = values.max(axis=1, keepdims=True)
    at_peak = (values == peak) & (peak > 0)
    return (at_peak & inside).sum(axis=1) / np.maximum(at_peak.sum(axis=1), 1)


def energy_inside(maps: ArrayLike, masks: ArrayLike) -> Floats:
    """Share of each map's sum that lies in the mask (Wang et al. 2020): 0 to 1, NaN for a map without any."""
    values, inside = _checked(maps, masks)
    total = values.sum(axis=1)
    return np.divide((values * inside).sum(axis=1), total, out=np.full(len(values), np.nan), where=total > 0)


def iou(maps: ArrayLike, masks: ArrayLike, threshold: float = 0.5) -> Floats:
    """Overlap of mask and map, the map cut at `threshold` times its own maximum: intersection over union, 0 to 1.

    A share of the maximum, since maps of other networks and of no network have other units. A map that is zero
    everywhere overlaps nothing.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"threshold {threshold}", "saliency_iou_threshold", "use a share of the maximum, 0 to 1")
    values, inside = _checked(maps, masks)
    peak = values.max(axis=1, keepdims=True)
    bright = (values >= threshold * peak) & (peak > 0)
    return (bright & inside).sum(axis=1) / np.maximum((bright | inside).sum(axis=1), 1)


def rank_similarity(maps: ArrayLike, others: ArrayLike) -> Floats:
    """Spearman correlation of two maps of each film, -1 to 1; NaN where either is flat.

    Between a trained and a weight-randomised network it should be near zero: a method whose maps survive the loss of
    all that was learnt shows the film, not the network (Adebayo et al. 2018).
    """
    both = [np.asarray(values, dtype=np.float64) for values in (maps, others)]
    if both[0].shape != both[1].shape:
        raise UserError(f"maps of shape {both[0].shape} and {both[1].shape} cannot be compared")
    a, b = (rankdata(values.reshape(len(values), -1), axis=1) for values in both)
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (a, b))
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.divide((a * b).sum(axis=1), norm, out=np.full(len(a), np.nan), where=norm > 0)


def _checked(maps: ArrayLike, masks: ArrayLike) -> tuple[Floats, Mask]:
    values, inside = np.asarray(maps, dtype=np.float64), np.asarray(masks, dtype=bool)
    if values.ndim != 3 or values.shape != inside.shape:
        raise UserError(f"maps of shape {values.shape} do not fit masks of shape {inside.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise UserError("a map holds negative values, NaN or infinity")
    return values.reshape(len(values), -1), inside.reshape(len(values), -1)


def dice(mask: Mask, truth: Mask) -> float:
    """Twice the shared pixels over the sum of both masks' pixels, 0 to 1; 1 when both bool masks are empty."""
    total = np.count_nonzero(mask) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(mask & truth) / total if total else 1.0


def dice_shifted(mask: Mask, truth: Mask, share: float = 0.03) -> float:
    """The best Dice that any shift of the mask by whole pixels, up to `share` of either side, reaches: 0 to 1.

    What it gains over `dice` is geometry, not recognition. Pixels that a shift moves out of the image are lost.
    """
    height, width = mask.shape
    down, across = round(share * height), round(share * width)
    if not mask.any() or not truth.any() or not (down or across):
        return dice(mask, truth)
    padded = np.pad(truth.astype(np.float32), ((down, down), (across, across)))
    shared = cv2.matchTemplate(padded, mask.astype(np.float32), cv2.TM_CCORR)
    row, column = np.unravel_index(int(shared.argmax()), shared.shape)
    move = np.array([[1, 0, column - across], [0, 1, row - down]], dtype=np.float32)
    moved = cv2.warpAffine(mask.astype(np.uint8), move, (width, height), flags=cv2.INTER_NEAREST) > 0
    return max(dice(mask, truth), dice(moved, truth))


def cldice(mask: Mask, truth: Mask) -> float:
    """Centreline Dice (Shit et al. 2021): harmonic mean of the shares of each skeleton inside the other mask, 0 to 1.

    For vessels; of a blob it says nothing. 1 when both masks are empty, 0 when one is. Without scikit-image, which
    draws the skeletons, a `UserError`.
    """
    try:
        from skimage.morphology import skeletonize
    except ImportError:
        raise UserError("clDice needs scikit-image", "environment", "pip install scikit-image") from None

    if not mask.any() or not truth.any():
        return float(not mask.any() and not truth.any())
    line, true_line = skeletonize(mask), skeletonize(truth)
    precision = np.count_nonzero(line & truth) / np.count_nonzero(line)
    sensitivity = np.count_nonzero(true_line & mask) / np.count_nonzero(true_line)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0
