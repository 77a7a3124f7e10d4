"""What a model answered for each case: grey maps on disk, the kind of each answer, and its geometry undone."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from scipy.ndimage import binary_fill_holes

from nbhelpers.errors import UserError
from nbhelpers.image_models.geometry import RATIOS, padded, resized, unpadded
from nbhelpers.images import files
from nbhelpers.images.files import decode, read_gray, write_png
from nbhelpers.runs.files import inside
from nbhelpers.segmentation.datasets import (
    Mask,
    Pixels,
    check_upright,
    gray_values,
    image_files,
    stem,
    to_gray,
)

# Kinds of an answer that holds no mask: it scores 0. A picture that is only a thought of the model (`draft_only`) is
# scored, but does not count as answered.
NO_MASK = frozenset({"missing", "refused", "text_only", "broken", "unreadable"})
NOT_ANSWERED = NO_MASK | {"draft_only"}
# Kinds of a picture: scored as it came, read as grey, whatever it is; `inverted` is turned only if a parameter says so.
PICTURES = ("mask", "empty", "soft", "inverted", "coloured", "overlay", "outline", "legend", "unchanged")
FULL = (1, 255, 65535)  # what stands for certain in maps of other programs
JSON = re.compile(r'\[\s*[{\]]|\{\s*"')  # how a list of objects, an empty one, or an object begins
Thousandths = Annotated[float, Field(ge=0, le=1000, strict=True, allow_inf_nan=False)]
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
        if case not in self.brought:
            return resized(read_gray(inside(self.folder, f"{case}.png")), shape)
        path = self.brought[case]
        values = gray_values(path)
        check_upright(values.shape, shape, path)
        return resized((values * (255 / self._certain[path.suffix])).round().astype(np.uint8), shape)

    @cached_property
    def _certain(self) -> dict[str, int]:
        """What stands for a certain pixel in maps of another program, by their suffix: 1, 255 or 65,535.

        By the brightest of all: in a map where nothing was found, the brightest pixel tells nothing.
        """
        peaks: dict[str, float] = {}
        for path in self.brought.values():
            peaks[path.suffix] = max(peaks.get(path.suffix, 0.0), float(gray_values(path).max()))
        if max(peaks.values()) > FULL[-1]:
            do = "give 0 to 1, 0 to 255 or 0 to 65535"
            raise UserError("the maps hold values that are no probabilities", str(self.folder), do)
        return {suffix: next(full for full in FULL if peak <= full) for suffix, peak in peaks.items()}

    def write(self, case: str, shares: Pixels, kind: str = "mask") -> None:
        """Keep a case's map and the kind of its answer."""
        write_png(inside(self.folder, f"{case}.png"), shares)
        self.kinds[case] = kind


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


class _Part(BaseModel):
    """An object of the box-and-mask route: y0, x0, y1, x1, and a PNG's base64 or points x, y; in thousandths."""

    box_2d: tuple[Thousandths, Thousandths, Thousandths, Thousandths]
    mask: str | Annotated[list[tuple[Thousandths, Thousandths]], Field(min_length=3)]


def read_boxes(text: str, shape: tuple[int, ...]) -> tuple[Pixels, str]:
    """The map that an answer of the documented box-and-mask route holds, uint8 `(h, w)`, and the kind of the answer.

    Each item is `{"box_2d": [y0, x0, y1, x1], "mask": ..., "label": ...}`, boxes in thousandths. `mask` is base64 of a
    PNG with the probability inside the box, or a list of points [x, y] in thousandths (y, x where only that lies in
    the box). All items of the text are OR-ed, whatever stands around them; an empty list is an empty mask.
    `<start_of_mask>...` is not documented and not guessed at: the answer is `unreadable`, as it is with a box, a mask
    or JSON that is out of order or cut off.
    """
    found, items, place, starts = np.zeros(shape[:2], dtype=np.uint8), [], 0, JSON.search(text)
    if starts is None:
        return found, "unreadable" if "box_2d" in text or "<start_of_mask>" in text else "text_only"
    try:
        while starts := JSON.search(text, place):
            value, place = json.JSONDecoder(strict=False).raw_decode(text, starts.start())
            items += value if isinstance(value, list) else [value]
        for item in items:
            found = np.maximum(found, _box_map(_Part.model_validate(item), shape))
    except (ValueError, RecursionError, UserError):
        return np.zeros_like(found), "unreadable"
    return found, "mask" if items else "empty"


def _box_map(part: _Part, shape: tuple[int, ...]) -> Pixels:
    """An object's map, uint8 `(h, w)`; a ValueError or UserError where box or mask cannot be what is documented."""
    y0, x0, y1, x1 = part.box_2d
    if not (y0 < y1 and x0 < x1) or max(y1, x1) <= 1:
        raise ValueError("corners in another order, or shares in place of thousandths")
    found = np.zeros(shape[:2], dtype=np.uint8)
    if not isinstance(part.mask, str):
        points = _points(np.array(part.mask), part.box_2d)
        return np.asarray(cv2.fillPoly(found, [(points * [shape[1], shape[0]] / 1000).round().astype(np.int32)], 255))
    code = "".join(part.mask.split()).removeprefix("data:image/png;base64,")
    image = decode(base64.b64decode(code + "=" * (-len(code) % 4), validate=True))
    if image.format != "PNG" or files.is_deep(image):
        raise ValueError("another format than that of 8 bits that is documented")
    shares = files.to_gray(image)
    shares = shares * np.uint8(255) if shares.max() == 1 else shares
    top, left = (min(round(low * side / 1000), side - 1) for low, side in ((y0, shape[0]), (x0, shape[1])))
    bottom, right = max(round(y1 * shape[0] / 1000), top + 1), max(round(x1 * shape[1] / 1000), left + 1)
    found[top:bottom, left:right] = resized(shares, (bottom - top, right - left))
    return found


def _points(points: NDArray[np.float64], box: tuple[float, ...]) -> NDArray[np.float64]:
    """A polygon's points in thousandths as x, y, if nine tenths of them lie in the box, in either order."""
    low, high = np.array(box[1::-1]) - 5, np.array(box[:1:-1]) + 5
    both = [(order, ((order >= low) & (order <= high)).all(1).mean()) for order in (points, points[:, ::-1])]
    best, share = max(both, key=lambda pair: pair[1])
    if share < 0.9:
        raise ValueError("the polygon lies outside its box")
    return best
