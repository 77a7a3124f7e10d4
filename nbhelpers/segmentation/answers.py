"""What a model answered for each case: grey maps on disk, the kind of each answer, and its geometry undone."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.images.files import decode, read_gray, write_png
from nbhelpers.runs.files import inside
from nbhelpers.segmentation.datasets import IMAGE_SUFFIXES, Mask, Pixels, stem, to_gray

# Kinds of an answer that holds no mask: it scores 0.
NO_MASK = frozenset({"missing", "refused", "text_only", "draft_only", "broken", "unreadable"})
# Kinds of a picture: scored as it came, read as grey, whatever it is; `inverted` is turned only if a parameter says so.
PICTURES = ("mask", "empty", "soft", "inverted", "coloured", "overlay", "outline", "legend", "unchanged")
DARK, BRIGHT, COLOURFUL = 40, 215, 60  # grey levels, and the range over the channels of a coloured pixel


@dataclass
class Answers:
    """A model's grey maps of one data set.

    Attributes
    ----------
    name, role, title : str
        Column `model`, its role (specialist, omnimodel, third), and what figures call it.
    folder : Path
        Holds `<case>.png`, uint8: how sure the model is of foreground, or what it drew.
    kinds : dict of str to str
        What each case's answer is: `PICTURES` or `NO_MASK`.
    swept : bool
        Whether other thresholds make sense; False for masks of two levels.
    """

    name: str
    role: str
    title: str
    folder: Path
    kinds: dict[str, str] = field(default_factory=dict)
    swept: bool = True

    def read(self, case: str, shape: tuple[int, ...]) -> Pixels:
        """A case's map at the truth's shape `(h, w)`, uint8: the grey is resized, and thresholded by others later."""
        return resized(read_gray(inside(self.folder, f"{case}.png")), shape)

    def write(self, case: str, shares: Pixels, kind: str = "mask") -> None:
        """Keep a case's map and the kind of its answer."""
        write_png(inside(self.folder, f"{case}.png"), shares)
        self.kinds[case] = kind


def from_folder(name: str, role: str, title: str, folder: Path, cases: list[str]) -> Answers:
    """Maps that another program wrote, by stem, in any format; a case without one is `missing`.

    Raises
    ------
    UserError
        When the folder is not there, or holds no map of any case.
    """
    if not folder.is_dir():
        raise UserError(
            "the folder of masks is not there", str(folder), "masks:<folder> counts from the project's root"
        )
    files = {stem(path): path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES}
    found = _Brought(name, role, title, folder)
    found.files = {case: files[case] for case in cases if case in files}
    if not found.files:
        raise UserError(
            f"no map of any of {len(cases)} cases", str(folder), f"name them as the images, e.g. {cases[0]}.png"
        )
    found.kinds = {case: "mask" if case in found.files else "missing" for case in cases}
    return found


@dataclass
class _Brought(Answers):
    files: dict[str, Path] = field(default_factory=dict)

    def read(self, case: str, shape: tuple[int, ...]) -> Pixels:
        shares = read_gray(self.files[case])
        # Masks of 0 and 1 are masks too; a map that is no brighter than 1 of 255 is none.
        return resized(shares * np.uint8(255) if shares.max(initial=0) == 1 else shares, shape)


def resized(shares: Pixels, shape: tuple[int, ...]) -> Pixels:
    """A grey map at another shape `(h, w)`, by area when shrinking; as it is when the shapes agree."""
    if shares.shape == shape[:2]:
        return shares
    shrinking = shares.shape[0] >= shape[0] and shares.shape[1] >= shape[1]
    way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(shares, (shape[1], shape[0]), interpolation=way), dtype=np.uint8)


# Sizes that gemini-2.5-flash-image returns, by the ratio that is asked for: width, height.
RATIOS = {
    **{"1:1": (1024, 1024), "2:3": (832, 1248), "3:2": (1248, 832), "3:4": (864, 1184), "4:3": (1184, 864)},
    **{"4:5": (896, 1152), "5:4": (1152, 896), "9:16": (768, 1344), "16:9": (1344, 768), "21:9": (1536, 672)},
}


def padded(image: Pixels) -> tuple[Pixels, str]:
    """An image with a black margin right and below, so that it has a ratio of `RATIOS`, and that ratio's name.

    The ratio that needs least padding; asked for by name, the answer's geometry is then known.
    """
    height, width = image.shape[:2]

    def canvas(name: str) -> tuple[int, int]:
        across, down = RATIOS[name]
        return max(height, round(width * down / across)), max(width, round(height * across / down))

    name = min(RATIOS, key=lambda ratio: canvas(ratio)[0] * canvas(ratio)[1])
    rows, columns = canvas(name)
    edges = [(0, rows - height), (0, columns - width)] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, edges), name


def unpadded(answer: Pixels, shape: tuple[int, ...]) -> Pixels:
    """An answer to a `padded` image of `shape`, brought to that image's pixels and cut to it: uint8, RGB or grey.

    The answer is stretched to the padded image; one of another ratio than asked for is stretched too.
    """
    canvas = padded(np.zeros(shape[:2], np.uint8))[0].shape
    shrinking = answer.shape[0] >= canvas[0] and answer.shape[1] >= canvas[1]
    way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    grown = cv2.resize(answer, (canvas[1], canvas[0]), interpolation=way)
    return np.asarray(grown[: shape[0], : shape[1]], dtype=np.uint8)


def classify(answer: Pixels, image: Pixels, thin: bool = False) -> str:
    """What a returned picture is, a word of `PICTURES`; both uint8 RGB of the same shape, geometry undone.

    By colour, by the share of pixels that are nearly black or white, by correlation with the image, by whether the
    border is white, and by what filling and the corners hold. `thin` structures are outlines by nature.
    """
    gray, base = to_gray(answer), to_gray(image)
    coloured = np.ptp(answer.astype(np.int16), axis=2) > COLOURFUL
    new_colour = coloured & ~(np.ptp(image.astype(np.int16), axis=2) > COLOURFUL)
    two_level = float(np.mean((gray <= DARK) | (gray >= BRIGHT)))
    alike = _correlation(gray, base)
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
    count, _, stats, centres = cv2.connectedComponentsWithStats(bright.astype(np.uint8), connectivity=8)
    height, width = bright.shape
    small = [
        number
        for number in range(1, count)
        if stats[number, cv2.CC_STAT_AREA] < 0.005 * bright.size
        and min(centres[number][1], height - centres[number][1]) < 0.15 * height
        and min(centres[number][0], width - centres[number][0]) < 0.35 * width
    ]
    if len(small) >= 3 and count - 1 > len(small) - (len(small) == count - 1):
        return "legend"
    contours = cv2.findContours(bright.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    filled = np.zeros(bright.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    return "outline" if np.count_nonzero(filled) > 2 * np.count_nonzero(bright) else "mask"


def _correlation(first: Pixels, second: Pixels) -> float:
    a, b = (values.astype(np.float64).ravel() for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def drawn_ceiling(truth: Mask, quality: int | None, blur: float) -> Pixels:
    """The true mask as a model would return it without any error: padded, at 1,024 pixels, blurred, JPEG-coded, back.

    Parameters
    ----------
    truth : bool (h, w)
    quality : int or None
        Of JPEG; None is PNG.
    blur : float
        Standard deviation in pixels of the drawn size.
    """
    canvas, name = padded(truth.astype(np.uint8) * np.uint8(255))
    width, height = RATIOS[name]
    drawn = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
    if blur:
        drawn = cv2.GaussianBlur(drawn, (0, 0), blur)
    if quality is not None:
        code = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        drawn = np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE))
    return unpadded(np.asarray(drawn, dtype=np.uint8), truth.shape)


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
    box = _box(item.get("box_2d"), shape)
    if box is None:
        return None
    top, left, bottom, right = box
    found = np.zeros(shape[:2], dtype=np.uint8)
    mask = item.get("mask")
    if isinstance(mask, list):
        points = _points(mask, item["box_2d"], shape)
        if points is None:
            return None
        cv2.fillPoly(found, [points], 255)
        return found
    if not isinstance(mask, str) or not re.match(r"data:image/png;base64,|iVBOR", mask):
        return None
    try:
        data = base64.b64decode(mask.removeprefix("data:image/png;base64,"), validate=True)
        shares = np.asarray(decode(data).convert("L"))
    except (binascii.Error, ValueError, UserError):
        return None
    size = (right - left, bottom - top)
    found[top:bottom, left:right] = cv2.resize(shares, size, interpolation=cv2.INTER_LINEAR)
    return found


def _box(values: object, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    if not isinstance(values, list) or len(values) != 4 or not all(isinstance(v, (int, float)) for v in values):
        return None
    y0, x0, y1, x1 = (float(value) for value in values)
    if not (0 <= y0 < y1 <= 1000 and 0 <= x0 < x1 <= 1000):
        return None
    height, width = shape[:2]
    top, left, bottom, right = (round(y0 * height / 1000), round(x0 * width / 1000), 0, 0)
    bottom, right = max(round(y1 * height / 1000), top + 1), max(round(x1 * width / 1000), left + 1)
    return (top, left, bottom, right) if bottom <= height and right <= width else None


def _points(values: list[Any], box: list[float], shape: tuple[int, ...]) -> NDArray[np.int32] | None:
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or points.min() < 0 or points.max() > 1000:
        return None

    def inside_box(xy: NDArray[np.float64]) -> float:
        y0, x0, y1, x1 = box
        return float(((xy[:, 0] >= x0 - 5) & (xy[:, 0] <= x1 + 5) & (xy[:, 1] >= y0 - 5) & (xy[:, 1] <= y1 + 5)).mean())

    if inside_box(points[:, ::-1]) > inside_box(points):
        points = points[:, ::-1]
    if inside_box(points) < 0.9:
        return None
    return (points * [shape[1] / 1000, shape[0] / 1000]).round().astype(np.int32)


def as_png(image: Pixels) -> bytes:
    """An image as the bytes of a PNG file, as a request holds it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
