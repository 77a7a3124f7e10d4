"""What is on a film and is no patient: frames, captions, side markers, collimation and the sparkle watermark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.images.masks import Box, Mask, mask_box
from nbhelpers.simulator.acquisition import Physics

Film = NDArray[np.uint8]

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_COMPLEX)
_CAPTIONS = (
    "CHEST X-RAY", "CHEST {view}", "{view} {position}", "PORTABLE", "{view} VIEW",
    "{position}", "Fig. 1",
    "X-RAY CHEST", "ID 4711",
    "HOSPITAL", "RADIOLOGY", "Patient: {number}", "{number}", "kVp 110", "12:4{digit}", "SE 1 IM {digit}",
)  # fmt: skip


def choose_field(physics: Physics, size: int, seed: int) -> tuple[Box, int]:
    """Where the radiograph lies in an image `size` pixels along a side, and the grey value of the frame around it."""
    rng = np.random.default_rng([int(seed), 707])
    if rng.random() >= physics.frames:
        return Box(0, 0, size, size), 0
    kind = rng.random()
    most = 0.10 * size
    if kind < 0.5:  # all around
        borders = rng.uniform(0.2, 1.0) * most * rng.uniform(0.7, 1.0, 4)
    elif kind < 0.75:  # above and below
        borders = np.array([0.0, 1.0, 0.0, 1.0]) * rng.uniform(0.2, 1.0, 4) * most
    else:  # left and right
        borders = np.array([1.0, 0.0, 1.0, 0.0]) * rng.uniform(0.2, 1.0, 4) * most
    left, top, right, bottom = (round(value) for value in borders)
    shade = int(rng.choice([0, 0, 0, 255, 255, int(rng.integers(10, 250))]))
    return Box(left, top, size - right, size - bottom), shade


def draw_overlays(
    film: Film, field: Box, shade: int, physics: Physics, attributes: Mapping[str, Any], seed: int
) -> tuple[Film, Mask, Box | None]:
    """Put frame, collimation, markers, captions and watermark on a film.

    Gives a new film, the pixels of all these but the collimation, and the sparkle's box (None where there is none).
    """
    rng = np.random.default_rng([int(seed), 808])
    film = film.copy()
    overlay = np.zeros(film.shape, bool)
    if rng.random() < physics.collimation:
        _collimate(film, field, rng)
    _frame(film, overlay, field, shade, rng)
    if rng.random() < physics.markers:
        _marker(film, overlay, field, rng)
    if rng.random() < physics.captions:
        for _ in range(int(rng.integers(1, 3))):
            _caption(film, overlay, field, attributes, rng)
    watermark = _sparkle(film, overlay, rng) if physics.watermark else None
    return film, overlay, watermark


def _collimate(film: Film, field: Box, rng: np.random.Generator) -> None:
    # Lead shutters leave the film's margin almost white or black; part of the radiograph, so no overlay.
    left, top, right, bottom = field
    width, height = right - left, bottom - top
    cuts = np.where(rng.random(4) < 0.5, rng.uniform(0.0, 0.035, 4), 0.0) * [width, height, width, height]
    a, b, c, d = (round(value) for value in cuts)
    value = int(rng.integers(0, 25)) if rng.random() < 0.8 else int(rng.integers(225, 256))
    film[top : top + b, left:right] = value
    film[bottom - d : bottom, left:right] = value
    film[top:bottom, left : left + a] = value
    film[top:bottom, right - c : right] = value


def _frame(film: Film, overlay: Mask, field: Box, shade: int, rng: np.random.Generator) -> None:
    left, top, right, bottom = field
    height, width = film.shape
    outside = np.ones(film.shape, bool)
    outside[top:bottom, left:right] = False
    film[outside] = shade
    if outside.any() and rng.random() < 0.3:  # a thin line along the radiograph's edge
        line = 255 - shade if rng.random() < 0.5 else 128
        cv2.rectangle(
            film, (max(left - 1, 0), max(top - 1, 0)), (min(right, width - 1), min(bottom, height - 1)), line, 1
        )
    overlay |= outside


def _write(
    film: Film, overlay: Mask, text: str, corner: tuple[int, int], font: int, scale: float, bold: int, value: int
) -> None:
    ink = np.zeros_like(film)
    cv2.putText(ink, text, corner, font, scale, 255, bold, cv2.LINE_AA)
    where = ink > 0
    under = film[where].astype(np.float32)
    film[where] = np.rint(under + (value - under) * (ink[where] * np.float32(1 / 255))).astype(np.uint8)
    overlay |= ink > 24


def _marker(film: Film, overlay: Mask, field: Box, rng: np.random.Generator) -> None:
    # R on the left of the image, L on the right: the patient faces the reader.
    left, top, right, bottom = field
    width, height = right - left, bottom - top
    letter = "R" if rng.random() < 0.6 else "L"
    scale = rng.uniform(0.35, 0.8) * film.shape[0] / 256
    span = int(22 * scale)
    near = round(rng.uniform(0.015, 0.07) * width)
    x = left + near if letter == "R" else right - near - span
    y = top + span + round(rng.uniform(0.02, 0.16) * height)
    bold = max(1, round(rng.uniform(0.8, 2.0) * film.shape[0] / 256))
    value = int(rng.integers(190, 256))
    _write(film, overlay, letter, (x, y), int(rng.choice(_FONTS)), scale, bold, value)
    if rng.random() < 0.15:
        centre, radius = (x + span // 2 - 1, y - span // 2 + 1), int(0.95 * span)
        ring = np.zeros_like(film)
        cv2.circle(ring, centre, radius, 255, max(1, bold - 1), cv2.LINE_AA)
        film[ring > 100] = value
        overlay |= ring > 24


def _caption(film: Film, overlay: Mask, field: Box, attributes: Mapping[str, Any], rng: np.random.Generator) -> None:
    size = film.shape[0]
    text = str(rng.choice(_CAPTIONS)).format(
        view=attributes["view"],
        position=str(attributes["position"]).upper(),
        number=int(rng.integers(1000, 99999)),
        digit=int(rng.integers(0, 10)),
    )
    font = int(rng.choice(_FONTS[:3]))
    scale = rng.uniform(0.28, 0.45) * size / 256 * (1.5 if font == cv2.FONT_HERSHEY_PLAIN else 1.0)
    (width, height), _ = cv2.getTextSize(text, font, scale, 1)
    place = rng.random()
    x = round(rng.uniform(0.01, 0.03) * size)
    if place >= 0.35:
        x = max(1, (size - width) // 2) if place < 0.65 else max(1, size - width - x)
    if rng.random() < 0.6:  # along the top; below it would meet the watermark on the right
        y = height + round(rng.uniform(0.008, 0.025) * size)
    else:
        y = size - round(rng.uniform(0.012, 0.03) * size)
        x = min(x, max(1, round(0.84 * size) - width))
    under = film[max(y - height, 0) : y, x : x + width]
    value = 25 if under.size and under.mean() > 140 else int(rng.integers(190, 256))
    _write(film, overlay, text, (x, y), font, scale, max(1, round(size / 320)), value)


def _sparkle(film: Film, overlay: Mask, rng: np.random.Generator) -> Box | None:
    # A four-pointed star with concave sides, half transparent, near the lower right corner.
    size = film.shape[0]
    radius = rng.uniform(0.026, 0.045) * size
    margin = rng.uniform(0.015, 0.04) * size
    centre = film.shape[1] - margin - radius, size - margin - radius
    reach = int(np.ceil(radius)) + 1
    left, top = int(centre[0]) - reach, int(centre[1]) - reach
    right, bottom = min(left + 2 * reach + 2, film.shape[1]), min(top + 2 * reach + 2, size)
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    power = rng.uniform(0.5, 0.62)
    star = (np.abs(x - centre[0]) / radius) ** power + (np.abs(y - centre[1]) / radius) ** power
    strength = np.clip((1.02 - star) * radius * 0.35 + 0.5, 0, 1) * (star < 1.12) * rng.uniform(0.6, 0.95)
    patch = film[top:bottom, left:right].astype(np.float32)
    value = 255.0 if patch.mean() < 175 else rng.uniform(60, 120)  # it must stand out from what it lies on
    film[top:bottom, left:right] = np.clip(patch + (value - patch) * strength, 0, 255).astype(np.uint8)
    drawn = np.zeros(film.shape, bool)
    drawn[top:bottom, left:right] = strength > 0.05
    overlay |= drawn
    return mask_box(drawn)
