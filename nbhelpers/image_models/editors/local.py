"""Editors that are no image model: a floor, two classical methods, a ceiling, and one that errs in known ways.

They run on this machine and read `EditRequest.known`, which no service is sent: `target` (the true picture), `donor`
(another patient's film) and `donor_mask` (where that film has what is wanted).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.image_models.editors.edits import EditAnswer, EditRequest, settings_of
from nbhelpers.images.files import write_png

Pixels = NDArray[np.uint8]

_RADIUS = 5  # pixels around a hole that Telea's method reads, at 512
_MARGIN = 8  # pixels added around a picture, since a clone may not touch its edge
CARELESS = {"zoom": 1.02, "gain": 1.05, "offset": 4.0, "quality": 85}


class _Unable(Exception):
    """Why this editor cannot answer."""


class _Local:
    """What editors of this machine share: every answer is made anew, the same each time, and kept as PNG."""

    service = ""
    about = ""

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None) -> None:
        settings_of(name, settings or {}, {})
        self.name, self.provider = name, type(self).__name__.lower()

    def plan(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, object]:
        """Nothing is asked of anyone."""
        return {"model": self.about}

    def edit_all(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, EditAnswer]:
        """An answer for each request, by `edit_id`; pictures go to `<folder>/<editor>/<edit_id>.png`."""
        return {request.edit_id: self._answer(request, folder) for request in requests}

    def _answer(self, request: EditRequest, folder: Path) -> EditAnswer:
        started = time.perf_counter()
        try:
            image = self.edit(request)
        except _Unable as why:
            return EditAnswer("no_answer", model=self.about, detail=str(why))
        seconds = time.perf_counter() - started
        path = f"{self.name}/{request.edit_id}.png"
        write_png(folder / path, image)
        height, width = image.shape[:2]
        return EditAnswer("edited", image, path, self.about, width, height, width, height, seconds)

    def edit(self, request: EditRequest) -> Pixels:
        """The edited picture, of the request's shape; `_Unable` says why there is none."""
        raise NotImplementedError


class Nothing(_Local):
    """The floor: the picture as it was."""

    about = "the input itself"

    def edit(self, request: EditRequest) -> Pixels:
        """The input."""
        return request.image.copy()


class Inpainting(_Local):
    """What the mask covers, filled in from around it (Telea 2004): fit to take things off, not to put them there."""

    about = "cv2.inpaint, Telea"

    def edit(self, request: EditRequest) -> Pixels:
        """The input with the mask filled in; an empty mask changes nothing."""
        mask = _mask(request)
        radius = max(1.0, _RADIUS * request.image.shape[0] / 512)
        return np.asarray(cv2.inpaint(request.image, mask.astype(np.uint8), radius, cv2.INPAINT_TELEA))


class Poisson(_Local):
    """Another patient's film blended in where the mask is (Perez et al. 2003)."""

    about = "cv2.seamlessClone, normal"

    def edit(self, request: EditRequest) -> Pixels:
        """The input with the donor's gradients inside the mask; an empty mask changes nothing."""
        if request.mask is not None and not request.mask.any():
            return request.image.copy()
        if "donor" not in request.known:
            raise _Unable("no image of another patient is given")
        theirs = request.known.get("donor_mask")
        mask = request.mask if request.mask is not None else theirs
        if mask is None or not mask.any():
            raise _Unable("no mask is given")
        donor = _moved(request.known["donor"], theirs if theirs is not None else mask, mask)
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


class Simulator(_Local):
    """The ceiling: the true target."""

    about = "the simulator's own target"

    def edit(self, request: EditRequest) -> Pixels:
        """The target."""
        if "target" not in request.known:
            raise _Unable("the true target is not known")
        return request.known["target"].copy()


class Careless(_Local):
    """An editor that errs in known ways, for the measures to find: zoom of 2 %, gain, JPEG, and the wrong side."""

    about = "errs on purpose: zoom 2 %, gain 1.05 and 4 grey levels, JPEG 85, wrong side"

    def edit(self, request: EditRequest) -> Pixels:
        """The input with the change mirrored to the other side, enlarged, brightened and compressed."""
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
