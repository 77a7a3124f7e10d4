"""Written data sets and answers to score."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import SegmentationSet


def photo(side: int = 96, seed: int = 0, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A coloured picture with some texture, uint8 RGB."""
    height, width = shape or (side, side)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 200, (8, 8, 3), dtype=np.uint8)
    fine = rng.integers(0, 25, (height, width, 3), dtype=np.uint8)
    return cv2.add(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), fine)


def disc(side: int = 96, centre: tuple[int, int] = (40, 50), radius: int = 18) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def write(path: Path, values: np.ndarray, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **how)


def written_set(root: Path, count: int = 12, target: str = "object", empty: tuple[int, ...] = ()) -> SegmentationSet:
    """`count` pictures, all test cases in groups of three, whose disc moves from case to case."""
    rows = []
    for number in range(count):
        mask = (
            disc(centre=(30 + 3 * number, 45), radius=10 + number) if number not in empty else np.zeros((96, 96), bool)
        )
        image = photo(seed=number)
        image[mask] = np.clip(image[mask].astype(int) + 60, 0, 255)
        write(root / f"images/c{number:02d}.png", image)
        write(root / f"masks/c{number:02d}.png", mask.astype(np.uint8) * 255)
        row = {"case": f"c{number:02d}", "group": f"g{number // 3}", "image": f"images/c{number:02d}.png"}
        rows.append(row | {"masks": [f"masks/c{number:02d}.png"], "split": "test"})
    return SegmentationSet("written", "Written", target, pd.DataFrame(rows), root)


def drawn(
    found: SegmentationSet, folder: Path, name: str, role: str, grow: int = 0, missing: tuple[str, ...] = ()
) -> Answers:
    """A model that draws the truth, `grow` pixels wider (or narrower), soft by one pixel."""
    made = Answers(name, role, name, folder / name)
    for case in found.part("test"):
        if case["case"] in missing:
            made.kinds[case["case"]] = "refused"
            continue
        values = found.truth(case).astype(np.uint8) * 255
        kernel = np.ones((2 * abs(grow) + 1,) * 2, np.uint8)
        values = cv2.dilate(values, kernel) if grow > 0 else cv2.erode(values, kernel)
        made.write(case["case"], cv2.GaussianBlur(values, (3, 3), 0))
    return made
