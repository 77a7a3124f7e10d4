"""Which images are fit to train on, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nbhelpers.images.duplicates import THUMBNAIL_SIDE, perceptual_hash, thumbnail_of
from nbhelpers.images.files import Gray

REASONS = {
    "unreadable": "the file is missing, truncated or not an image",
    "too_small": "a side of the radiograph is shorter than `min_side` pixels",
    "colour": "the image is coloured (mean difference of the channels over 24 gray levels)",
    "not_a_radiograph": "flat, noise, drawn in two tones, or without a dark lung on each side of a brighter midline",
    "near_duplicate": "near-duplicate of an earlier image of its source",
}
COLOUR_LIMIT = 24.0  # mean over the radiograph of largest minus smallest channel; a tinted film stays under it
FLAT_RANGE = 24.0  # gray levels from the 2nd to the 98th percentile
TWO_TONES = 0.80  # share of pixels within 6 gray levels of the two commonest tones: a text page, a drawing, a mask
NOISE_CORRELATION = 0.5  # of neighbouring pixels, after halving the grain
LUNG_CONTRAST = 0.08  # share of the gray range by which each lung's side is darker than the midline


class Measures(NamedTuple):
    """What is measured on one image's radiograph; no hash and no thumbnail where there is nothing to measure."""

    reason: str  # empty, or a key of `REASONS`
    detail: str  # the number behind it
    hash: NDArray[np.uint64] | None = None
    thumbnail: Gray | None = None


def measure(image: Image.Image, gray: Gray, box: Sequence[int], min_side: int) -> Measures:
    """Judge one image on its own (it is never a `near_duplicate`), within the box of its radiograph, in pixels.

    Of `image` only the colours are used: a coloured frame is no coloured film. `gray` is its luminance.
    """
    left, top, right, bottom = box
    inside = gray[top:bottom, left:right]
    # Of the whole image: a box that moves by some pixels between two copies would part them.
    thumbnail = thumbnail_of(gray)
    reason, detail = "", ""
    if min(inside.shape) < min_side:
        reason, detail = "too_small", f"{right - left} x {bottom - top} pixels"
    elif (chroma := colourfulness(image, box)) > COLOUR_LIMIT:
        reason, detail = "colour", f"channels differ by {chroma:.0f} gray levels"
    elif told := not_a_radiograph(thumbnail_of(inside), inside):
        reason, detail = "not_a_radiograph", told
    return Measures(reason, detail, perceptual_hash(thumbnail), thumbnail)


def colourfulness(image: Image.Image, box: Sequence[int]) -> float:
    """Mean over a box of the largest minus the smallest of a pixel's three channels, in gray levels."""
    if image.mode in ("L", "LA", "1", "I", "F") or image.mode.startswith("I;16"):
        return 0.0
    left, top, right, bottom = box
    part = image.crop((left, top, right, bottom))
    # A sample of the pixels as they are: averaging would mix complementary colours to gray.
    part = part.resize((min(part.width, 192), min(part.height, 192)), Image.Resampling.NEAREST).convert("RGB")
    channels = np.asarray(part, dtype=np.int16)
    return float((channels.max(axis=2) - channels.min(axis=2)).mean())


def not_a_radiograph(thumbnail: Gray, inside: Gray) -> str:
    """Why this can be no frontal chest film, or an empty text. Simple on purpose: it stops blunders, not bad films.

    1. flat: the 2nd and the 98th percentile lie within `FLAT_RANGE`;
    2. two tones: over `TWO_TONES` of the full-size pixels lie at the two commonest tones;
    3. noise: neighbouring pixels of the thumbnail are hardly correlated;
    4. no lungs: in no band of the middle is the midline brighter than a part of each side, by `LUNG_CONTRAST` of the
       gray range.

    On the Kermany films (which show chests of children) fewer than 1 in 100 fail; a photograph of something else may
    pass, and so may an inverted film. `thumbnail` is the radiograph shrunk by area (`thumbnail_of`), `inside` the same
    at full size, for the tones.
    """
    values = thumbnail.astype(np.float32)
    low, high = np.percentile(values, [2, 98])
    if high - low < FLAT_RANGE:
        return f"flat: {high - low:.0f} gray levels"
    tones = np.bincount(inside.ravel(), minlength=256).astype(np.float64)
    near = np.convolve(tones, np.ones(13), mode="same")
    first = int(near.argmax())
    others = np.where(np.abs(np.arange(256) - first) > 12, near, 0)
    share = (near[first] + others.max()) / tones.sum()
    if share > TWO_TONES:
        return f"two tones: {share:.0%} of its pixels"
    smooth = cv2.blur(values, (2, 2))
    neighbours = float(np.corrcoef(smooth[:, :-2].ravel(), smooth[:, 2:].ravel())[0, 1])
    if neighbours < NOISE_CORRELATION:
        return f"noise: neighbours correlate by {neighbours:.2f}"
    side = THUMBNAIL_SIDE
    smooth = cv2.GaussianBlur(values, (0, 0), side / 24)
    best = -1.0
    for top in range(side // 6, side // 2 + 1, side // 12):
        band = smooth[top : top + side // 6].mean(axis=0)
        midline = band[int(side * 0.38) : int(side * 0.62)].max()
        sides = max(band[: int(side * 0.42)].min(), band[int(side * 0.58) :].min())
        best = max(best, float(midline - sides) / float(high - low))
    if best < LUNG_CONTRAST:
        return f"no lungs: the sides are darker than the midline by {best:.0%} of the range"
    return ""
