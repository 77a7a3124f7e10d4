"""Where the radiograph lies in a raw image: within frames, clear of watermark and captions, with all of the lungs."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.images.files import Gray
from nbhelpers.images.masks import Box

Float = NDArray[np.float32]

WORKING_SIDE = 256  # pixels of the longer side on which boxes are looked for; a frame line stays a pixel wide
FRAME_TOLERANCE = 10  # gray levels that a frame's line of pixels may vary (JPEG, noise)
FRAME_REACH = 0.35  # share of the image that a frame may take on one side
EDGE_ZONE = 0.22  # captions and markers lie within this share of an edge
CAPTION_CONTRAST = 45.0  # gray levels by which lettering stands out from what is around it
SPARKLE_ZONE = 0.17  # the sparkle lies within this share of the bottom right corner
SPARKLE_SCORE = 0.68  # correlation with a four-pointed star over which its place is believed; few films reach it
SPARKLE_DEPTH = 0.13  # share of the image that is cleared where no sparkle is sure: white on white is not seen
SPARKLE_CONTRAST = 3.0  # gray levels
CAPTION_COST = 0.008  # share of the lungs, as estimated, that taking one caption off may cost; then it stays
CAPTIONS_COST = 0.010  # and all captions of an image together
CAPTION_DEPTH = 0.16  # share of the field that captions may take off one side


def find_field(image: Gray) -> Box:
    """The radiograph within frames and borders: plain strips of any gray level, one in another, and ruled lines.

    A strip's lines of pixels are of one level within `FRAME_TOLERANCE`; lettering within a strip does not end it.
    `image` is uint8 `(h, w)`. When nearly nothing would be left, it is the whole image.
    """
    height, width = image.shape
    field = Box(0, 0, width, height)
    for _ in range(12):
        before = field
        for side in range(4):
            lines = _from_side(image[field.top : field.bottom, field.left : field.right], side)
            field = _trim(field, side, max(_plain_strip(lines), _ruled_line(lines)))
            if field.right - field.left < 0.3 * width or field.bottom - field.top < 0.3 * height:
                return Box(0, 0, width, height)
        if field == before:
            break
    return field


def _from_side(image: Gray, side: int) -> Gray:
    """View of `image` whose first row is the outermost line of `side` (left, top, right, bottom)."""
    return (image.T, image, image.T[::-1], image[::-1])[side]


def _trim(box: Box, side: int, amount: int) -> Box:
    left, top, right, bottom = box
    return (
        Box(left + amount, top, right, bottom),
        Box(left, top + amount, right, bottom),
        Box(left, top, right - amount, bottom),
        Box(left, top, right, bottom - amount),
    )[side]


def _plain_strip(lines: Gray) -> int:
    """How many outer lines belong to a strip of one gray level."""
    reach = max(int(len(lines) * FRAME_REACH), 1)
    lines = np.ascontiguousarray(lines[:reach])
    length = lines.shape[1]
    ordered = cv2.sort(lines, cv2.SORT_EVERY_ROW + cv2.SORT_ASCENDING)
    spare = max(int(length * 0.02), 1)
    low, middle, high = ordered[:, spare], ordered[:, length // 2], ordered[:, length - 1 - spare]
    level = int(middle[0])
    plain = (high.astype(np.int16) - low <= FRAME_TOLERANCE) & (
        np.abs(middle.astype(np.int16) - level) <= FRAME_TOLERANCE
    )
    # Lettering: a good part of the line is still the strip's gray, and a plain line follows.
    alike = (cv2.absdiff(lines, np.full_like(lines, level)) <= FRAME_TOLERANCE).mean(axis=1)
    broken = np.flatnonzero(alike < 0.4)
    plain[broken[0] if len(broken) else reach :] = False
    return int(np.flatnonzero(plain)[-1]) + 1 if plain.any() else 0


def _ruled_line(lines: Gray) -> int:
    """Lines up to the innermost straight edge that runs along nearly the whole side."""
    reach = max(int(len(lines) * 0.2), 2)
    rows = lines[: reach + 1].astype(np.int16)
    step = rows[1:] - rows[:-1]
    along = np.maximum((step > 6).mean(axis=1), (step < -6).mean(axis=1))
    found = np.flatnonzero(along >= 0.8)
    return int(found[-1]) + 1 if len(found) else 0


@lru_cache(maxsize=1)
def _stars() -> tuple[tuple[float, Float], ...]:
    """Four-pointed stars |x|^p + |y|^p <= 1 with concave sides: radius, and star without its slow part at mean 0."""
    stars = []
    for radius in (4.0, 5.2, 6.8, 8.8, 11.5):
        for power in (0.55, 0.75):
            half = int(np.ceil(radius * 1.3))
            side = 2 * half + 1
            fine = (np.arange(side * 8, dtype=np.float32) + 0.5) / 8 - side / 2
            shape = np.abs(fine / radius) ** power
            solid = (shape[None] + shape[:, None] <= 1).astype(np.float32)
            star = cv2.GaussianBlur(cv2.resize(solid, (side, side), interpolation=cv2.INTER_AREA), (0, 0), 0.5)
            fast = star - cv2.GaussianBlur(star, (0, 0), 0.9 * radius, borderType=cv2.BORDER_CONSTANT)
            stars.append((radius, np.asarray(fast - fast.mean(), dtype=np.float32)))
    return tuple(stars)


def find_sparkle(image: Gray) -> tuple[Box, float]:
    """Where the four-pointed star of an image model sits best near the bottom right corner, and its score (0 to 1).

    The score is the largest absolute correlation with stars of several sizes and shapes, bright or dark, after slow
    changes of gray are taken off; it is 0 where nothing stands out. `image` is uint8 `(h, w)` with a longer side of
    about `WORKING_SIDE` pixels.
    """
    height, width = image.shape
    x0, y0 = int(width * (1 - SPARKLE_ZONE)), int(height * (1 - SPARKLE_ZONE))
    corner = image[y0:, x0:].astype(np.float32)
    best, score = Box(width, height, width, height), 0.0
    for radius, centred in _stars():
        side = centred.shape[0]
        if min(corner.shape) <= side:
            continue
        fast = corner - cv2.GaussianBlur(corner, (0, 0), 0.9 * radius)
        product = np.abs(cv2.matchTemplate(fast, centred, cv2.TM_CCORR))
        energy = float((centred**2).sum())
        inner = slice(side // 2, -(side // 2))
        mean = cv2.boxFilter(fast, -1, (side, side))[inner, inner]
        variance = cv2.sqrBoxFilter(fast, -1, (side, side))[inner, inner] - mean**2
        contrast = product / energy
        alike = product / np.sqrt(np.maximum(variance, 1e-3) * (side * side * energy))
        alike[contrast < SPARKLE_CONTRAST] = 0
        _, value, _, (x, y) = cv2.minMaxLoc(alike)
        if value > score:
            middle, reach = (x0 + x + side / 2, y0 + y + side / 2), 1.3 * radius + 4.0
            best = Box(*(round(middle[i % 2] + (reach if i > 1 else -reach)) for i in range(4)))
            score = float(value)
    return best, score


def find_captions(image: Gray) -> list[Box]:
    """Burned-in words and markers: small, sharp, brighter or darker than what is around them, and near an edge.

    White and black top-hat over `CAPTION_CONTRAST`, letters joined into words; what reaches further in than
    `EDGE_ZONE` is anatomy or a lead. `image` is uint8 `(h, w)` of a field, its longer side about `WORKING_SIDE`.
    """
    height, width = image.shape
    span = max(int(0.045 * max(height, width)) | 1, 3)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (span, span))
    bright = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel)
    dark = cv2.morphologyEx(image, cv2.MORPH_BLACKHAT, kernel)
    # In a grainy film every grain stands out; lettering stands out from the grain, in nearly white or nearly black.
    threshold = max(CAPTION_CONTRAST, 4.0 * float(np.median(cv2.max(bright, dark)[::3, ::3])))
    ink = ((bright > threshold) & (image > 170)) | ((dark > threshold) & (image < 70))
    words = cv2.dilate(ink.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_RECT, (7, 3)))
    stats = cv2.connectedComponentsWithStats(words, connectivity=8)[2][1:]
    # Dilation added 3 pixels on the left and right, and 1 above and below.
    left, top = stats[:, 0] + 3, stats[:, 1] + 1
    w, h = np.maximum(stats[:, 2] - 6, 1), np.maximum(stats[:, 3] - 2, 1)
    right, bottom = left + w, top + h
    zone_x, zone_y = EDGE_ZONE * width, EDGE_ZONE * height
    near = (bottom <= zone_y) | (top >= height - zone_y) | (right <= zone_x) | (left >= width - zone_x)
    letters = (h >= 4) & (h <= 0.16 * height) & (w >= 3) & (w <= 0.85 * width) & (h <= 3 * w)
    boxes = np.stack([left, top, right, bottom], axis=1)[near & letters]
    return [Box(*(int(value) for value in box)) for box in boxes]


def estimate_lungs(image: Gray) -> Float:
    """Rough map of the lungs in a field, float32 `(h, w)` that sums to 1: darker than Otsu's threshold, off the edges.

    Good for choosing which side to cut, not for measuring anything.
    """
    side = 48
    small = cv2.GaussianBlur(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    inner = np.ascontiguousarray(small[side // 8 : -side // 6, side // 8 : -side // 6])
    threshold, _ = cv2.threshold(inner, 0, 255, cv2.THRESH_OTSU)
    dark = (small <= threshold).astype(np.uint8)
    # Air beside the patient is as dark as a lung; it lies mostly outside the middle.
    count, parts = cv2.connectedComponents(dark, connectivity=4)
    middle = np.zeros((side, side), dtype=bool)
    middle[side // 7 : -side // 7, side // 5 : -side // 5] = True
    total = np.bincount(parts.ravel(), minlength=count)
    central = np.bincount(parts[middle], minlength=count) / np.maximum(total, 1)
    part_weight = np.where(central >= 0.4, 1.0, 0.1)
    weight = np.where(middle, 1.0, part_weight[parts]) * dark
    place = (np.arange(side) + 0.5) / side
    edge = np.minimum(place, 1 - place)
    down, across = np.clip(edge / 0.15, 0, 1) ** 2, np.clip(edge / 0.05, 0, 1)
    lungs = weight * down[:, None] * across[None, :] + 1e-6
    resized = cv2.resize(lungs.astype(np.float32), image.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized / resized.sum(), dtype=np.float32)


def find_content(image: Gray) -> Box:
    """The radiograph without frame, watermark and, where the lungs allow it, captions.

    The field (`find_field`) loses on the right or at the bottom what the sparkle takes, whichever costs less of the
    lungs (`estimate_lungs`); where no sparkle is sure, the corner is cleared all the same. Then each caption
    (`find_captions`) is cut off on the side where that costs least, if it costs no more than `CAPTION_COST`.

    `image` is uint8 `(h, w)` of any size; so is the box.
    """
    height, width = image.shape
    scale = min(1.0, WORKING_SIDE / max(height, width))
    small = image
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    rows, columns = small.shape
    if min(rows, columns) < 48:
        return Box(0, 0, width, height)
    field = find_field(small)
    inside = np.ascontiguousarray(small[field.top : field.bottom, field.left : field.right])
    lungs = estimate_lungs(inside)
    # lost[side][n]: share of the lungs in the first n lines from that side.
    sums = lungs.sum(axis=0), lungs.sum(axis=1)
    lost = [np.concatenate([[0.0], np.cumsum(sums[side % 2][:: 1 if side < 2 else -1])]) for side in range(4)]
    cut = [0, 0, 0, 0]
    sparkle = _watermark_zone(small, field)
    depth = {2: max(field.right - sparkle.left, 0), 3: max(field.bottom - sparkle.top, 0)}
    side = min(depth, key=lambda name: (lost[name][min(depth[name], len(lost[name]) - 1)], depth[name]))
    cut[side] = depth[side]
    spent = 0.0
    for box in sorted(find_captions(inside), key=lambda box: min(_depths(box, inside.shape))):
        spent += _cut_caption(box, inside.shape, lost, cut, min(CAPTION_COST, CAPTIONS_COST - spent))
    crop = Box(field.left + cut[0], field.top + cut[1], field.right - cut[2], field.bottom - cut[3])
    if crop.right - crop.left < 0.3 * columns or crop.bottom - crop.top < 0.3 * rows:
        crop = Box(0, 0, columns, rows)
    across, down = width / columns, height / rows
    return Box(
        int(np.ceil(crop.left * across)),
        int(np.ceil(crop.top * down)),
        int(crop.right * across),
        int(crop.bottom * down),
    )


def _watermark_zone(image: Gray, field: Box) -> Box:
    """The part of the bottom right corner that holds the watermark, or would."""
    height, width = image.shape
    sparkle, score = find_sparkle(image)
    # The edge of a frame through a sparkle pulls its place aside.
    split = sparkle.left < field.right < sparkle.right or sparkle.top < field.bottom < sparkle.bottom
    if score >= SPARKLE_SCORE and not split:
        return sparkle
    usual = Box(int(width * (1 - SPARKLE_DEPTH)), int(height * (1 - SPARKLE_DEPTH)), width, height)
    return Box(min(usual.left, sparkle.left), min(usual.top, sparkle.top), width, height)


def _depths(box: Box, shape: tuple[int, ...]) -> list[int]:
    """Lines to take off each side so that the box is gone, with a line to spare."""
    height, width = shape[:2]
    depths = box.right + 1, box.bottom + 1, width - box.left + 1, height - box.top + 1
    return [min(depth, limit) for depth, limit in zip(depths, (width, height, width, height), strict=True)]


def _cut_caption(
    box: Box, shape: tuple[int, ...], lost: list[NDArray[np.float64]], cut: list[int], budget: float
) -> float:
    """Deepen one entry of `cut` so that the box is gone, if that costs no more than `budget`; gives what it cost."""
    height, width = shape[:2]
    if box.right <= cut[0] or box.bottom <= cut[1] or box.left >= width - cut[2] or box.top >= height - cut[3]:
        return 0.0
    depths = _depths(box, shape)
    costs = [float(lost[side][depths[side]] - lost[side][cut[side]]) for side in range(4)]
    allowed = [side for side in range(4) if depths[side] <= CAPTION_DEPTH * (width, height)[side % 2]]
    if not allowed:
        return 0.0
    side = min(allowed, key=lambda side: (costs[side], depths[side]))
    if costs[side] > budget:
        return 0.0
    cut[side] = max(cut[side], depths[side])
    return max(costs[side], 0.0)
