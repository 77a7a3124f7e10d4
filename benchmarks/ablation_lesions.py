"""The method `lesions` by the third selector of docs/transfer.md, and by the first: rows of docs/transfer.md.

Run as `python benchmarks/ablation_lesions.py [table.csv [pixels ...]]`; a quarter of an hour a seed on one core, at 96
pixels. No real film takes part. Films and judgement are those of `ablation_shift.py` (trained on one source alone) and
`ablation_transfer.py` (on both). Training is the library's own.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import ablation_shift as shift
import ablation_transfer as transfer
import cv2
import hospitals
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from nbhelpers.networks import lesions, scoring
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.training import splits, train
from nbhelpers.training.schedule import Settings

PAIRS, SEEDS = 2500, (0, 1, 2)  # of one source, a fifth of which validates; ridge has 1,200 in ablation_shift.py
SETTINGS = Settings(epochs=6, learning_rate=3e-3)


def small(films: Any, size: int) -> Any:
    """Films at the network's size."""
    return np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in films])


def trained(films: Any, y: Any, truth: Any, size: int, seed: int) -> Any:
    """A network of `lesions`, as notebook 03 trains it."""
    masks = np.stack([small((truth & bit > 0) * np.uint8(255), size) for bit in (hospitals.LESION, hospitals.LUNGS)], 1)
    names = [f"{number // 2}_{number % 2}" for number in range(len(films))]
    table = pd.DataFrame({"image_id": names, "pair_id": [name.split("_")[0] for name in names]})
    split = splits.split_groups(table.assign(label=np.where(y == 1, "pneumonia", "normal")), 0.2, 0)
    arm = {"name": f"{size} px, seed {seed}", "method": "lesions"}
    how: dict[str, Any] = {"backbone": lesions.NAME, "init": "random", "transform": Transform(size)}
    with tempfile.TemporaryDirectory() as folder:
        found = train.train_arm(
            folder, split, small(films, size), arm=arm, settings=SETTINGS, seed=seed, device="cpu", masks=masks, **how
        )
    return found.model


def log_odds(model: Any, films: Any, size: int) -> Any:
    """Scores of films, which are compared and averaged in logits."""
    share = np.clip(scoring.predict(model, small(films, size), Transform(size), "cpu"), 1e-12, 1 - 1e-12)
    return np.log(share / (1 - share))


def main() -> None:
    """Train on each source alone and on both, score every cell of both selectors, and write the table."""
    torch.set_num_threads(1)
    path, *sizes = sys.argv[1:] or ["ablation_lesions.csv"]
    cells = list(product(shift.DIRECTIONS, (*shift.HOSPITALS, shift.PHANTOM), (True, False)))
    tests = {cell: shift.held_out(*cell) for cell in cells}
    labels = {shift.named(*cell): y for cell, (_, y) in tests.items()}
    first = {name: hospitals.drawn((name,), transfer.HELD_OUT, 12) for name in transfer.SELECTOR}
    alone = {source: shift.drawn(source, PAIRS, shift.TRAINING, twins=True) for source in shift.DIRECTIONS}
    both = hospitals.drawn(transfer.BOTH, transfer.PAIRS, 11, twins=True)
    rows = []
    for size in map(int, sizes or ["96"]):
        scores: dict[Any, dict[str, Any]] = {}
        for seed in SEEDS:
            for source, images in alone.items():
                model = trained(*images, size, seed)
                for cell in (cell for cell in cells if cell[0] == source):
                    scores.setdefault(seed, {})[shift.named(*cell)] = log_odds(model, tests[cell][0], size)
            model = trained(*both, size, seed)
            seen = {name: log_odds(model, films, size) for name, (films, _, _) in first.items()}
            areas = {f"first selector: {name}": roc_auc_score(first[name][1], one) for name, one in seen.items()}
            rows.append({"pixels": size, "seed": seed, **shift.judged(scores[seed], labels), **areas})
            print(pd.Series(rows[-1]).round(4).to_string(), flush=True)
            pd.DataFrame(rows).round(4).to_csv(Path(path), index=False)
        mean = {cell: np.mean([one[cell] for one in scores.values()], axis=0) for cell in labels}
        rows.append({"pixels": size, "seed": "mean of all", **shift.judged(mean, labels)})
        pd.DataFrame(rows).round(4).to_csv(Path(path), index=False)


if __name__ == "__main__":
    main()
