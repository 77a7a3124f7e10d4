"""A patient's chest as X-ray attenuation: body, lungs, heart, bones and vessels, drawn in the body frame.

Nothing here knows whether the patient has pneumonia.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbhelpers.simulator.canvas import Canvas, Map, band_edges, blur_pixels, curve, dome, ramp

Points = NDArray[np.float64]
RIGHT, LEFT = -1, 1  # the patient's sides, as signs of x: the patient's right is on the left of the image


@dataclass
class Patient:
    """One patient's build, in body units (half the inner width of the thorax), as drawn from the pair's seed.

    `growth` runs from 0 (newborn) to 1 (adult). `lung_height` is the depth of the right dome below the apices; `blade`
    the distance of the shoulder blades' inner edges from the midline.
    """

    seed: int
    growth: float
    older: bool
    female: bool
    anteroposterior: bool
    supine: bool
    soft_tissue: float
    lung_height: float
    angle_depth: tuple[float, float]
    dome_drop: tuple[float, float]
    wall_shape: tuple[float, float, float]
    apex: float
    rotation: float
    heart_ratio: float
    mediastinum: float
    blade: float

    def wall(self, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Half the inner width of the thorax at height y."""
        power, root, taper = self.wall_shape
        t = np.clip(np.asarray(y, float) / (self.lung_height + 0.1), 0, 1.4)
        rise = (1 - np.maximum(1 - t, 0) ** power) ** (1 / root)
        return (self.apex + (1 - self.apex) * rise) * (1 - taper * np.maximum(t - 0.75, 0))

    def lung_bottom(self, side: int) -> float:
        """Lowest point of one lung: its costophrenic angle."""
        index = 0 if side == RIGHT else 1
        return self.lung_height + self.dome_drop[index] + self.angle_depth[index]


def build_patient(attributes: Mapping[str, Any], pair_seed: int) -> Patient:
    """Draw a patient who fits the attributes; what they leave open comes from `pair_seed`.

    Read are `age` (years) or else `age_group`, `sex`, `view`, `position` and `habitus`.
    """
    rng = np.random.default_rng([int(pair_seed), 101])
    group = attributes["age_group"]
    age = attributes.get("age")
    if age is None:
        age = {"child": rng.uniform(0.3, 14), "adult": rng.uniform(18, 64)}.get(group, rng.uniform(65, 92))
    growth = float(np.clip(float(age) / 16, 0, 1)) ** 0.7
    anteroposterior, supine = attributes["view"] == "AP", attributes["position"] == "supine"
    habitus = {"slim": 0.0, "average": 1.0, "large": 2.0}[attributes["habitus"]]
    height = (1.22 + 0.42 * growth) * np.exp(rng.normal(0, 0.07))
    height *= (0.90 if supine else 0.96 if anteroposterior else 1.0) * (1.04 - 0.05 * habitus)
    ratio = 0.54 - 0.09 * growth + (0.02 if group == "older" else 0.0) + 0.015 * habitus + rng.normal(0, 0.022)
    ratio += 0.055 if anteroposterior else 0.0
    ratio += 0.025 if supine else 0.0
    sharp = 0.6 + 0.4 * growth
    return Patient(
        seed=int(pair_seed),
        growth=growth,
        older=group == "older",
        female=attributes["sex"] == "female",
        anteroposterior=anteroposterior,
        supine=supine,
        soft_tissue=(0.07 + 0.075 * habitus) * rng.uniform(0.8, 1.3),
        lung_height=float(height),
        angle_depth=(rng.uniform(0.16, 0.38) * sharp, rng.uniform(0.16, 0.38) * sharp),
        dome_drop=(0.0, rng.uniform(0.0, 0.09)),
        wall_shape=(rng.uniform(2.1, 3.3), rng.uniform(1.5, 2.2), rng.uniform(0.0, 0.15)),
        apex=rng.uniform(0.30, 0.42),
        rotation=rng.normal(0, 0.035) * (1.5 if supine or growth < 0.5 else 1.0),
        heart_ratio=float(np.clip(ratio, 0.36, 0.66)),
        mediastinum=rng.uniform(0.13, 0.18) * (1.18 if supine else 1.0) * (1.12 if group == "older" else 1.0),
        # From behind to the front (PA) the arms turn the blades off the lungs; from the front (AP) they stay over them.
        blade=rng.uniform(0.60, 0.82) if anteroposterior else rng.uniform(0.92, 1.10),
    )


@dataclass
class Chest:
    """A patient drawn on a canvas. All maps are float32 (h, w).

    `attenuation` is the healthy patient's; `air` the attenuation that air takes away from it (what an opacity can give
    back); `lungs` the visible lung field, 0 to 1; `sides` the same for the right and the left lung; `vessels` the
    vessels' share of the attenuation; `bronchi` the larger airways, 0 to 1; `body` the patient's outline; `depth` the
    height in the lung, 0 at the apex and 1 at the dome; `lateral` the distance from the midline; `carina` where the
    windpipe divides (body units).
    """

    patient: Patient
    attenuation: Map
    air: Map
    lungs: Map
    sides: tuple[Map, Map]
    heart: Map
    vessels: Map
    bronchi: Map
    body: Map
    depth: Map
    lateral: Map
    carina: tuple[float, float]


def draw_chest(patient: Patient, canvas: Canvas) -> Chest:
    """Draw a patient's attenuation on a canvas; the same patient looks the same on every canvas."""
    rng = np.random.default_rng([patient.seed, 202])
    coarse = canvas.coarse()  # for all that is smooth
    body, soft = _body(patient, coarse, rng)
    soft += _breasts(patient, coarse, rng) * body
    soft += coarse.fractal_field(rng, 9, 2) * np.float32(rng.uniform(0.005, 0.03)) * body
    tissue, body = canvas.enlarge(soft), canvas.enlarge(body)
    outlines = [_lung_outline(patient, side, rng) for side in (RIGHT, LEFT)]
    edge = rng.uniform(0.006, 0.014)
    cages = [canvas.polygon(outline, edge) for outline in outlines]
    cage = cages[0] + cages[1]
    heart, bulk = _heart(patient, canvas, coarse, rng)
    carina = (0.6 * patient.rotation, patient.lung_height * rng.uniform(0.40, 0.46))
    depth = canvas.y * np.float32(1 / patient.lung_height)

    # Air: the lungs are lens-shaped, thinner at their edges, and behind the heart only their back is left.
    lens = dome(canvas.distance_inside(cage), rng.uniform(0.28, 0.45))
    slow: Map = 1 - rng.uniform(0.0, 0.5) * np.maximum(0.35 - coarse.y * np.float32(1 / patient.lung_height), 0)
    slow *= 1 - rng.uniform(-0.1, 0.15) * coarse.y * np.float32(1 / patient.lung_height)
    slow = slow * (1 - rng.normal(0, 0.04) * np.tanh(8 * coarse.x))
    recess: Map = coarse.blur(canvas.shrink(cage), rng.uniform(0.05, 0.11)) * ramp(
        coarse.y - 0.6 * patient.lung_height, 0.3
    )
    recess = np.maximum(canvas.enlarge(recess) - 0.08, 0) * rng.uniform(0.1, 0.35)
    contrast = rng.uniform(0.38, 0.70)
    air: Map = recess + cage * (lens * canvas.enlarge(slow) - recess)
    air *= contrast - contrast * rng.uniform(0.86, 0.97) * bulk
    air = np.minimum(air, 0.86 * tissue)

    seen = 1 - heart
    sides = (cages[0] * seen, cages[1] * seen)
    lungs = sides[0] + sides[1]
    layer, bronchi = _vessels(patient, canvas, carina, rng)
    vessels = layer * np.float32(rng.uniform(0.10, 0.30))
    for side in (RIGHT, LEFT):
        hilum = canvas.blob(carina[0] + side * 0.2, carina[1] + 0.12 - 0.03 * side, 0.075, 0.14)
        vessels += np.float32(rng.uniform(0.03, 0.10)) * hilum
    vessels = np.minimum(vessels * lungs, 0.75 * air)

    # Below the domes the heart rests on the liver, and its edge is lost there.
    above = ramp(0.95 - depth, 0.2)
    # Light scattered in the dense heart veils the ribs behind it.
    bones = _skeleton(patient, canvas, rng) * (1 - rng.uniform(0.2, 0.6) * heart * above)
    bones -= _airway(patient, canvas, carina, rng)
    bones += canvas.enlarge(_abdomen(patient, coarse, rng)) * (1 - cage)
    texture = canvas.random_field(rng, 150) * np.float32(rng.uniform(0.001, 0.011))
    attenuation = tissue - air + vessels + bones * body + texture * lungs
    attenuation += rng.uniform(0.0, 0.10) * bulk * above
    return Chest(
        patient=patient,
        attenuation=attenuation,
        air=air,
        lungs=lungs,
        sides=sides,
        heart=heart,
        vessels=vessels,
        bronchi=bronchi,
        body=body,
        depth=depth,
        lateral=np.abs(canvas.x),
        carina=carina,
    )


def _lung_outline(patient: Patient, side: int, rng: np.random.Generator) -> Points:
    # From the apex down the chest wall, in along the diaphragm, up the midline.
    index = 0 if side == RIGHT else 1
    top = patient.lung_height + patient.dome_drop[index]
    depth = patient.angle_depth[index]
    peak, inner_drop = rng.uniform(0.38, 0.55), rng.uniform(0.02, 0.12)
    squash = 1 + side * patient.rotation * 0.7
    apex_shift = rng.normal(0, 0.015)
    y = np.linspace(0, 1, 36) ** 1.6 * (top + depth)
    wobble = np.interp(y, np.linspace(0, top + depth, 7), rng.normal(0, 0.008, 7))
    wall = np.stack([(patient.wall(y) + wobble) * squash, y + apex_shift], 1)
    x = np.linspace(wall[-1, 0], 0.05, 28)
    outer = np.maximum((x - peak) / max(wall[-1, 0] - peak, 0.2), 0)
    inner = np.maximum((peak - x) / peak, 0)
    fall = depth * outer ** rng.uniform(1.9, 3.0) + inner_drop * inner**2
    diaphragm = np.stack([x, top + fall + rng.normal(0, 0.003, x.size)], 1)
    t = np.linspace(1, 0, 20)
    bend = np.clip(1 - t / 0.16, 0, 1)
    midline = 0.05 + (wall[0, 0] - 0.05) * (1 - np.sqrt(1 - bend**2))
    medial = np.stack([midline, t * top + apex_shift], 1)
    outline = np.vstack([wall, diaphragm[1:], medial[1:-1]])
    outline[:, 0] *= side
    return outline


def _body(patient: Patient, canvas: Canvas, rng: np.random.Generator) -> tuple[Map, Map]:
    # Outline of the left half, from the neck down; the other half is its mirror, slightly unequal.
    soft, growth = patient.soft_tissue, patient.growth
    flank = 1.0 + 0.09 + soft
    neck = rng.uniform(0.28, 0.38) + 0.3 * soft
    shoulder = rng.uniform(1.25, 1.42) + 0.4 * soft + 0.06 * growth
    drop = rng.uniform(-0.12, 0.10) - (0.12 if patient.supine else 0.0)
    belly = flank * rng.uniform(0.94, 1.06) + 0.5 * soft
    slope = rng.uniform(0.06, 0.16)
    top = [
        (neck, -2.5),
        (neck, -0.7),
        (neck * 1.1, -0.36),
        (0.55 * shoulder, drop - slope),
        (0.9 * shoulder, drop + 0.04),
    ]
    axilla = [(flank + 0.10, 0.66), (flank, 0.85), (flank, patient.lung_height), (belly, 2.3), (belly, 5.0)]
    pose = rng.random()
    if pose < 0.35:  # arms at the sides, a gap of air to the chest
        arm = [(shoulder + 0.12, 0.45), (shoulder + 0.22, 1.6), (shoulder + 0.15, 3.6), (shoulder - 0.1, 3.6)]
        arm += [(flank + 0.12, 0.95)]
    elif pose < 0.35 + 0.5 * (1 - growth):  # arms raised, as children are held
        lift = rng.uniform(0.5, 1.0)
        top = [(neck, -2.5), (neck, -0.6), (neck + 0.05, -0.3), (0.7, -0.18 - 0.2 * lift), (1.15, -0.9 * lift)]
        top += [(1.6, -1.6 * lift)]
        arm = [(2.1, -1.5 * lift), (1.55, -0.4 * lift), (shoulder, 0.25), (flank + 0.12, 0.55)]
    else:
        arm = [(shoulder, 0.35)]
    half = np.array(top + arm + axilla)
    halves = []
    for side in (RIGHT, LEFT):
        jitter = rng.normal(0, 0.02, half.shape)
        jitter[-2:] = 0
        halves.append(curve((half + jitter) * [side, 1], 90))
    outline = np.vstack([halves[0], halves[1][::-1]])
    body = canvas.polygon(outline, 0.035)
    thickness = dome(canvas.distance_inside(body), rng.uniform(0.5, 0.85))
    tissue = body * (0.22 + 0.78 * thickness) * np.float32(rng.uniform(0.85, 1.1))
    tissue *= 1 + np.float32(rng.uniform(-0.1, 0.25)) * np.clip(canvas.y / patient.lung_height - 0.5, -0.5, 1)
    folds = canvas.random_field(rng, 14) * np.float32(0.02 + 0.08 * soft)
    tissue += folds * body
    # The head of a child who looks down, or an adult's chin, at the upper edge.
    chin = rng.uniform(-0.62, -0.30) if growth < 0.6 else rng.uniform(-1.0, -0.55)
    wide = rng.uniform(0.55, 0.75) * (1.15 - 0.3 * growth)
    head = ramp(1 - np.sqrt(canvas.ellipse(rng.normal(0, 0.08), chin - 0.6, wide, 0.62)), 0.2)
    tissue += np.float32(rng.uniform(0.2, 0.55)) * head
    body = np.maximum(body, np.minimum(head * 2, 1))
    return body, tissue.astype(np.float32)


def _heart(patient: Patient, canvas: Canvas, coarse: Canvas, rng: np.random.Generator) -> tuple[Map, Map]:
    # The silhouette (with soft edges), and how much of the depth it fills.
    height, shift = patient.lung_height, patient.rotation
    width = 2 * patient.heart_ratio
    right, left = width * rng.uniform(0.30, 0.38), 0.0
    left = width - right
    base, floor = height * rng.uniform(0.40, 0.47), height + 0.02
    upper = patient.mediastinum
    layer = canvas.zeros()
    # Right border: great vein, then right atrium. Left border: aortic knob, pulmonary trunk, left ventricle.
    knob = upper * (1.25 + 0.45 * patient.growth * rng.uniform(0.3, 1.0) + (0.35 if patient.older else 0.0))
    apex_y = height * rng.uniform(0.80, 0.94)
    contour = [
        (-0.16, -0.7),
        (-upper * 0.9, 0.05),
        (-upper, 0.22 * height),
        (-upper * 1.05, base * 0.95),
        (-right * rng.uniform(0.76, 0.92), base + 0.36 * (floor - base)),
        (-right, base + 0.62 * (floor - base)),
        (-right * 0.86, floor),
        (-0.1, floor + 0.25),
        (left * 0.72, floor + 0.12),
        (left, apex_y),
        (left * rng.uniform(0.74, 0.93), base + 0.42 * (floor - base)),
        (left * rng.uniform(0.48, 0.64), base + 0.10 * (floor - base)),
        (upper * rng.uniform(1.05, 1.45), base * 0.96),
        (knob * 0.84, base * 0.82),
        (knob, 0.27 * height),
        (upper * 0.95, 0.14 * height),
        (upper * 0.9, 0.03),
        (0.16, -0.7),
    ]
    outline = curve(contour, 90)
    outline[:, 0] += shift * np.clip(0.6 + 0.4 * outline[:, 1] / height, 0, 1.2)
    canvas.fill(layer, outline)
    if patient.growth < 0.35 and rng.random() < 0.5:  # thymus of a small child: a sail beside the upper mediastinum
        side = LEFT if rng.random() < 0.5 else RIGHT
        sail = [(0, 0.05), (upper + 0.06, 0.12), (upper + rng.uniform(0.08, 0.25), 0.34 * height), (0, 0.42 * height)]
        canvas.fill(layer, np.array(sail) * [side, 1])
    silhouette = canvas.blur(layer.astype(np.float32) / 255, rng.uniform(0.006, 0.016))
    round_part = canvas.enlarge(dome(coarse.distance_inside(canvas.shrink(silhouette)), 0.35))
    return silhouette, silhouette * (0.72 + 0.28 * round_part)


def _vessels(
    patient: Patient, canvas: Canvas, carina: tuple[float, float], rng: np.random.Generator
) -> tuple[Map, Map]:
    # Pulmonary trees: each branch splits in two, thinner by Murray's law, and spreads over the lung.
    vessels, bronchi = canvas.zeros(), canvas.zeros()
    reach = 0.25 * np.sqrt(patient.lung_height / 1.5)
    thick = rng.uniform(0.022, 0.040)
    # Gravity: standing patients' lower vessels are wider, lying patients' are even.
    gravity = 0.0 if patient.supine else rng.uniform(0.1, 0.3)
    roots = int(rng.integers(5, 9))
    side = np.repeat([float(RIGHT), float(LEFT)], roots)
    angle = np.tile(np.linspace(-1.4, 1.45, roots), 2) + rng.normal(0, 0.2, 2 * roots)
    length = reach * (0.7 + 0.45 * np.abs(np.sin(angle))) * rng.uniform(0.6, 1.25, angle.size)
    hilum = rng.uniform(0.15, 0.21, 2), rng.uniform(0.08, 0.16, 2) - [-0.03, 0.03]
    origin = np.stack([carina[0] + side * np.repeat(hilum[0], roots), carina[1] + np.repeat(hilum[1], roots)], 1)
    origin += rng.normal(0, 1, origin.shape) * [0.02, 0.06]
    thin = 1.0
    branches: list[tuple[float, Points]] = []
    for _generation in range(5):
        bend = angle + rng.normal(0, 0.3, angle.size)
        lean = bend + rng.normal(0, 0.3, angle.size)
        middle = origin + 0.5 * length[:, None] * np.stack([side * np.cos(bend), np.sin(bend)], 1)
        end = middle + 0.5 * length[:, None] * np.stack([side * np.cos(lean), np.sin(lean)], 1)
        paths, low = np.stack([origin, middle, end], 1), np.sin(angle) > 0.2
        branches += [(thick * thin * (1 - 0.5 * gravity), paths[~low]), (thick * thin * (1 + gravity), paths[low])]
        spread = rng.uniform(0.1, 0.75, (2, angle.size)) * [[1.0], [-1.0]]
        angle, side = (lean + spread).ravel(), np.tile(side, 2)
        origin, length = np.tile(end, (2, 1)), np.tile(length, 2) * rng.uniform(0.6, 0.95, 2 * length.size)
        thin *= 0.72
    for width, paths in branches[::-1]:  # thin ones first, so that none hides a thicker one
        canvas.lines(vessels, paths, width, 70 + 185 * min(1.0, width / thick))
        if width > 0.35 * thick:
            canvas.lines(bronchi, paths + 0.012, 0.5 * width, 255)
    soften = rng.uniform(0.004, 0.010)
    return (
        canvas.blur(vessels.astype(np.float32) * np.float32(1 / 255), soften),
        canvas.blur(bronchi.astype(np.float32) * np.float32(1 / 255), 0.004),
    )


def _skeleton(patient: Patient, canvas: Canvas, rng: np.random.Generator) -> Map:
    growth, height = patient.growth, patient.lung_height
    # Ribs are tilted hoops: seen from the front each is half an ellipse, its front end lower than its back.
    tilt = (0.36 + 0.42 * growth) * rng.uniform(0.7, 1.35) * (0.85 if patient.anteroposterior else 1.0)
    hump = rng.uniform(0.0, 0.07)
    pairs = 11
    first, spacing = rng.uniform(-0.16, -0.06), (height + rng.uniform(0.05, 0.3)) / (pairs - 1)
    width = spacing * rng.uniform(0.34, 0.48)
    number = np.tile(np.arange(pairs), 2)
    side = np.repeat([RIGHT, LEFT], pairs)
    start = first + spacing * number + rng.normal(0, 0.006, number.size)
    drop = tilt * (0.45 + 0.55 * np.minimum(1.0, number / 5))
    reach = (patient.wall(start + 0.5 * drop) + rng.uniform(0.01, 0.03)) * (1 + side * patient.rotation * 0.7)
    back, front, rims = canvas.zeros(), canvas.zeros(), canvas.zeros()
    for layer, angle in (
        (back, np.linspace(0.05, 0.53, 18) * np.pi),
        (front, np.linspace(0.47, rng.uniform(0.68, 0.78), 14) * np.pi),
    ):
        part = slice(None) if layer is back else number <= 8
        x = 0.03 + (reach[part, None] - 0.03) * np.sin(angle)
        x = side[part, None] * x + patient.rotation * 0.3 * np.cos(angle)
        y = start[part, None] + drop[part, None] * (1 - np.cos(angle)) / 2
        y = y - hump * np.sin(2 * np.minimum(angle, np.pi / 2))
        paths = np.stack([x, y], -1)
        own = width * rng.uniform(0.92, 1.08, (len(paths), 1)) * (1.0 if layer is back else 1.1)
        canvas.ribbons(layer, paths, own, rng.uniform(195, 255, len(paths)))
        canvas.lines(rims, np.concatenate(band_edges(paths, own * 0.92)), 0.012, 255 if layer is back else 150)
    strength = rng.uniform(0.05, 0.13) * (0.85 + 0.15 * growth)
    bone = back * np.float32(strength / 255)
    bone += front * np.float32(strength * rng.uniform(0.45, 0.9) / 255)
    bone += rims * np.float32(strength * rng.uniform(0.25, 0.7) / 255)
    # Towards the spine ribs turn away from the film and fade into it.
    bone *= 0.4 + 0.6 * ramp(np.abs(canvas.x) - 0.25, 0.4)
    bone += _shoulder_girdle(patient, canvas, rng)
    return canvas.blur(bone, rng.uniform(0.005, 0.009)) + _spine(patient, canvas, spacing, rng)


def _spine(patient: Patient, canvas: Canvas, spacing: float, rng: np.random.Generator) -> Map:
    layer, gaps = canvas.zeros(), canvas.zeros()
    width = 0.105 + 0.02 * (1 - patient.growth)
    bow = rng.normal(0, 0.02)
    y = np.linspace(-1.4, 3.0, 30)
    line = np.stack([bow * np.sin(y * 1.5) + patient.rotation * 0.1, y], 1)
    canvas.ribbons(layer, line[None], 2 * width * (1 + 0.08 * y), 190)
    level = (np.arange(-10, 22) + rng.random()) * spacing
    middle = np.stack([bow * np.sin(level * 1.5) + patient.rotation * 0.1, level], 1)[:, None]
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    canvas.fill(gaps, middle + square * [width, 0.016])
    turn = np.linspace(0, 2 * np.pi, 12)[:-1]
    pedicle = 0.2 * width * np.stack([np.cos(turn), 1.4 * np.sin(turn)], 1)
    process = np.array([(0.9, 0.28), (1.9, 0.22), (1.9, 0.42), (0.9, 0.55)]) * [width, spacing]
    for side in (RIGHT, LEFT):
        canvas.fill(layer, middle + pedicle + [side * 0.6 * width, 0.35 * spacing])
        canvas.fill(layer, middle + process * [side, 1], 120)
    strength = rng.uniform(0.05, 0.20)
    column = layer - np.minimum(gaps, layer) * np.float32(0.6)
    return canvas.blur(column, rng.uniform(0.010, 0.025)) * np.float32(strength / 255)


def _shoulder_girdle(patient: Patient, canvas: Canvas, rng: np.random.Generator) -> Map:
    growth = patient.growth
    clavicles, blades, humeri = canvas.zeros(), canvas.zeros(), canvas.zeros()
    level = rng.uniform(0.02, 0.20) - (0.14 if patient.anteroposterior else 0.0)
    rise = rng.uniform(-0.05, 0.22) * (0.6 if patient.supine else 1.0)
    inner = patient.blade
    top = rng.uniform(-0.12, 0.06) - (0.10 if patient.anteroposterior else 0.0)
    length = rng.uniform(0.72, 0.95) * (0.85 + 0.15 * growth)
    sides = np.array([[RIGHT], [LEFT]], float)
    t = np.linspace(0, 1, 16)
    x = sides * (0.10 + rng.uniform(1.12, 1.22, (2, 1)) * t) + patient.rotation * 0.8
    y = level - rise * t + rng.uniform(0.02, 0.055, (2, 1)) * np.sin(2 * np.pi * t) + rng.normal(0, 0.015, (2, 1))
    bars = np.stack([x, y], -1)
    thick = rng.uniform(0.055, 0.08, (2, 1)) * (0.8 + 0.2 * growth) * (1.0 + 0.35 * np.abs(t - 0.5) * 2)
    canvas.ribbons(clavicles, bars, thick, 235)
    canvas.lines(clavicles, np.concatenate(band_edges(bars, thick * 0.9)), 0.012, 255)
    corners = [
        (inner, top),
        (inner + 0.34, top - 0.10),
        (inner + 0.48, top + 0.12),
        (inner + 0.38, top + 0.34),
        (inner + 0.16, top + length),
        (inner + 0.06, top + length * 0.97),
        (inner - 0.02, top + length * 0.5),
        (inner, top),
    ]
    mirror = np.array([[[RIGHT, 1]], [[LEFT, 1]]], float)
    outlines = (curve(corners, 40) + rng.normal(0, 0.02, (2, 1, 2))) * mirror
    canvas.fill(blades, outlines, 150)
    canvas.lines(blades, outlines, 0.018, 240)
    head = np.array([inner + rng.uniform(0.5, 0.6), top + 0.14])
    shafts = curve(head + np.array([(0.0, 0.0), (0.12, 0.5), (0.16, 1.2)]), 12) * mirror
    canvas.ribbons(humeri, shafts, 0.15, 180)
    circle = np.linspace(0, 2 * np.pi, 24)
    canvas.fill(humeri, (head + np.stack([0.13 * np.cos(circle), 0.14 * np.sin(circle)], 1)) * mirror, 210)
    bone = clavicles * np.float32(rng.uniform(0.10, 0.20) / 255)
    bone += blades * np.float32(rng.uniform(0.04, 0.12) / 255)
    bone += humeri * np.float32(rng.uniform(0.12, 0.3) / 255)
    return bone


def _airway(patient: Patient, canvas: Canvas, carina: tuple[float, float], rng: np.random.Generator) -> Map:
    layer = canvas.zeros()
    width = rng.uniform(0.085, 0.115)
    lean = rng.normal(0, 0.02) + (0.02 if patient.older else 0.0)
    canvas.ribbons(layer, curve([(0, -1.2), (0.2 * lean, -0.3), (carina[0] - lean, 0.2), carina], 24)[None], width, 255)
    for side in (RIGHT, LEFT):
        steep = 0.17 if side == RIGHT else 0.12
        stem = curve(
            [carina, (carina[0] + side * 0.10, carina[1] + steep * 0.6), (carina[0] + side * 0.2, carina[1] + steep)],
            10,
        )
        canvas.ribbons(layer, stem[None], 0.6 * width, 190)
    return canvas.blur(layer.astype(np.float32), 0.012) * np.float32(rng.uniform(0.05, 0.16) / 255)


def _abdomen(patient: Patient, canvas: Canvas, rng: np.random.Generator) -> Map:
    # Liver and spleen fill the depth under the domes; the stomach and, in children, the bowel hold gas.
    below = ramp(canvas.y - patient.lung_height - 0.05, 0.25)
    organs = np.float32(rng.uniform(0.02, 0.16)) * below
    if rng.random() < 0.5:
        place = rng.uniform(0.25, 0.6), patient.lung_height + rng.uniform(0.18, 0.36)
        bubble = np.sqrt(
            canvas.ellipse(*place, rng.uniform(0.1, 0.28), rng.uniform(0.07, 0.16), rng.uniform(-0.5, 0.5))
        )
        bubble += np.float32(0.22) * canvas.random_field(rng, 24)
        organs -= np.float32(rng.uniform(0.04, 0.25)) * ramp(1 - bubble, rng.uniform(0.2, 0.8)) * below
    if rng.random() < 0.55 - 0.35 * patient.growth:
        loops = canvas.fractal_field(rng, 26, 2)
        organs -= (
            np.float32(rng.uniform(0.1, 0.25))
            * ramp(loops - 0.8, 0.8)
            * ramp(canvas.y - patient.lung_height - 0.35, 0.2)
        )
    return organs


def _breasts(patient: Patient, canvas: Canvas, rng: np.random.Generator) -> Map:
    grown = patient.female and patient.growth > 0.85
    weight = rng.uniform(0.06, 0.16) * (1 + 2.5 * patient.soft_tissue)
    width = rng.uniform(0.34, 0.46) + 0.5 * patient.soft_tissue
    level = patient.lung_height * rng.uniform(0.66, 0.86)
    sag = rng.uniform(0.85, 1.3)
    if not grown:  # chest muscle only
        weight, width, sag = 0.3 * weight, 0.42, 0.8
        level = patient.lung_height * 0.45
    total = np.zeros_like(canvas.x)
    for side in (RIGHT, LEFT):
        e = canvas.ellipse(side * rng.uniform(0.5, 0.66), level + rng.normal(0, 0.03), width, width * sag)
        total += np.sqrt(np.clip(1 - e, 0, 1)) * ramp(canvas.y - level + 0.6 * width, 1.2 * width)
    return blur_pixels(total * np.float32(weight), 1.0)
