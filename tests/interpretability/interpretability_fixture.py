"""A small set of films with known truth, and untrained networks in the place of trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.films.film_set import FilmSet, Truth
from nbhelpers.images.files import write_png
from nbhelpers.images.masks import Box, resize_mask
from nbhelpers.networks import models
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.simulator.truth import read_truth

SIDE = 96
LESION = (48, 24, 72, 60)  # left, top, right, bottom on every film with pneumonia
BACKBONE = "resnet10t"


def film_set(folder: Path, n: int = 12, truth: bool = True) -> FilmSet:
    """Films of noise, the odd ones with a bright lesion; two films a patient."""
    rng = np.random.default_rng(0)
    left, top, right, bottom = LESION
    rows = []
    for number in range(n):
        label = number % 2
        image = rng.integers(0, 120, (SIDE, SIDE), dtype=np.uint8)
        bits = np.zeros((SIDE, SIDE), np.uint8)
        bits[12:84, 12:84] = 1
        if label:
            image[top:bottom, left:right] = 230
            bits[top:bottom, left:right] |= 2
        write_png(folder / f"images/{number}.png", image)
        write_png(folder / f"truth/{number}.png", bits)
        rows.append({"image_id": f"f{number}", "path": f"images/{number}.png", "label": label})
        rows[-1] |= {"patient_id": f"p{number // 2}"} | ({"truth_path": f"truth/{number}.png"} if truth else {})
    films = pd.DataFrame(rows).assign(truth_known=truth)

    def truth_of(film: Mapping[str, Any], size: int, box: Box) -> Truth:
        lungs, lesion, _ = read_truth(folder / film["truth_path"])
        return Truth(resize_mask(lesion, size, box), resize_mask(lungs, size, box))

    return FilmSet("toy", "Toy films", True, folder, films, truth=truth_of if truth else None)


def save_arm(
    run_folder: Path,
    arm: str,
    seed: int,
    size: int = 64,
    backbone: str = BACKBONE,
    standardise: str = "image",
    probe: dict[str, Any] | None = None,
) -> None:
    """A checkpoint of an arm whose training started from `seed`, its weights moved a little since."""
    import torch

    description = models.ModelDescription(
        backbone,
        "random",
        Transform(size, 1, standardise),
        seed,
        {"name": arm, "source": "simulator"},
        probe=probe or {},
    )
    model: Any = models.rebuild(description)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
        model.get_classifier().weight.mul_(1e3)
    models.save_checkpoint(run_folder / "03_training" / arm, model, description)


def predictions() -> pd.DataFrame:
    """Scores of two arms on the films of `film_set`; those of `one` rise with the film's number."""
    scores = {"one": np.linspace(0.05, 0.95, 12), "two": np.linspace(0.9, 0.1, 12)}
    rows = [
        {"arm": arm, "dataset": "toy", "image_id": f"f{n}", "label": n % 2, "score": values[n]}
        for arm, values in scores.items()
        for n in range(12)
    ]
    return pd.DataFrame(rows)
