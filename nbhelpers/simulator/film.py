"""A procedural chest X-ray with truth: it follows the attributes, and only the disease tells the classes apart.

Every film is simulated; none of it is fitted to real films. `pair_seed` decides the patient, `seed` the opacities and
how the film was taken; neither depends on the label.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.images.masks import Box, Mask, mask_box
from nbhelpers.simulator.acquisition import PHYSICS, draw_devices, draw_haze, expose, frame_patient
from nbhelpers.simulator.anatomy import build_patient, draw_chest
from nbhelpers.simulator.lesions import draw_lesion
from nbhelpers.simulator.overlays import choose_field, draw_overlays

if TYPE_CHECKING:
    from pandas import DataFrame

Result = TypeVar("Result")

CHOICES: dict[str, tuple[str, ...]] = {
    "label": ("normal", "pneumonia"),
    "sex": ("female", "male"),
    "age_group": ("child", "adult", "older"),
    "view": ("PA", "AP"),
    "position": ("erect", "supine"),
    "habitus": ("slim", "average", "large"),
    "exposure": ("under", "normal", "over"),
    "pattern": ("lobar", "bronchopneumonia", "interstitial"),
    "side": ("left", "right", "both"),
    "lobe": ("upper", "middle", "lower", "diffuse"),
    "extent": ("mild", "moderate", "severe"),
}
DEVICES = ("central_line", "ecg_leads", "endotracheal_tube", "nasogastric_tube", "pacemaker")
DISEASE = ("pattern", "side", "lobe", "extent")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_CHUNK = 8  # films to a task: small enough for an even end, large enough to hide the hand-over


@dataclass
class Film:
    """One simulated film and its truth, all of one size (h, w).

    `lungs` is the visible lung field: both lungs, consolidated parts too, without what lies behind the heart, the
    mediastinum or the domes of the diaphragm.
    """

    image: NDArray[np.uint8]  # the film as its source would deliver it
    lungs: Mask
    lesion: Mask  # where, within `lungs`, at least 15 % of the air is replaced; empty on a normal film
    overlay: Mask  # frame, captions, side markers and watermark
    field: Box  # the radiograph within the image
    watermark: Box | None  # the sparkle
    lesion_box: Box | None


def complete_attributes(attributes: Mapping[str, Any], pair_seed: int, seed: int) -> dict[str, Any]:
    """The attributes with every gap filled: what a patient needs from `pair_seed`, what a lesion needs from `seed`.

    Missing, None, NaN and empty text count as gaps. `devices` becomes a set. A value that is not among `CHOICES` or
    `DEVICES`, and an age outside 0 to 120, are a `UserError`.
    """
    patient, disease = np.random.default_rng([int(pair_seed), 11]), np.random.default_rng([int(seed), 12])
    full: dict[str, Any] = {}
    for name, choices in CHOICES.items():
        rng = disease if name in DISEASE else patient
        drawn = "normal" if name in ("label", "exposure") else str(rng.choice(choices))
        value = attributes.get(name)
        full[name] = drawn if _is_gap(value) else str(value)
        if full[name] not in choices:
            raise UserError(f"{name} is {full[name]!r}", "simulator attributes", f"use one of: {', '.join(choices)}")
    if full["view"] == "PA":
        full["position"] = "erect"  # nobody lies on his face for a film
    devices = attributes.get("devices")
    names = set() if _is_gap(devices) or devices == "none" else set(str(devices).split(";"))
    if names - set(DEVICES):
        raise UserError(
            f"unknown device {sorted(names - set(DEVICES))[0]!r}",
            "simulator attributes",
            f"use none, or these joined by ';': {', '.join(DEVICES)}",
        )
    full["devices"] = names
    age = attributes.get("age")
    if not _is_gap(age):
        with contextlib.suppress(ValueError):
            full["age"] = float(str(age))
        if not 0 <= full.get("age", -1) <= 120:
            raise UserError(f"age is {age!r}", "simulator attributes", "give years, 0 to 120")
        if _is_gap(attributes.get("age_group")):
            full["age_group"] = "child" if full["age"] < 16 else "adult" if full["age"] < 65 else "older"
    return full


def _is_gap(value: Any) -> bool:
    return str(value) in ("", "None", "nan", "<NA>")  # what empty cells become on their way through pandas


def draw_film(
    attributes: Mapping[str, Any], pair_seed: int, seed: int, physics: str = "nano_banana", size: int = 256
) -> Film:
    """Draw one simulated chest X-ray and its truth, `size` (64 to 2048) pixels along a side.

    `attributes` are any of `CHOICES`, `age` (years) and `devices` (joined by ";", or "none"); gaps are drawn.
    `pair_seed` is the patient: the same one gives the same anatomy, with devices in the same places. `seed` is the
    opacities and the acquisition: with both seeds equal, a normal and a pneumonia film differ by the opacity alone.
    `physics` is a key of `PHYSICS`. What is unknown or out of range is a `UserError`.
    """
    if physics not in PHYSICS:
        raise UserError(f"no physics named {physics!r}", "physics", f"use one of: {', '.join(PHYSICS)}")
    if not 64 <= size <= 2048:
        raise UserError(f"films of {size} pixels cannot be simulated", "size", "use 64 to 2048")
    full = complete_attributes(attributes, pair_seed, seed)
    source = PHYSICS[physics]
    field, shade = choose_field(source, size, seed)
    patient = build_patient(full, pair_seed)
    canvas = frame_patient(patient, source, field, size, seed)
    chest = draw_chest(patient, canvas)
    healthy = chest.attenuation + draw_devices(chest, canvas, full["devices"], pair_seed)
    if source.haze[1] > 0:
        healthy += draw_haze(chest, canvas, source, seed)
    if full["label"] == "pneumonia":
        lesion = draw_lesion(chest, canvas, full, seed)
        added, lesion_mask = lesion.added, lesion.mask
    else:
        added, lesion_mask = np.zeros_like(healthy), np.zeros(healthy.shape, bool)
    film = expose(healthy, added, canvas, field, source, full["exposure"], seed)
    film, overlay, watermark = draw_overlays(film, field, shade, source, full, seed)
    lungs = chest.lungs > 0.5
    inside = np.zeros_like(lungs)
    inside[field.top : field.bottom, field.left : field.right] = True
    lungs &= inside
    lesion_mask &= lungs
    return Film(film, lungs, lesion_mask, overlay, field, watermark, mask_box(lesion_mask))


def draw_films(design: DataFrame, physics: str = "nano_banana", size: int = 256, workers: int = 0) -> Iterator[Film]:
    """Draw one film a row of `design`, in its order; `workers` processes (0: one a CPU core) never change a pixel.

    `design` needs the columns `pair_seed` and `seed`, and what `draw_film` reads.
    """
    yield from map_rows(partial(film_of_row, physics=physics, size=size), design_rows(design), workers)


def design_rows(design: DataFrame) -> list[dict[str, Any]]:
    """The design as one dictionary a row; a `UserError` when `pair_seed` or `seed` is missing."""
    missing = {"pair_seed", "seed"} - set(design.columns)
    if missing:
        raise UserError(f"the design has no column {sorted(missing)[0]!r}", "simulator", "use prompts.design")
    return [{str(key): value for key, value in row.items()} for row in design.to_dict("records")]


def film_of_row(row: Mapping[str, Any], physics: str, size: int) -> Film:
    """The film of one row of a design; see `draw_film`."""
    return draw_film(row, int(row["pair_seed"]), int(row["seed"]), physics, size)


def _run_chunk(function: Callable[[Mapping[str, Any]], Result], rows: Sequence[Mapping[str, Any]]) -> list[Result]:
    return [function(row) for row in rows]


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that reads the films
    cv2.setNumThreads(1)  # one process a core: threads of OpenCV's own would only get in each other's way
    # A film is some hundred short-lived maps of 256 KB or more. glibc gives each back to the system at once and has it
    # zeroed again for the next: a third of the time. Elsewhere than on glibc there is nothing to set.
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for name in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(name, 1 << 30)


def map_rows(
    function: Callable[[Mapping[str, Any]], Result], rows: Sequence[Mapping[str, Any]], workers: int = 0
) -> Iterator[Result]:
    """`function` over `rows` in order, in `workers` processes; what is drawn ahead of the reader is bounded.

    Processes are spawned, not forked: a fork of a process that holds torch's threads may hang.
    """
    workers = workers or cpu_count()
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    if workers == 1 or len(chunks) < 4:
        for row in rows:
            yield function(row)
        return
    pool = ProcessPoolExecutor(min(workers, len(chunks)), get_context("spawn"), _start_worker)
    try:
        waiting: deque[Future[list[Result]]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(_run_chunk, function, chunk))
            if len(waiting) > 4 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
