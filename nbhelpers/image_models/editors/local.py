"""Editors that are no image model: a floor, two classical methods, a ceiling, and one that errs in known ways.

They run on this machine and read `EditRequest.known`, which no service is sent: `target` (the true picture), `donor`
(another patient's film) and `donor_mask` (where that film has what is wanted).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.image_models.editors.edits import EditAnswer, Editor, EditRequest
from nbhelpers.images.files import write_png

Pixels = NDArray[np.uint8]

_RADIUS = 5  # pixels around a hole that Telea's method reads, at 512
_MARGIN = 8  # pixels added around a picture, since a clone may not touch its edge
CARELESS = {"zoom": 1.02, "gain": 1.05, "offset": 4.0, "quality": 85}


class _Unable(Exception):
    """Why this editor cannot answer."""


class LocalEditor(Editor):
    """A method of `METHODS`, by the provider's name: every answer is made anew, the same each time, and kept as PNG."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        self.edit, self.model = METHODS[self.provider]

    def edit_all(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, EditAnswer]:
        """An answer for each request, by `edit_id`; pictures go to `<folder>/answers/<editor>/<edit_id>.png`."""
        return {request.edit_id: self._answer(request, folder) for request in requests}

    def _answer(self, request: EditRequest, folder: Path) -> EditAnswer:
        started = time.perf_counter()
        try:
            image = self.edit(request)
        except _Unable as why:
            return EditAnswer("no_answer", model=self.model, detail=str(why))
        seconds = time.perf_counter() - started
        path = f"answers/{self.name}/{request.edit_id}.png"  # whatever the editor is called
        write_png(folder / path, image)
        height, width = image.shape[:2]
        return EditAnswer("edited", image, path, self.model, width, height, width, height, seconds)


def nothing(request: EditRequest) -> Pixels:
    """The floor: the picture as it was."""
    return request.image.copy()


def inpainting(request: EditRequest) -> Pixels:
    """The mask filled in from around it (Telea 2004): fit to take things off, not to put them there."""
    mask = _mask(request)
    radius = max(1.0, _RADIUS * request.image.shape[0] / 512)
    return np.asarray(cv2.inpaint(request.image, mask.astype(np.uint8), radius, cv2.INPAINT_TELEA))


def poisson(request: EditRequest) -> Pixels:
    """Another patient's gradients blended in where the mask is (Perez et al. 2003); an empty mask changes nothing."""
    if request.mask is not None and not request.mask.any():
        return request.image.copy()
    donor = _known(request, "donor", "no image of another patient is given")
    theirs = request.known.get("donor_mask")
    mask = request.mask if request.mask is not None else theirs
    if mask is None or not mask.any():
        raise _Unable("no mask is given")
    donor = _moved(donor, theirs if theirs is not None else mask, mask)
    wide, source = (
        cv2.copyMakeBorder(one, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_REFLECT_101)
        for one in (request.image, donor)
    )
    hole = np.pad(mask.astype(np.uint8) * np.uint8(255), _MARGIN)
    left, top, width, height = cv2.boundingRect(hole)
    # The clone is put where the middle of the mask's box is, and OpenCV writes into the mask that it is given.
    middle = (left + width // 2, top + height // 2)
    blended = cv2.seamlessClone(source, wide, hole.copy(), middle, cv2.NORMAL_CLONE)
    return np.ascontiguousarray(blended[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN])


def simulator(request: EditRequest) -> Pixels:
    """The ceiling: the true target."""
    return _known(request, "target", "the true target is not known").copy()


def careless(request: EditRequest) -> Pixels:
    """The change mirrored to the other side, all of it enlarged, brightened and compressed: to be found."""
    image = request.image.astype(np.float32)
    if "target" in request.known and request.mask is not None:
        change = (request.known["target"].astype(np.float32) - image) * request.mask[..., None]
        image += change[:, ::-1]
    elif request.mask is not None and request.mask.any():
        mirrored = request.mask[:, ::-1].astype(np.uint8)
        image = cv2.inpaint(request.image, mirrored, _RADIUS, cv2.INPAINT_TELEA).astype(np.float32)
    height, width = image.shape[:2]
    move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, CARELESS["zoom"])
    moved = cv2.warpAffine(image, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bright = np.clip(np.rint(moved * CARELESS["gain"] + CARELESS["offset"]), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", bright[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(CARELESS["quality"])])[1]
    back = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(back[..., ::-1])


# What is made of a request, and what is said of it in the column `model`.
METHODS: dict[str, tuple[Callable[[EditRequest], Pixels], str]] = {
    "nothing": (nothing, "the input itself"),
    "inpainting": (inpainting, "cv2.inpaint, Telea"),
    "poisson": (poisson, "cv2.seamlessClone, normal"),
    "simulator": (simulator, "the simulator's own target"),
    "careless": (careless, "errs on purpose: zoom 2 %, gain 1.05 and 4 grey levels, JPEG 85, wrong side"),
}


def _known(request: EditRequest, name: str, lacking: str) -> Pixels:
    if name not in request.known:
        raise _Unable(lacking)
    return request.known[name]


def _mask(request: EditRequest) -> NDArray[np.bool_]:
    if request.mask is None:
        raise _Unable("no mask is given")
    return request.mask


def _moved(donor: Pixels, theirs: NDArray[np.bool_], ours: NDArray[np.bool_]) -> Pixels:
    """The donor's film with the middle of its mask where that of ours is, its edges repeated."""
    (x0, y0, w0, h0), (x1, y1, w1, h1) = (cv2.boundingRect(mask.astype(np.uint8)) for mask in (theirs, ours))
    move = np.array([[1, 0, x1 + w1 // 2 - x0 - w0 // 2], [0, 1, y1 + h1 // 2 - y0 - h0 // 2]], dtype=np.float32)
    height, width = ours.shape
    return np.asarray(cv2.warpAffine(donor, move, (width, height), borderMode=cv2.BORDER_REPLICATE))
