"""Drawing in a patient's own coordinates: one affine map takes every shape straight to the film's pixels.

The body frame: x to the right of the image (the patient's left), y downwards, the origin between the lung apices, one
unit half the inner width of the thorax.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Map = NDArray[np.floating[Any]]  # float32 by use: a map of doubles would cost twice the time

# What random fields cover, in body units: more than any film shows.
_FIELD_LEFT, _FIELD_TOP, _FIELD_SPAN = -2.4, -1.6, 4.8
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def ramp(distance: Map, width: float) -> Map:
    """0 to 1 across `width` around `distance` = 0."""
    return np.clip(distance * np.float32(1 / max(width, 1e-6)) + np.float32(0.5), 0, 1)


def dome(distance: Map, reach: float) -> Map:
    """Thickness of a rounded body, 0 to 1: a quarter circle over the first `reach` of `distance` from its edge."""
    missing = np.maximum(np.float32(1) - distance * np.float32(1 / reach), 0)
    np.multiply(missing, missing, out=missing)
    np.subtract(1, missing, out=missing)
    return np.asarray(np.sqrt(missing, out=missing))


def curve(points: ArrayLike, count: int = 48) -> NDArray[np.float64]:
    """A smooth Catmull-Rom curve through `points` (n, 2), as (count, 2)."""
    knots = np.asarray(points, float)
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    position = np.linspace(0, len(knots) - 1, count)
    index = np.minimum(position.astype(int), len(knots) - 2)
    t = (position - index)[:, None]
    a, b, c, d = (padded[index + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


@dataclass
class Canvas:
    """A film's pixel grid, and the affine map from the body frame to it."""

    height: int
    width: int
    matrix: NDArray[np.float64]  # (2, 3), body to pixel coordinates
    scale: float = field(init=False)  # pixels to a body unit, the geometric mean of both axes

    def __post_init__(self) -> None:
        linear = self.matrix[:, :2]
        self.scale = float(np.sqrt(abs(np.linalg.det(linear))))
        inverse = np.linalg.inv(linear)
        self._inverse = np.hstack([inverse, -inverse @ self.matrix[:, 2:]])
        rows = np.arange(self.height, dtype=np.float32)[:, None]
        columns = np.arange(self.width, dtype=np.float32)[None, :]
        x, y = self._inverse.astype(np.float32)
        self._parts = (x[0] * columns, x[1] * rows + x[2], y[0] * columns, y[1] * rows + y[2])
        self.x: Map = self._parts[0] + self._parts[1]
        self.y: Map = self._parts[2] + self._parts[3]

    def coarse(self) -> Canvas:
        """A canvas of the same view with half the pixels along a side, for what is smooth."""
        matrix = self.matrix / 2
        matrix[:, 2] -= 0.25  # centres of pixels, not their corners, are what the map hits
        return Canvas(-(-self.height // 2), -(-self.width // 2), matrix)

    def enlarge(self, image: Map) -> Map:
        """A map of the `coarse` canvas on this one."""
        large = cv2.resize(image, (2 * image.shape[1], 2 * image.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large[: self.height, : self.width])

    def shrink(self, image: Map) -> Map:
        """A map of this canvas on the `coarse` one."""
        size = (-(-self.width // 2), -(-self.height // 2))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))

    def zeros(self) -> NDArray[np.uint8]:
        """An empty uint8 layer to draw bones, vessels or tubes on."""
        return np.zeros((self.height, self.width), np.uint8)

    def pixels(self, points: ArrayLike) -> NDArray[np.int32]:
        """Body points (..., 2) in OpenCV's fixed-point pixels."""
        mapped = np.asarray(points, float) @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.rint(np.minimum(np.maximum(mapped, -4096), 8192) * (1 << _SHIFT)).astype(np.int32)

    def fill(self, layer: NDArray[np.uint8], points: ArrayLike, value: float = 255) -> None:
        """Fill a polygon (n, 2), or several (m, n, 2) that do not overlap, anti-aliased."""
        outlines = self.pixels(points)
        cv2.fillPoly(layer, list(outlines.reshape(-1, *outlines.shape[-2:])), int(value), cv2.LINE_AA, _SHIFT)

    def polygon(self, points: ArrayLike, softness: float = 0.0) -> Map:
        """A filled polygon as 0 to 1, its edge blurred by `softness` body units."""
        layer = self.zeros()
        self.fill(layer, points)
        return self.blur(layer.astype(np.float32) * np.float32(1 / 255), softness)

    def ribbons(
        self, layer: NDArray[np.uint8], paths: NDArray[np.float64], width: ArrayLike, values: ArrayLike = 255
    ) -> None:
        """Bands of `width` (body units, broadcast to (m, n)) along centre lines (m, n, 2), each with its own value."""
        left, right = band_edges(paths, width)
        outlines = self.pixels(np.concatenate([left, right[:, ::-1]], 1))
        for outline, value in zip(outlines, np.broadcast_to(values, len(outlines)).tolist(), strict=True):
            cv2.fillPoly(layer, [outline], value, cv2.LINE_AA, _SHIFT)

    def lines(self, layer: NDArray[np.uint8], paths: ArrayLike, width: float, value: float = 255) -> None:
        """Thin lines (n, k, 2) of `width` body units; below a pixel they fade instead of getting thinner."""
        pixels = width * self.scale
        thickness = max(1, round(pixels))
        shade = value * min(1.0, pixels / thickness)
        cv2.polylines(layer, list(self.pixels(paths)), False, int(max(shade, 1)), thickness, cv2.LINE_AA, _SHIFT)

    def ellipse(self, x: float, y: float, a: float, b: float, angle: float = 0.0) -> Map:
        """Squared elliptic radius around (x, y) with half axes a, b: 1 on the ellipse."""
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        xc, xr, yc, yr = self._parts
        xr, yr = xr - np.float32(x), yr - np.float32(y)
        f = np.float32
        u = (xc * f(cosine / a) + yc * f(sine / a)) + (xr * f(cosine / a) + yr * f(sine / a))
        v = (yc * f(cosine / b) - xc * f(sine / b)) + (yr * f(cosine / b) - xr * f(sine / b))
        return u * u + v * v

    def blob(self, x: float, y: float, a: float, b: float) -> Map:
        """A Gaussian spot of standard deviations a, b at (x, y), upright on the film: 1 at its middle."""
        column, row = self.matrix @ [x, y, 1.0]
        across = np.hypot(*self.matrix[:, 0]) * a
        down = np.hypot(*self.matrix[:, 1]) * b
        u = (np.arange(self.width, dtype=np.float32) - np.float32(column)) * np.float32(1 / across)
        v = (np.arange(self.height, dtype=np.float32) - np.float32(row)) * np.float32(1 / down)
        return np.asarray(np.exp(-0.5 * v * v)[:, None] * np.exp(-0.5 * u * u)[None, :])

    def blur(self, image: Map, sigma: float) -> Map:
        """Gaussian blur by `sigma` body units; wide ones on a coarser grid."""
        return blur_pixels(image, sigma * self.scale)

    def random_field(self, rng: np.random.Generator, cells: int) -> Map:
        """Smooth noise of unit variance with `cells` random knots across the body frame: the same at any film size."""
        knots = rng.standard_normal((cells, cells), dtype=np.float32)
        to_cells = np.array([[cells / _FIELD_SPAN, 0], [0, cells / _FIELD_SPAN]])
        matrix = to_cells @ self._inverse
        matrix[:, 2] += to_cells @ [-_FIELD_LEFT, -_FIELD_TOP] - 0.5
        # Interpolation weights are quantised: a field much coarser than the film is drawn small and enlarged.
        step = 4 if cells <= 12 else 2 if cells <= 40 else 1
        shrink = np.array([[step, 0], [0, step]])
        offset = matrix[:, 2] + matrix[:, :2] @ np.full(2, (step - 1) / 2)
        small = cv2.warpAffine(
            knots,
            np.hstack([matrix[:, :2] @ shrink, offset[:, None]]),
            (-(-self.width // step), -(-self.height // step)),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        if step == 1:
            return np.asarray(small)
        large = cv2.resize(small, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        return np.asarray(large[: self.height, : self.width])

    def fractal_field(self, rng: np.random.Generator, cells: int, octaves: int = 3, fall: float = 0.55) -> Map:
        """Random fields of doubling frequency summed, about unit variance."""
        total = self.random_field(rng, cells).copy()
        weight, power = 1.0, 1.0
        for octave in range(1, octaves):
            weight *= fall
            total += np.float32(weight) * self.random_field(rng, cells * 2**octave)
            power += weight**2
        total *= np.float32(1 / np.sqrt(power))
        return total

    def distance_inside(self, mask: Map) -> Map:
        """Distance to the edge of `mask` > 0.5, body units, 0 outside."""
        inside = (mask > 0.5).astype(np.uint8)
        return np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 3)) * np.float32(1 / self.scale)


def band_edges(paths: NDArray[np.float64], width: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both edges (..., n, 2) of bands of `width` (broadcast to (..., n)) along centre lines (..., n, 2)."""
    tangent = np.empty_like(paths)
    tangent[..., 1:-1, :] = paths[..., 2:, :] - paths[..., :-2, :]
    tangent[..., 0, :] = paths[..., 1, :] - paths[..., 0, :]
    tangent[..., -1, :] = paths[..., -1, :] - paths[..., -2, :]
    length = np.maximum(np.hypot(tangent[..., 0], tangent[..., 1]), 1e-9)
    half = np.asarray(width, float) / (2 * length)
    normal = np.stack([-tangent[..., 1] * half, tangent[..., 0] * half], -1)
    return paths + normal, paths - normal


def blur_pixels(image: Map, sigma: float) -> Map:
    """Gaussian blur by `sigma` pixels; wide ones on a coarser grid, which an eye cannot tell from the exact one."""
    if sigma < 0.25:
        return image
    if sigma < 4:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))
    step = int(sigma / 2.5)
    height, width = image.shape
    small = cv2.resize(image, (max(width // step, 4), max(height // step, 4)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * small.shape[1] / width, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
