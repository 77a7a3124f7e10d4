"""One simulated pair and known disturbances of its true answer, at 256 pixels."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np

from nbhelpers.editing.pictures import Patient, Picture, rgb, simulated_pictures
from nbhelpers.editing.tasks import read_tasks

SIZE = 512


@cache
def pair(thing: str = "consolidation", place: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Film with a thing, without it, both RGB, and the mask of the difference."""
    attributes = {"pattern": "lobar", "extent": "moderate", "side": "right", "lobe": "lower", "age_group": "adult"}
    start, target, mask = Patient(100 + place, 7 + place, SIZE, attributes).pair((thing,), ())
    return rgb(start), rgb(target), mask


def jpeg(image: np.ndarray, quality: int = 85) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 0, factor)
    return cv2.warpAffine(image, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def brighter(image: np.ndarray, gain: float = 1.05, offset: float = 4.0) -> np.ndarray:
    return np.clip(np.rint(image * gain + offset), 0, 255).astype(np.uint8)


def enlarged(image: np.ndarray) -> np.ndarray:
    big = cv2.resize(image, (2 * SIZE, 2 * SIZE), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(big, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def few_pictures(size: int = 128, number: int = 2, names: tuple[str, ...] = ()) -> list[Picture]:
    known = read_tasks()
    chosen = names or ("take_off_lettering", "add_consolidation", "leave_as_it_is")
    return simulated_pictures([known[name] for name in chosen], number, size, 0)


PARAMETERS: dict[str, Any] = {
    "seed": 0,
    "device": "cpu",
    "editors": dict.fromkeys(("nothing", "inpainting", "poisson", "simulator", "careless")),
    "editing_tasks": ["take_off_lettering", "add_consolidation", "leave_as_it_is"],
    "editing_pictures": 2,
    "editing_size": 128,
    "editing_chains": 1,
    "editing_budget_usd": 5.0,
    "send_patient_films_to": [],
    "editing_backbone": "tf_efficientnet_lite0",
    "editing_init": "random",
    "editing_embedding_size": 64,
    "n_resamples": 100,
}
