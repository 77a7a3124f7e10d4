"""Simulated chest films to segment, lungs or lesions: trained on one hospital's, tested on another's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.images.files import write_png
from nbhelpers.runs.progress import progress
from nbhelpers.segmentation.datasets import SegmentationSet
from nbhelpers.simulator.film import draw_film, map_rows
from nbhelpers.simulator.truth import LESION_BIT, LUNGS_BIT, pack_truth

PHYSICS = {"train": "hospital_b", "test": "hospital_a"}
SIZE = 128
FEW = 400  # films, up to which further processes take longer to start than to draw their share
TARGETS = {
    "simulated_lungs": ("Lungs (simulated)", "lungs", LUNGS_BIT),
    "simulated_lesions": ("Lesions (simulated)", "lesion", LESION_BIT),
}


def films(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """Films of another hospital than the training films': the visible lung field, or the opacities, which all have."""
    root = run_folder / "07_segmentation" / "simulated"
    rng = np.random.default_rng([int(parameters.get("seed", 0)), 9])
    counts = {"train": int(parameters["simulated_training_films"]), "test": int(parameters["simulated_test_films"])}
    rows: list[dict[str, Any]] = []
    for split, count in counts.items():
        for number in range(count):
            seeds = {"pair_seed": int(rng.integers(2**31)), "seed": int(rng.integers(2**31))}
            rows.append({"case": f"{split}_{number:04d}", "split": split, "label": "pneumonia", **seeds})
    cases = pd.DataFrame(rows)
    cases["image"] = [f"{row['case']}_{row['pair_seed']}.png" for row in rows]
    missing: list[dict[Any, Any]] = [
        row for row in cases.to_dict("records") if not (root / f"truth_{row['image']}").is_file()
    ]
    workers = int(parameters.get("workers", 0)) if len(missing) > FEW else 1
    drawn = map_rows(partial(_draw, folder=root), missing, workers)
    for _ in progress(drawn, desc="drawing films", total=len(missing), unit="film"):
        pass
    cases["masks"] = [[f"truth_{image}"] for image in cases["image"]]
    title, target, bit = TARGETS[name]
    return SegmentationSet(name, title, target, cases, root, simulated=True, bits=bit)


def _draw(row: Mapping[str, Any], folder: Path) -> None:
    film = draw_film({"label": row["label"]}, row["pair_seed"], row["seed"], PHYSICS[row["split"]], SIZE)
    write_png(folder / row["image"], film.image)
    write_png(folder / f"truth_{row['image']}", pack_truth(film))
