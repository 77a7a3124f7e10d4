"""The omnimodel: what is asked of it for each case, and what its answer becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nbhelpers.errors import UserError
from nbhelpers.runs.progress import progress
from nbhelpers.segmentation.answers import (
    RATIOS,
    Answers,
    classify,
    from_folder,
    padded,
    unpadded,
)
from nbhelpers.segmentation.datasets import Pixels, SegmentationSet
from nbhelpers.segmentation.specialists import brought, check_route

ROUTES = ("stand_in", "masks", "gemini", "gemini_json")
STAND_IN = "stand-in (no omnimodel)"
# One a task, as the study has; its own wording is not repeated here.
_RULE = (
    "in pure white, everything else pure black. Keep size and position of the image; add no text, outline or shading."
)
PROMPTS = {
    "polyp": f"This is a frame of a colonoscopy. Draw its segmentation mask: every polyp filled {_RULE}",
    "vessels": "This is a fundus photograph. Draw its segmentation mask: every retinal blood vessel, down to the "
    f"thinnest and at its true width, {_RULE}",
    "lesion": "Draw the segmentation mask of this medical image (an image without a lesion gives a black picture): "
    f"every lesion filled {_RULE}",
    "lungs": f"This is a chest X-ray. Draw its segmentation mask: both lung fields filled {_RULE}",
    "object": f"Draw the segmentation mask of this image: its main object filled {_RULE}",
}


def prompt_of(found: SegmentationSet, own: str | None) -> str:
    """The prompt for a set: the user's own, or this project's for its target."""
    return own or PROMPTS.get(found.target, PROMPTS["object"])


def answer(found: SegmentationSet, spec: str, stage_folder: Path, parameters: Mapping[str, Any]) -> Answers:
    """The omnimodel's maps of a set's test cases, geometry undone, each with the kind of its answer.

    Parameters
    ----------
    spec : str
        `stand_in`, `masks:<folder>`, `gemini` (a picture) or `gemini_json` (boxes and masks as text).
    parameters : mapping
        The stage's; read are `mask_prompt`, `mask_correct_inverted` and the `gemini_*` ones.
    """
    route, rest = check_route(spec, "omnimodel", ROUTES)
    cases = found.part("test")
    if route == "masks":
        return from_folder("omnimodel", "omnimodel", rest, brought(rest, found.name), [case["case"] for case in cases])
    made = Answers("omnimodel", "omnimodel", STAND_IN, stage_folder / "maps" / found.name / "omnimodel")
    turn = bool(parameters.get("mask_correct_inverted", False))
    if route == "stand_in":
        for case in progress(cases, desc="stand-in draws", total=len(cases), unit="case"):
            image = found.image(case)
            keep(made, case["case"], stand_in(padded(image)[0]), image, found.thin, turn)
        return made
    raise UserError(f"omnimodel {route!r} is not there yet", "omnimodel", "use stand_in or masks:<folder>")


def keep(made: Answers, case: str, drawn: Pixels, image: Pixels, thin: bool, turn: bool) -> None:
    """Undo a returned picture's geometry, classify it, and keep its grey map.

    Every picture is scored as it came, read as grey; an `inverted` one is turned only where `turn` says so beforehand.
    """
    back = unpadded(drawn, image.shape)
    kind = classify(back, image, thin)
    gray = np.asarray(cv2.cvtColor(back, cv2.COLOR_RGB2GRAY))
    made.write(case, 255 - gray if turn and kind == "inverted" else gray, kind)


def stand_in(request: Pixels) -> Pixels:
    """A picture drawn from the request's image alone, uint8 RGB: the side of Otsu's threshold that the border is not on.

    No model stands behind it and no truth enters it: it takes the place of an omnimodel where there is none, drawn as
    one draws: at 1,024 pixels, with a soft edge and the marks of JPEG.
    """
    gray = cv2.GaussianBlur(cv2.cvtColor(request, cv2.COLOR_RGB2GRAY), (0, 0), max(request.shape[:2]) / 60)
    there = gray[request.max(axis=2) > 0] if request.any() else gray
    level, _ = cv2.threshold(np.ascontiguousarray(there.reshape(1, -1)), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = gray > level
    rim = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    mask = (~bright if rim.mean() > 0.5 else bright).astype(np.uint8) * np.uint8(255)
    width, height = min(RATIOS.values(), key=lambda size: abs(size[0] / size[1] - mask.shape[1] / mask.shape[0]))
    drawn = cv2.GaussianBlur(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 1.5)
    coded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return np.asarray(cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), cv2.COLOR_GRAY2RGB), dtype=np.uint8)
