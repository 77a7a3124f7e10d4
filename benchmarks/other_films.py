"""Films whose look owes nothing to the simulator: other opacities, processing as archives have it, and a phantom.

The phantom shares no line of code with the simulator: ellipses, arcs and branching walks, drawn at 224 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import cv2
import numpy as np
import skimage.data
from hospitals import SIZE as SIDE

from nbhelpers.simulator.anatomy import Chest
from nbhelpers.simulator.canvas import Canvas
from nbhelpers.simulator.lesions import Lesion

NATURAL = ("brick", "grass", "gravel", "moon", "coins", "camera", "astronaut", "coffee", "chelsea")
Rng = np.random.Generator


def other_opacity(chest: Chest, canvas: Canvas, attributes: Mapping[str, Any], seed: int) -> Lesion:
    """Opacities of another hand: a few soft round shadows, or a veil with coarse grain, anywhere in either lung."""
    rng = np.random.default_rng([int(seed), 909])
    lungs = chest.lungs > 0.5
    rows, columns = np.nonzero(lungs)
    density = np.zeros_like(chest.air)
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(len(rows)))
            reach, flat = rng.uniform(0.06, 0.3), rng.uniform(0.6, 1.6)
            x, y = canvas.x[0, columns[at]], canvas.y[rows[at], 0]
            away = np.hypot((canvas.x - x) / np.float32(reach), (canvas.y - y) / np.float32(reach * flat))
            density = np.maximum(density, np.exp(-(away ** rng.uniform(1.5, 4))) * np.float32(rng.uniform(0.35, 0.9)))
    else:
        one_side = rng.random() < 0.4
        side = np.sign(canvas.x) == rng.choice([-1, 1]) if one_side else np.ones_like(lungs)
        low = 1 / (1 + np.exp(-(chest.depth - np.float32(rng.uniform(0.1, 0.7))) * np.float32(rng.uniform(2, 10))))
        density = side * low * np.float32(rng.uniform(0.25, 0.6))
    grain = canvas.random_field(rng, int(rng.integers(6, 40)))
    density = np.clip(density * (1 + np.float32(rng.uniform(0, 0.35)) * grain), 0, 1) * canvas.blur(chest.lungs, 0.01)
    return Lesion((density * chest.air).astype(np.float32), (density > 0.15) & lungs)


def _jpeg(x: Any, rng: Rng) -> Any:
    coded = cv2.imencode(".jpg", _bytes(x), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 40))])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


def _resampled(x: Any, rng: Rng) -> Any:
    small, kinds = round(SIDE / rng.uniform(2, 4)), (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    down = cv2.resize(x, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(down, (SIDE, SIDE), interpolation=kinds[rng.integers(3)])


def _unsharp(x: Any, rng: Rng) -> Any:
    return x + np.float32(rng.uniform(0.5, 3)) * (x - cv2.GaussianBlur(x, (0, 0), rng.uniform(1, 10)))


def _equalised(x: Any, rng: Rng) -> Any:
    if rng.random() < 0.5:
        return cv2.equalizeHist(_bytes(x)).astype(np.float32) / 255
    tiles = int(rng.integers(3, 12))
    return cv2.createCLAHE(rng.uniform(2, 6), (tiles, tiles)).apply(_bytes(x)).astype(np.float32) / 255


def _tone(x: Any, rng: Rng) -> Any:
    kind, x = rng.integers(3), np.clip(x, 0, 1)
    if kind == 0:
        return x ** np.float32(np.exp(rng.uniform(-0.9, 0.9)))
    if kind == 1:
        curve = np.log1p(np.float32(rng.uniform(2, 12)) * x)
        return curve / max(float(curve.max()), 1e-3)
    return 1 / (1 + np.exp(-np.float32(rng.uniform(4, 12)) * (x - np.float32(rng.uniform(0.35, 0.65)))))


def _denoised(x: Any, rng: Rng) -> Any:
    if rng.random() < 0.5:
        return cv2.medianBlur(_bytes(x), int(rng.choice([3, 5]))).astype(np.float32) / 255
    return cv2.bilateralFilter(x, 7, rng.uniform(0.05, 0.2), rng.uniform(1.5, 4))


def _noisy(x: Any, rng: Rng) -> Any:
    # Of a spectrum between blue and pink, unlike the simulator's white or blurred grain.
    away = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) + 1 / SIDE
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * away ** rng.uniform(-1.5, 0.7))
    return x + (field / field.std() * rng.uniform(0.01, 0.06)).astype(np.float32)


def _vignetted(x: Any, rng: Rng) -> Any:
    row, column = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    away = np.hypot(row - rng.uniform(-0.3, 0.3), column - rng.uniform(-0.3, 0.3))
    return x * (1 - rng.uniform(-0.3, 0.5) * (away / 1.5) ** 2).astype(np.float32)


def _bordered(x: Any, rng: Rng) -> Any:
    left, top, right, bottom = (rng.uniform(0, 0.12, 4) * SIDE * (rng.random(4) < 0.6)).astype(int)
    framed = np.full_like(x, rng.choice([0.0, 0.05, 1.0]))
    inner = slice(top, SIDE - bottom), slice(left, SIDE - right)
    framed[inner] = x[inner]
    return framed


def _textured(x: Any, rng: Rng) -> Any:
    picture = _natural()[rng.integers(len(NATURAL))]
    side = int(rng.integers(100, min(picture.shape)))
    top, left = rng.integers(picture.shape[0] - side), rng.integers(picture.shape[1] - side)
    part = np.rot90(picture[top : top + side, left : left + side], rng.integers(4))
    part = cv2.resize(np.ascontiguousarray(part), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return x + np.float32(rng.uniform(0.02, 0.08)) * (part - part.mean()) / max(float(part.std()), 1e-3)


CHAIN: tuple[Callable[[Any, Rng], Any], ...] = (
    _jpeg, _resampled, _unsharp, _equalised, _tone, _denoised, _noisy, _vignetted, _bordered, _textured,
)  # fmt: skip


@cache
def _natural() -> list[Any]:
    found = [getattr(skimage.data, name)() for name in NATURAL]
    return [(one if one.ndim == 2 else one.mean(axis=2)).astype(np.float32) / 255 for one in found]


def _bytes(x: Any) -> Any:
    return np.clip(x * 255, 0, 255).round().astype(np.uint8)


def processed(films: Any, seed: int) -> Any:
    """Each film after three to six steps of `CHAIN` of its own, blind to the label."""
    made = []
    for number, one in enumerate(films):
        rng = np.random.default_rng([seed, number, 5])
        x = one.astype(np.float32) / 255
        for step in rng.permutation(len(CHAIN))[: rng.integers(3, 7)]:
            x = CHAIN[step](x, rng).astype(np.float32)
        made.append(_bytes(x))
    return np.stack(made)


def _cloud(rng: Rng, slope: float) -> Any:
    # A random field whose amplitude falls with frequency ** slope, mean 0 and standard deviation 1.
    away = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) + 1 / SIDE
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * away**-slope)
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _oval(x: float, y: float, a: float, b: float, tilt: float, power: float, edge: float) -> Any:
    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    u, v = column - x, row - y
    u, v = u * np.cos(tilt) + v * np.sin(tilt), v * np.cos(tilt) - u * np.sin(tilt)
    return 1 / (1 + np.exp(((np.abs(u / a) ** power + np.abs(v / b) ** power) ** (1 / power) - 1) / edge))


def _strokes(paths: list[Any], widths: list[float], blur: float) -> Any:
    layer = np.zeros((SIDE, SIDE), np.float32)
    for path, width in zip(paths, widths, strict=True):
        one = np.zeros((SIDE, SIDE), np.uint8)
        points = (np.asarray(path) * SIDE * 16).astype(np.int32)[None]
        cv2.polylines(one, points, False, 255, max(1, round(width * SIDE)), cv2.LINE_AA, 4)
        layer += cv2.GaussianBlur(one.astype(np.float32) / 255, (0, 0), blur)
    return layer


def _vessels(rng: Rng, x: float, y: float, side: int) -> tuple[list[Any], list[float]]:
    paths, widths, tips = [], [], [(x, y, rng.uniform(-0.9, 0.9), 0.016, 0) for _ in range(7)]
    while tips:
        x0, y0, angle, width, depth = tips.pop()
        length, bend = rng.uniform(0.05, 0.1), rng.normal(0, 0.35)
        x1, y1 = x0 + side * length * np.cos(angle), y0 + length * np.sin(angle) * 1.4
        paths.append([(x0, y0), ((x0 + x1) / 2 + rng.normal(0, 0.005), (y0 + y1) / 2), (x1, y1)])
        widths.append(width)
        if depth < 3:
            tips += [(x1, y1, angle + bend + turn, width * 0.68, depth + 1) for turn in (-0.35, 0.35)]
    return paths, widths


def _phantom(patient: int, exposure: int, ill: bool) -> Any:
    """A film, uint8 (224, 224): anatomy and opacity by `patient`, how it was taken by `exposure`."""
    rng = np.random.default_rng([patient, 1])
    middle, top = 0.5 + rng.normal(0, 0.02), rng.uniform(0.12, 0.2)
    half, tall = rng.uniform(0.13, 0.18), rng.uniform(0.28, 0.38)
    sides = (-1, 1)
    lungs = [
        _oval(middle + s * rng.uniform(1.15, 1.4) * half, top + tall, half, tall, s * rng.uniform(0.0, 0.14),
              rng.uniform(2.2, 3.2), rng.uniform(0.02, 0.05)) for s in sides
    ]  # fmt: skip
    lungs = [
        lung * _oval(middle + s * 1.3 * half, top, 2 * half, 2 * tall * rng.uniform(0.84, 0.95), 0, 2.5, 0.02)
        for lung, s in zip(lungs, sides, strict=True)
    ]
    size = rng.uniform(0.1, 0.15)
    heart = _oval(middle + 0.05, top + 1.45 * tall, size, size * rng.uniform(0.9, 1.3), 0.5, 2, 0.06)
    air = np.clip(sum(lungs), 0, 1) * (1 - heart)
    body = _oval(middle, 0.75, rng.uniform(0.4, 0.5), 0.75, 0, 4, 0.03) * rng.uniform(0.55, 0.8)
    ribs, widths = [], []
    t = np.linspace(0, 1, 24)
    drop, gap = rng.uniform(0.05, 0.14), rng.uniform(0.062, 0.085)
    for level, s in ((level, s) for level in range(9) for s in sides):
        y = top - 0.03 + gap * level
        ribs.append(np.stack([middle + s * (0.03 + 2.15 * half * t), y + drop * (t**2 - np.sin(np.pi * t) * 0.5)], 1))
        widths.append(rng.uniform(0.016, 0.024))
    bones = rng.uniform(0.1, 0.22) * _strokes(ribs, widths, 1.0)
    collar = [
        [(middle + s * 0.05, top + 0.05), (middle + s * 0.2, top - 0.02), (middle + s * 0.4, top - 0.06)] for s in sides
    ]
    bones += 0.15 * _strokes(collar, [0.028] * 2, 1.2)
    spine = np.exp(-(((np.arange(SIDE) / SIDE - middle) / 0.035) ** 2))[None].astype(np.float32)
    vessels = np.zeros_like(air)
    for s in sides:
        vessels += _strokes(*_vessels(rng, middle + s * 0.07, top + 0.9 * tall, s), 0.8)
    vessels = np.clip(vessels, 0, 1.5) * rng.uniform(0.08, 0.16) * air
    thick = body + 0.35 * heart + (0.25 + 0.05 * rng.normal()) * spine - rng.uniform(0.45, 0.6) * air + bones + vessels
    thick += 0.02 * _cloud(rng, 1.5) * body
    if ill:  # the thresholded hills of a cloud, in one lung or both
        where = air * (1.0 if rng.random() < 0.4 else lungs[int(rng.integers(2))])
        field = _cloud(rng, rng.uniform(1.4, 2.4))
        level = np.quantile(field[where > 0.5], rng.uniform(0.4, 0.8)) if (where > 0.5).any() else 0.0
        hills = 1 / (1 + np.exp(-(field - level) * rng.uniform(1.5, 5))) * where
        thick += rng.uniform(0.2, 0.42) * hills
    taken = np.random.default_rng([exposure, 2])
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), taken.normal(0, 4), taken.uniform(0.85, 1.2))
    turn[:, 2] += taken.normal(0, 0.02 * SIDE, 2)
    thick = cv2.warpAffine(thick.astype(np.float32), turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    low, high = np.quantile(thick, [taken.uniform(0.0, 0.08), taken.uniform(0.93, 1.0)])
    grey = np.clip((thick - low) / max(high - low, 0.1), 0, 1) ** np.exp(taken.uniform(-0.4, 0.4))
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), taken.uniform(0.3, 1.3))
    grey += taken.uniform(0.0, 0.03) * _cloud(taken, taken.uniform(-0.2, 0.6))
    return np.clip(grey * 255, 0, 255).astype(np.uint8)


def phantoms(pairs: int, seed: int) -> tuple[Any, Any]:
    """Films `(2 n, 224, 224)` and labels: each patient once with and once without an opacity, two exposures."""
    made = [_phantom(seed * 100_000 + i, 2 * i + int(ill) + seed, ill) for i in range(pairs) for ill in (True, False)]
    return np.stack(made), np.tile([1, 0], pairs)
