"""Simulated films, chests and lesions, and the attributes that they are asked for with."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image

from nbhelpers.images.files import to_gray
from nbhelpers.prompting import prompts
from nbhelpers.simulator import acquisition, anatomy, lesions
from nbhelpers.simulator.film import CHOICES, DISEASE, draw_films


def films(count: int = 12, physics: str = "nano_banana") -> list[np.ndarray]:
    design = prompts.design(count, 4, prompts.load_templates())
    drawn = draw_films(design, physics, 160, 1)
    return [to_gray(Image.fromarray(film.image)) for film in drawn]


PLAIN = {
    "label": "normal",
    "sex": "male",
    "age_group": "adult",
    "age": 40,
    "view": "PA",
    "position": "erect",
    "habitus": "average",
    "devices": "none",
    "exposure": "normal",
}


SICK = {**PLAIN, "label": "pneumonia", "pattern": "lobar", "side": "right", "lobe": "lower", "extent": "moderate"}


def mixed_design(pairs: int, seed: int = 0) -> pd.DataFrame:
    # Matched as a real design is: a pair shares every attribute but the disease; each film has its own seed.
    rng = np.random.default_rng(seed)
    shared = [name for name in CHOICES if name not in (*DISEASE, "label")]
    rows = []
    for pair in range(pairs):
        patient = {name: str(rng.choice(CHOICES[name])) for name in shared}
        patient["devices"] = str(rng.choice(["none", "none", "ecg_leads", "central_line;ecg_leads", "pacemaker"]))
        patient["pair_seed"] = int(rng.integers(2**31))
        for label in ("normal", "pneumonia"):
            sick = label == "pneumonia"
            disease = {name: str(rng.choice(CHOICES[name])) if sick else "" for name in DISEASE}
            image_id = f"{label[0]}{pair:05d}"
            rows.append({"image_id": image_id, **patient, **disease, "label": label, "seed": int(rng.integers(2**31))})
    return pd.DataFrame(rows)


def chest_of(attributes, pair_seed, size=128):
    patient = anatomy.build_patient(attributes, pair_seed)
    canvas = acquisition.frame_patient(patient, acquisition.PHYSICS["roentgen"], (0, 0, size, size), size, seed=5)
    return anatomy.draw_chest(patient, canvas), canvas


def lesion_of(attributes, pair_seed, seed=3):
    chest, canvas = chest_of(attributes, pair_seed)
    return lesions.draw_lesion(chest, canvas, attributes, seed), chest, canvas
