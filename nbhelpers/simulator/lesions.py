"""Pneumonia as X-rays see it: air in the lung replaced by fluid, by pattern, side, lobe and extent.

An opacity adds attenuation in proportion to the air that it replaces, and takes away the vessels' contrast within it.
The silhouette sign needs no drawing of its own: where the air beside the heart or the diaphragm is gone, their edge is
gone too. Lower lobes lie behind, so the lobe in front of them keeps some air along the heart: there the heart's edge
stays and the diaphragm's goes. Airways stay filled, and show as dark branches: air bronchograms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbhelpers.images.masks import Mask
from nbhelpers.simulator.anatomy import LEFT, RIGHT, Chest
from nbhelpers.simulator.canvas import Canvas, Map, ramp

# Share of the lobe that is opaque; "diffuse" counts the whole lung as the lobe.
EXTENT_SHARES = {"mild": (0.28, 0.42), "moderate": (0.50, 0.66), "severe": (0.76, 0.95)}
# Share of the air that is replaced where the opacity is dense.
EXTENT_DENSITY = {"mild": (0.45, 0.75), "moderate": (0.55, 0.90), "severe": (0.65, 1.0)}
# Where each lobe's opacity starts: distance from the midline (body units), depth in the lung (0 apex, 1 dome).
_CORES = {"upper": (0.45, 0.22), "middle": (0.42, 0.70), "lower": (0.58, 0.85), "diffuse": (0.42, 0.55)}
_VISIBLE = 0.15  # of the lung's air replaced: less than that is not marked as lesion


@dataclass
class Lesion:
    """What pneumonia does to a chest: `added` attenuation (float32) and the `mask` of where it shows."""

    added: Map
    mask: Mask


def draw_lesion(chest: Chest, canvas: Canvas, attributes: Mapping[str, Any], seed: int) -> Lesion:
    """Draw the opacities that `pattern`, `side`, `lobe` and `extent` ask for.

    Beside what is asked for, some have ground-glass haze around it, and some lower-lobe ones an effusion.
    """
    rng = np.random.default_rng([int(seed), 303])
    pattern, lobe, extent = attributes["pattern"], attributes["lobe"], attributes["extent"]
    wanted = {"right": (RIGHT,), "left": (LEFT,), "both": (RIGHT, LEFT)}[attributes["side"]]
    density = np.zeros_like(chest.air)
    streaks = np.zeros_like(chest.air)
    beside_heart = ramp(0.10 - canvas.distance_inside(1 - chest.heart), 0.12)
    mask = np.zeros(chest.air.shape, bool)
    for side in wanted:
        lung = chest.sides[0 if side == RIGHT else 1]
        # Not cut to the lung: `air` is, and a second soft edge would leave a dark seam along the heart.
        half = ramp(side * (canvas.x - np.float32(0.6 * chest.patient.rotation)), 0.02)
        region = _lobe(chest, canvas, lobe, rng)
        share = rng.uniform(*EXTENT_SHARES[extent])
        strength = rng.uniform(*EXTENT_DENSITY[extent])
        if pattern == "lobar":
            own = _consolidation(chest, canvas, region, lung, lobe, share, rng) * np.float32(strength)
        elif pattern == "bronchopneumonia":
            own = _patches(chest, canvas, region, lung, lobe, share, rng) * np.float32(0.9 * strength)
        else:
            own, lines = _interstitial(chest, canvas, region, lung, lobe, share, strength, rng)
            streaks += lines * lung
        own *= half
        if lobe == "lower":
            own *= 1 - np.float32(rng.uniform(0.15, 0.5)) * beside_heart
        mask |= (own > _VISIBLE) & (lung > 0.5)
        if rng.random() < 0.5:  # haze around it, fainter than what counts as lesion
            around = canvas.blur(own, rng.uniform(0.12, 0.3)) * half
            own = np.maximum(own, around * np.float32(rng.uniform(0.3, 0.7)))
        if lobe in ("lower", "diffuse") and rng.random() < 0.18:
            fluid = _effusion(chest, side, rng) * half
            own = np.maximum(own, fluid)
            mask |= (fluid > _VISIBLE) & (lung > 0.5)
        density = np.maximum(density, own)
    density = np.minimum(density, 1)
    airways = chest.bronchi * np.clip(density * 1.6 - 0.4, 0, 1) * np.float32(rng.uniform(0.15, 0.6))
    replaced = density * (1 - airways)
    added = replaced * (chest.air - chest.vessels) + streaks * chest.air
    return Lesion(np.maximum(added, 0).astype(np.float32), mask)


def _lobe(chest: Chest, canvas: Canvas, lobe: str, rng: np.random.Generator) -> Map:
    # Lobes overlap when seen from the front; only the horizontal fissure is a sharp line.
    tilt = rng.normal(0, 0.10)
    depth = chest.depth + np.float32(tilt) * (chest.lateral - np.float32(0.5))
    sharp = rng.uniform(0.01, 0.12)
    if lobe == "upper":
        return ramp(rng.uniform(0.46, 0.54) - depth, sharp)
    if lobe == "middle":
        above, below = ramp(depth - rng.uniform(0.46, 0.52), sharp), ramp(rng.uniform(0.95, 1.1) - depth, 0.15)
        return above * below * ramp(rng.uniform(0.75, 0.95) - chest.lateral, 0.25)
    if lobe == "lower":
        return ramp(depth - rng.uniform(0.52, 0.60), rng.uniform(0.08, 0.2))
    return np.ones_like(depth)


def _potential(chest: Chest, lobe: str, rng: np.random.Generator, reach: float) -> Map:
    # How close a point is to where the opacity starts.
    across, down = _CORES[lobe]
    across, down = across + rng.normal(0, 0.14), down + rng.normal(0, 0.07 if lobe != "diffuse" else 0.2)
    u = (chest.lateral - np.float32(across)) * np.float32(1 / (0.8 * reach))
    v = (chest.depth - np.float32(down)) * np.float32(1 / (0.5 * reach))
    return -np.sqrt(u * u + v * v)


def _spread(potential: Map, region: Map, lung: Map, share: float, softness: float) -> Map:
    # The part of the region with the highest potential: `share` of its visible area, with soft edges.
    inside = (region > 0.5) & (lung > 0.5)
    values = potential[inside]
    if values.size < 16:
        return np.zeros_like(potential)
    rank = int(np.clip((1 - share) * values.size, 0, values.size - 1))
    threshold = float(np.partition(values, rank)[rank])
    return ramp(potential - np.float32(threshold), softness) * region


def _consolidation(
    chest: Chest, canvas: Canvas, region: Map, lung: Map, lobe: str, share: float, rng: np.random.Generator
) -> Map:
    uneven = canvas.fractal_field(rng, 16, 3)
    potential = _potential(chest, lobe, rng, 1.0) + np.float32(rng.uniform(0.08, 0.3)) * uneven
    solid = _spread(potential, region, lung, share, rng.uniform(0.15, 0.6))
    return solid * np.clip(0.92 + rng.uniform(0.03, 0.15) * uneven, 0, 1.05)


def _patches(
    chest: Chest, canvas: Canvas, region: Map, lung: Map, lobe: str, share: float, rng: np.random.Generator
) -> Map:
    clumps = canvas.fractal_field(rng, int(rng.integers(18, 34)), 3)
    near = _potential(chest, lobe, rng, 1.4) + 0.5 * canvas.blur(chest.bronchi, 0.06)
    patches = _spread(
        clumps + np.float32(rng.uniform(0.4, 1.0)) * near, region, lung, 0.75 * share, rng.uniform(0.5, 1.4)
    )
    patches = patches * np.clip(0.85 + 0.2 * canvas.random_field(rng, 60), 0, 1)
    return canvas.blur(patches, rng.uniform(0.008, 0.03))


def _interstitial(
    chest: Chest,
    canvas: Canvas,
    region: Map,
    lung: Map,
    lobe: str,
    share: float,
    strength: float,
    rng: np.random.Generator,
) -> tuple[Map, Map]:
    # A veil of ground glass, thickened walls around the airways, and a net of fine lines.
    potential = _potential(chest, lobe, rng, 1.2) + np.float32(0.3) * canvas.fractal_field(rng, 12, 2)
    where = _spread(potential, region, lung, share, rng.uniform(0.3, 0.9))
    net = 1 - np.minimum(np.abs(canvas.random_field(rng, int(rng.integers(64, 120)))) * 1.5, 1)
    net += 0.6 * (1 - np.minimum(np.abs(canvas.random_field(rng, int(rng.integers(110, 190)))) * 1.5, 1))
    cuffs = canvas.blur(chest.bronchi, 0.02) + canvas.blur(chest.vessels, 0.02) * 3
    veil = where * np.float32(max(strength * rng.uniform(0.35, 0.6), 1.3 * _VISIBLE))
    lines = where * np.float32(strength) * (rng.uniform(0.10, 0.28) * net + rng.uniform(0.1, 0.4) * cuffs)
    return veil, np.minimum(lines, 0.6) * (1 - veil)


def _effusion(chest: Chest, side: int, rng: np.random.Generator) -> Map:
    # Fluid in the pleura fills the costophrenic angle and climbs the chest wall: the meniscus.
    patient = chest.patient
    if patient.supine:  # lying, the fluid spreads behind the lung as a veil
        return ramp(chest.depth - rng.uniform(0.3, 0.6), 0.8) * np.float32(rng.uniform(0.25, 0.45))
    level = patient.lung_bottom(side) / patient.lung_height - rng.uniform(0.12, 0.4)
    rise = rng.uniform(0.15, 0.45) * np.clip(chest.lateral - 0.3, 0, 1) ** 2
    return ramp(chest.depth + rise - np.float32(level), 0.05) * np.float32(rng.uniform(0.75, 1.0))
