"""From attenuation to film: framing, tubes and wires, scatter, response, sharpness and noise, by kind of source."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nbhelpers.images.masks import Box
from nbhelpers.simulator.anatomy import LEFT, RIGHT, Chest, Patient
from nbhelpers.simulator.canvas import Canvas, Map, blur_pixels, curve

Range = tuple[float, float]


@dataclass(frozen=True)
class Physics:
    """How one kind of source makes and presents its films; every pair is the range that a film draws from.

    `fill`: share of the field's width that the lungs take. `stretch`: standard deviation of log(width / height).
    `tilt`: standard deviation, degrees. `lowest`: how far down the image the lungs may reach, as a share of its height.
    `scatter`: share of blurred light. `contrast`: steepness of the response. `gamma`: of its result. `window`:
    percentiles of the body's attenuation that become black and white. `sharpen`: chance and strength of edge
    enhancement. `blur`: standard deviation as a share of the image's side. `noise`: standard deviation, 1 being white.
    `compress`: share that was a JPEG once. `watermark`: on every film or on none. `frames`, `captions`, `markers`,
    `collimation`: chance of each. `detail`: share of the resolution that is real, the rest being enlargement.
    `equalise`: chance and strength (clip limit) of local equalisation. `haze`: veil over the lungs of either class, in
    shares of their air.
    """

    fill: Range
    stretch: float
    tilt: float
    lowest: float
    scatter: Range
    contrast: Range
    gamma: Range
    window: tuple[Range, Range]
    sharpen: tuple[float, Range]
    blur: Range
    noise: Range
    compress: float
    watermark: bool
    frames: float
    captions: float
    markers: float
    collimation: float
    detail: Range = (1.0, 1.0)
    equalise: tuple[float, Range] = (0.0, (1.0, 1.0))
    haze: Range = (0.0, 0.0)


PHYSICS: dict[str, Physics] = {
    # A general image model: any look, and the things that it adds.
    "nano_banana": Physics(
        fill=(0.60, 0.92), stretch=0.15, tilt=4.0, lowest=0.86, scatter=(0.0, 0.35), contrast=(1.5, 5.0),
        gamma=(0.7, 1.45), window=((0.2, 6.0), (93.0, 99.9)), sharpen=(0.4, (0.2, 1.2)), blur=(0.0, 0.006),
        noise=(0.0, 0.03), compress=0.3, watermark=True, frames=0.45, captions=0.4, markers=0.6, collimation=0.15,
    ),
    # A model fine-tuned on clean films.
    "roentgen": Physics(
        fill=(0.70, 0.92), stretch=0.06, tilt=2.0, lowest=0.97, scatter=(0.05, 0.3), contrast=(2.0, 4.5),
        gamma=(0.8, 1.25), window=((0.5, 4.0), (95.0, 99.8)), sharpen=(0.2, (0.2, 0.7)), blur=(0.001, 0.005),
        noise=(0.0, 0.015), compress=0.0, watermark=False, frames=0.0, captions=0.0, markers=0.15, collimation=0.0,
    ),
    # A hospital with digital detectors and a grid: crisp, flat, lead letters, collimated fields.
    "hospital_a": Physics(
        fill=(0.62, 0.97), stretch=0.12, tilt=4.0, lowest=1.02, scatter=(0.10, 0.30), contrast=(0.8, 3.0),
        gamma=(0.75, 1.1), window=((0.1, 3.0), (97.0, 100.0)), sharpen=(0.7, (0.4, 1.6)), blur=(0.0, 0.004),
        noise=(0.006, 0.03), compress=0.6, watermark=False, frames=0.0, captions=0.05, markers=0.9, collimation=0.4,
    ),
    # One with portable machines and no grid: scatter, noise, washed out.
    "hospital_b": Physics(
        fill=(0.55, 0.90), stretch=0.12, tilt=7.0, lowest=1.05, scatter=(0.30, 0.55), contrast=(2.5, 6.0),
        gamma=(0.85, 1.7), window=((1.0, 10.0), (90.0, 99.0)), sharpen=(0.15, (0.2, 0.8)), blur=(0.003, 0.010),
        noise=(0.01, 0.038), compress=0.8, watermark=False, frames=0.0, captions=0.1, markers=0.7, collimation=0.6,
    ),
    # A children's hospital with plates that are read out: tight fields, hard contrast, little resolution.
    "hospital_c": Physics(
        fill=(0.72, 1.0), stretch=0.18, tilt=6.0, lowest=0.98, scatter=(0.0, 0.2), contrast=(2.0, 6.0),
        gamma=(0.6, 1.2), window=((0.5, 8.0), (90.0, 99.5)), sharpen=(0.5, (0.2, 1.4)), blur=(0.0, 0.005),
        noise=(0.0, 0.02), compress=1.0, watermark=False, frames=0.15, captions=0.05, markers=0.7, collimation=0.5,
        detail=(0.4, 1.0), haze=(0.0, 0.10),
    ),
    # An intensive care unit: lying patients, haze over all, whatever the machine at the bedside gives.
    "hospital_d": Physics(
        fill=(0.55, 0.88), stretch=0.10, tilt=7.0, lowest=1.0, scatter=(0.2, 0.55), contrast=(1.2, 4.5),
        gamma=(0.8, 1.6), window=((0.5, 8.0), (92.0, 99.8)), sharpen=(0.4, (0.2, 1.2)), blur=(0.001, 0.008),
        noise=(0.008, 0.035), compress=0.9, watermark=False, frames=0.05, captions=0.1, markers=0.7, collimation=0.5,
        detail=(0.6, 1.0), equalise=(0.3, (1.0, 3.0)), haze=(0.0, 0.25),
    ),
}  # fmt: skip

_EXPOSURE = {"under": 0.16, "normal": 0.0, "over": -0.16}


def frame_patient(patient: Patient, physics: Physics, field: Box, size: int, seed: int) -> Canvas:
    """Place a patient in the field (pixels) of a film `size` pixels along a side: zoom, position, stretch and tilt."""
    rng = np.random.default_rng([int(seed), 404])
    left, top, right, bottom = field
    width, height = right - left, bottom - top
    lowest = max(patient.lung_bottom(RIGHT), patient.lung_bottom(LEFT))
    stretch = float(np.exp(rng.normal(0, physics.stretch)))
    across = rng.uniform(*physics.fill) * width / 2  # pixels to a body unit
    down = across / stretch
    space = rng.uniform(0.05, 0.22) if patient.growth > 0.6 else rng.uniform(0.08, 0.28)
    floor = physics.lowest * size
    if physics.watermark:  # its corner stays clear, in the radiograph and in the frame
        floor = min(floor, bottom - 0.03 * height)
    room = floor - (top + space * height)
    # The lungs must fit; a film that would cut them is taken from further away.
    shrink = min(1.0, room / (lowest * down))
    across, down = across * max(shrink, 0.82), down * shrink
    tilt = np.deg2rad(rng.normal(0, physics.tilt) * (1.3 if patient.growth < 0.4 else 0.8))
    tilt = float(np.clip(tilt, -0.2, 0.2))
    cosine, sine = np.cos(tilt), np.sin(tilt)
    matrix = np.array([[across * cosine, -down * sine], [across * sine, down * cosine]])
    slack = max(0.0, room - lowest * down)
    centre_x = (left + right) / 2 + rng.normal(0, 0.025) * width
    middle = np.array([0.0, lowest / 2])
    target = np.array([centre_x, top + space * height + lowest * down / 2 + rng.uniform(0, 0.7) * slack])
    return Canvas(size, size, np.hstack([matrix, (target - matrix @ middle)[:, None]]))


def draw_devices(chest: Chest, canvas: Canvas, devices: set[str], seed: int) -> Map:
    """Attenuation of the devices asked for: ecg_leads, endotracheal_tube, nasogastric_tube, central_line, pacemaker."""
    rng = np.random.default_rng([int(seed), 505])
    patient = chest.patient
    height = patient.lung_height
    soft, dense = canvas.zeros(), canvas.zeros()
    if "ecg_leads" in devices:
        spots = [(-0.75, 0.1), (0.75, 0.08), (-0.7, height), (0.75, height + 0.05), (0.1, 0.65 * height)]
        for x, y in spots[: int(rng.integers(3, 6))]:
            x, y = x + rng.normal(0, 0.1), y + rng.normal(0, 0.1)
            _dot(canvas, dense, x, y, rng.uniform(0.03, 0.05), 230)
            _dot(canvas, soft, x, y, 0.08, 90)
            away = [
                (x, y),
                (x + rng.normal(0, 0.2), y + 0.3),
                (x + rng.normal(0, 0.4), y + 0.8),
                (rng.normal(0, 1), 3.2),
            ]
            canvas.lines(dense, curve(away, 30)[None], 0.018, 170)
    if "endotracheal_tube" in devices:
        tip = (chest.carina[0] + rng.normal(0, 0.01), chest.carina[1] - rng.uniform(0.12, 0.3))
        path = curve([(rng.normal(0, 0.08), -1.4), (0.0, -0.5), (tip[0], -0.1), tip], 24)
        canvas.ribbons(soft, path[None], 0.075, 110)
        canvas.lines(dense, (path + np.array([0.03, 0.0]))[None], 0.014, 190)
    if "nasogastric_tube" in devices:
        end = (rng.uniform(0.25, 0.5), height + rng.uniform(0.25, 0.45))
        way = [(0.05, -1.4), (rng.normal(0, 0.03), -0.2), (0.04, 0.5 * height), (0.08, 0.95 * height), end]
        canvas.lines(dense, curve(way, 40)[None], 0.024, 200)
    if "central_line" in devices:
        side = RIGHT if rng.random() < 0.7 else LEFT
        end = (-patient.mediastinum * 0.8, 0.45 * height + rng.normal(0, 0.05))
        if rng.random() < 0.5:  # from the neck, else from under the clavicle
            way = [(side * 0.3, -0.9), (side * 0.2, -0.3), (side * 0.13, 0.05), end]
        else:
            way = [(side * 0.95, 0.25), (side * 0.6, 0.03), (side * 0.16, 0.08), end]
        canvas.lines(dense, curve(way, 36)[None], 0.020, 190)
    if "pacemaker" in devices:
        side = LEFT if rng.random() < 0.85 else RIGHT
        x, y = side * rng.uniform(0.6, 0.8), rng.uniform(0.12, 0.28)
        turn = np.linspace(0, 2 * np.pi, 40)
        can = np.stack([x + 0.16 * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.6,
                        y + 0.13 * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.6], 1)  # fmt: skip
        canvas.fill(dense, can, 255)
        canvas.fill(dense, can * [1, 0.35] + [0, 0.65 * y - 0.07], 200)
        for goal in [(-0.05, 0.6 * height), (0.28, 0.93 * height)][: int(rng.integers(1, 3))][::-1]:
            way = [(x - side * 0.1, y + 0.08), (side * 0.3, 0.02), (-0.1, 0.25 * height), (-0.14, 0.6 * height), goal]
            canvas.lines(dense, curve(way, 48)[None], 0.020, 200)
    strength = rng.uniform(0.6, 1.0)
    layer = canvas.blur(soft.astype(np.float32), 0.006) * 0.25 + canvas.blur(dense.astype(np.float32), 0.004) * 0.45
    return layer * np.float32(strength / 255)


def _dot(canvas: Canvas, layer: NDArray[np.uint8], x: float, y: float, radius: float, value: float) -> None:
    turn = np.linspace(0, 2 * np.pi, 20)
    canvas.fill(layer, np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1), value)


def expose(
    healthy: Map, added: Map, canvas: Canvas, field: Box, physics: Physics, exposure: str, seed: int
) -> NDArray[np.uint8]:
    """Film, uint8 (h, w), of `healthy + added` attenuation.

    Everything that the machine adapts to the patient (scatter, window) is taken from `healthy`, so that an opacity
    changes the film where it lies and nowhere else.
    """
    rng = np.random.default_rng([int(seed), 606])
    size = min(canvas.height, canvas.width)
    left, top, right, bottom = field
    share = rng.uniform(*physics.scatter)
    spread = blur_pixels(healthy, rng.uniform(0.04, 0.12) * size)
    image: Map = (1 - share) * (healthy + added) + share * (spread + 0.5 * added)
    heel = rng.normal(0, 0.05, 2)
    image += np.float32(heel[0]) * canvas.x + np.float32(heel[1]) * (canvas.y - 1)

    inner = healthy[top:bottom:4, left:right:4]
    inside = inner[inner > 0.12]
    reference = inside if inside.size > 64 else inner.ravel()
    low, high = (rng.uniform(*limits) for limits in physics.window)
    black, white = np.percentile(reference, [low, high])
    black -= rng.uniform(0.0, 0.12)
    image = (image - np.float32(black)) * np.float32(1 / max(white - black, 0.1))
    image += np.float32(_EXPOSURE[exposure] + rng.normal(0, 0.05))

    steep, centre = rng.uniform(*physics.contrast), rng.uniform(0.4, 0.65)
    curved = 1 / (1 + np.exp(-np.float32(steep) * (image - np.float32(centre))))
    floor, ceiling = (1 / (1 + np.exp(-steep * (end - centre))) for end in (0.0, 1.0))
    image = np.clip((curved - np.float32(floor)) * np.float32(1 / (ceiling - floor)), 0, 1.05)
    image = np.asarray(cv2.pow(image, float(np.exp(rng.uniform(*np.log(physics.gamma))))))

    # A generator of its own: what a hospital does besides leaves the other draws as they are.
    besides = np.random.default_rng([int(seed), 909])
    detail = besides.uniform(*physics.detail)
    image = _enlarged(image, detail) if detail < 1 else image
    chance, limits = physics.equalise
    if besides.random() < chance:
        even = cv2.createCLAHE(besides.uniform(*limits), (8, 8))
        image = even.apply((np.clip(image, 0, 1) * 65535).astype(np.uint16)).astype(np.float32) / 65535
    image = blur_pixels(image, rng.uniform(*physics.blur) * size)
    chance, strengths = physics.sharpen
    if rng.random() < chance:
        strength, radius = rng.uniform(*strengths), rng.uniform(0.004, 0.03)
        image = image + np.float32(strength) * (image - blur_pixels(image, radius * size))
    low_grey, high_grey = rng.uniform(0, 0.10), rng.uniform(0.82, 1.0)
    image = np.clip(image, 0, 1) * np.float32(high_grey - low_grey) + np.float32(low_grey)

    level = rng.uniform(*physics.noise) * (1.5 if exposure == "under" else 1.0)
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    if rng.random() < 0.5:
        grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.5, 1.0)) * 1.6
    image += grain * np.float32(level) * (0.6 + 0.8 * (1 - image))
    film = np.clip(image * 255, 0, 255).astype(np.uint8)
    if rng.random() < physics.compress:
        quality = int(rng.integers(45, 95))
        coded = cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        film = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    return film


def _enlarged(image: Map, detail: float) -> Map:
    # As from a detector, or an archive, with fewer pixels than the image that is handed on.
    height, width = image.shape
    small = cv2.resize(image, (round(width * detail), round(height * detail)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def draw_haze(chest: Chest, canvas: Canvas, physics: Physics, seed: int) -> Map:
    """Attenuation of what veils both lungs of a patient of either class: poor breath, fluid in the chest wall, age."""
    rng = np.random.default_rng([int(seed), 910])
    level = rng.uniform(*physics.haze)
    uneven = np.clip(1 + 0.5 * canvas.fractal_field(rng, 8, 2), 0, 2)
    return np.float32(level) * uneven * chest.air
