"""What a model answered for each case: grey maps on disk, the kind of each answer, and its geometry undone."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

from nbhelpers.errors import UserError
from nbhelpers.image_models.geometry import RATIOS, padded, resized, unpadded
from nbhelpers.images import files
from nbhelpers.images.files import decode, read_gray, read_image, write_png
from nbhelpers.runs.files import inside
from nbhelpers.segmentation.datasets import Mask, Pixels, image_files, stem, to_gray

# Kinds of an answer that holds no mask: it scores 0. A picture that is only a thought of the model (`draft_only`) is
# scored, but does not count as answered.
NO_MASK = frozenset({"missing", "refused", "text_only", "broken", "unreadable"})
NOT_ANSWERED = NO_MASK | {"draft_only"}
# Kinds of a picture: scored as it came, read as grey, whatever it is; `inverted` is turned only if a parameter says so.
PICTURES = ("mask", "empty", "soft", "inverted", "coloured", "overlay", "outline", "legend", "unchanged")
DARK, BRIGHT, COLOURFUL = 40, 215, 60  # grey levels, and the range over the channels of a coloured pixel


@dataclass
class Answers:
    """A model's grey maps of one data set."""

    name: str  # column `model`
    role: str  # specialist, omnimodel, third
    title: str  # what stands behind it
    folder: Path  # holds `<case>.png`, uint8: how sure the model is of foreground, or what it drew
    kinds: dict[str, str] = field(default_factory=dict)  # of each case: of `PICTURES` or `NOT_ANSWERED`
    swept: bool = True  # whether other thresholds make sense; False for masks of two levels
    brought: dict[str, Path] = field(default_factory=dict)  # each case's file, where another program wrote them

    def read(self, case: str, shape: tuple[int, ...]) -> Pixels:
        """A case's map at the truth's shape `(h, w)`, uint8: the grey is resized, and thresholded by others later.

        Black where the answer holds no mask.
        """
        if self.kinds.get(case) in NO_MASK:
            return np.zeros(shape, dtype=np.uint8)
        brought = self.brought.get(case)
        return resized(_shares(brought) if brought else read_gray(inside(self.folder, f"{case}.png")), shape)

    def write(self, case: str, shares: Pixels, kind: str = "mask") -> None:
        """Keep a case's map and the kind of its answer."""
        write_png(inside(self.folder, f"{case}.png"), shares)
        self.kinds[case] = kind


def _shares(path: Path) -> Pixels:
    """A map of another program, uint8: of 8 bits as it is, 16 bits and 0 to 1 by their own scale."""
    image = read_image(path)
    if image.mode[0] not in "IF":
        shares = files.to_gray(image)
        # Masks of 0 and 1 are masks too; a map that is no brighter than 1 of 255 is none.
        return shares * np.uint8(255) if shares.max(initial=0) == 1 else shares
    values = np.asarray(image, dtype=np.float64)
    scale = next((scale for scale in (1, 255, 65535) if values.max(initial=0.0) <= scale), None)
    if scale is None or not values.min(initial=0.0) >= 0:
        raise UserError("a map holds values that are no probabilities", str(path), "0 to 1, 0 to 255 or 0 to 65535")
    return np.asarray((values * (255 / scale)).round(), dtype=np.uint8)


def from_folder(name: str, role: str, title: str, folder: Path, cases: list[str]) -> Answers:
    """Maps that another program wrote, by stem, in any format; a case without one is `missing`.

    A folder that is not there, or holds no map of any case, is a `UserError`.
    """
    if not folder.is_dir():
        do = "the path in masks:<folder> is relative to the project's root"
        raise UserError("the folder of masks was not found", str(folder), do)
    by_stem = {stem(path): path for path in image_files(folder)}
    found = {case: by_stem[case] for case in cases if case in by_stem}
    if not found:
        do = f"name the maps like the images, e.g. {cases[0]}.png"
        raise UserError(f"no map for any of the {len(cases)} cases", str(folder), do)
    kinds = {case: "mask" if case in found else "missing" for case in cases}
    return Answers(name, role, title, folder, kinds, brought=found)


def as_drawn(mask: Mask, size: tuple[int, int], quality: int | None, blur: float) -> Pixels:
    """A bool mask `(h, w)` as an image model draws one: uint8 grey, `size` (width, height), blurred and JPEG-coded.

    `quality` is JPEG's, None for PNG; `blur` a standard deviation in pixels of `size`.
    """
    drawn = cv2.resize(mask.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_LINEAR)
    if blur:
        drawn = cv2.GaussianBlur(drawn, (0, 0), blur)
    if quality is not None:
        code = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        drawn = np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE))
    return np.asarray(drawn, dtype=np.uint8)


def drawn_ceiling(truth: Mask, quality: int | None, blur: float) -> Pixels:
    """The true mask as a model would return it without any error, and back: uint8 `(h, w)`; see `as_drawn`."""
    canvas, name = padded(truth.astype(np.uint8))
    return unpadded(as_drawn(canvas > 0, RATIOS[name], quality, blur), truth.shape)


def classify(answer: Pixels, image: Pixels, thin: bool = False) -> str:
    """What a returned picture is, a word of `PICTURES`; both uint8 RGB of the same shape, geometry undone.

    By colour, by the share of pixels that are nearly black or white, by correlation with the image, by whether the
    border is white, and by what filling and the corners hold. `thin` structures are outlines by nature.
    """
    gray, base = to_gray(answer), to_gray(image)
    coloured = np.ptp(answer.astype(np.int16), axis=2) > COLOURFUL
    new_colour = coloured & ~(np.ptp(image.astype(np.int16), axis=2) > COLOURFUL)
    two_level = float(np.mean((gray <= DARK) | (gray >= BRIGHT)))
    alike = float(cv2.matchTemplate(gray, base, cv2.TM_CCOEFF_NORMED)[0, 0]) if np.ptp(gray) and np.ptp(base) else 0.0
    far = float(np.mean(np.abs(answer.astype(np.int16) - image.astype(np.int16)).max(axis=2) > COLOURFUL))
    if alike > 0.9 and far < 0.005:
        return "unchanged"
    same_place = np.abs(gray.astype(np.int16) - base.astype(np.int16)) < 30
    if new_colour.mean() > 0.002 and same_place[~coloured].mean() > 0.8 and np.mean(gray[~coloured] > DARK) > 0.3:
        return "overlay"
    bright = gray > 127
    if coloured.mean() > 0.002 and coloured.sum() > 0.5 * np.count_nonzero(answer.max(axis=2) > 127):
        return "coloured"
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    if two_level > 0.8 and border.mean() > 0.6 and 0.5 < bright.mean() < 1:
        return "inverted"
    if two_level < 0.8:
        return "overlay" if alike > 0.8 else "soft"
    if bright.mean() < 1e-4:
        return "empty"
    return "mask" if thin else _drawn_kind(bright)


def _drawn_kind(bright: Mask) -> str:
    """Of a white-on-black picture: a filled mask, an outline alone, or a mask with writing in a corner."""
    _, _, stats, centres = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=8)
    height, width = bright.shape
    from_edge = np.minimum(centres, (width, height) - centres)[1:]
    small = (stats[1:, cv2.CC_STAT_AREA] < 0.005 * bright.size) & (from_edge < (0.35 * width, 0.15 * height)).all(1)
    if np.count_nonzero(small) >= 3:
        return "legend"
    filled = binary_fill_holes(bright)
    return "outline" if np.count_nonzero(filled) > 2 * np.count_nonzero(bright) else "mask"


def read_boxes(text: str, shape: tuple[int, ...]) -> tuple[Pixels, str]:
    """The map that an answer of the documented box-and-mask route holds, uint8 `(h, w)`, and the kind of the answer.

    Each item is `{"box_2d": [y0, x0, y1, x1], "mask": ..., "label": ...}`, boxes in thousandths. `mask` is base64 of a
    PNG with the probability inside the box, or a list of points [x, y] in thousandths (y, x where only that lies in
    the box). Several items are OR-ed; an empty list is an empty mask. `<start_of_mask>...` is not documented and not
    guessed at: `unreadable`, as a box or text that is out of order.
    """
    found = np.zeros(shape[:2], dtype=np.uint8)
    body = re.search(r"```(?:json)?\s*(.*?)(?:```|$)", text, re.DOTALL)
    try:
        items = json.loads(body[1] if body else text)
    except ValueError:
        return found, "unreadable" if "box_2d" in text or "mask" in text else "text_only"
    items = [items] if isinstance(items, dict) else items
    if not isinstance(items, list):
        return found, "unreadable"
    for item in items:
        part = _box_map(item, shape) if isinstance(item, Mapping) else None
        if part is None:
            return np.zeros_like(found), "unreadable"
        found = np.maximum(found, part)
    return found, "mask" if items else "empty"


def _box_map(item: Mapping[str, Any], shape: tuple[int, ...]) -> Pixels | None:
    box, mask = item.get("box_2d"), item.get("mask")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
        return None
    y0, x0, y1, x1 = box
    if not (0 <= y0 < y1 <= 1000 and 0 <= x0 < x1 <= 1000):
        return None
    found = np.zeros(shape[:2], dtype=np.uint8)
    if isinstance(mask, list):
        points = _points(mask, box)
        if points is None:
            return None
        return np.asarray(cv2.fillPoly(found, [(points * [shape[1], shape[0]] / 1000).round().astype(np.int32)], 255))
    if not isinstance(mask, str) or not re.match(r"data:image/png;base64,|iVBOR", mask):
        return None
    try:
        data = base64.b64decode(mask.removeprefix("data:image/png;base64,"), validate=True)
        shares = np.asarray(decode(data).convert("L"))
    except (binascii.Error, ValueError, UserError):
        return None
    top, left = (min(round(low * side / 1000), side - 1) for low, side in ((y0, shape[0]), (x0, shape[1])))
    bottom, right = max(round(y1 * shape[0] / 1000), top + 1), max(round(x1 * shape[1] / 1000), left + 1)
    found[top:bottom, left:right] = cv2.resize(shares, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    return found


def _points(values: list[Any], box: list[float]) -> NDArray[np.float64] | None:
    """A polygon's points in thousandths as x, y, if nine tenths of them lie in the box, in either order."""
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or points.min() < 0 or points.max() > 1000:
        return None
    low, high = np.array(box[1::-1]) - 5, np.array(box[:1:-1]) + 5
    both = [(order, ((order >= low) & (order <= high)).all(1).mean()) for order in (points, points[:, ::-1])]
    best, share = max(both, key=lambda pair: pair[1])
    return best if share >= 0.9 else None
