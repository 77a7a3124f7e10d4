"""What transfers to hospitals whose *opacities* are drawn by another hand: the second selector of docs/transfer.md.

Run as `python benchmarks/other_lesions.py [table.csv]`; half an hour on one core. No real film takes part. The training
images are those of `ablation_transfer.py`; the two held-out hospitals are its own too, but their opacities share
nothing with the simulator's: no lobes, no airways that stay filled, no silhouette rule. Sharpness and grain of each
film vary as well, alike in both classes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import torch
from ablation_transfer import BOTH, HELD_OUT, PAIRS, SELECTOR, drawn
from sklearn.metrics import roc_auc_score

from nbhelpers.networks import features, models, probes
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.simulator import film
from nbhelpers.simulator.anatomy import Chest
from nbhelpers.simulator.canvas import Canvas
from nbhelpers.simulator.lesions import Lesion

BLOCKS, SIZES = (3, 4, 5), (64, 96, 128, 224)
CHANNELS = {3: 80, 4: 112, 5: 192}  # of EfficientNet-Lite0
SOME_BLOCKS = ((3,), (4,), (5,), (3, 4), (4, 5), (3, 4, 5))
SOME_SIZES = ((64,), (96,), (128,), (224,), (64, 128), (96, 224))


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


def regrained(films: Any, seed: int) -> Any:
    """Each film a little softer or sharper, with grain of its own."""
    rng = np.random.default_rng(seed)
    made = []
    for one in films:
        soft = cv2.GaussianBlur(one, (0, 0), rng.uniform(0.6, 1.6)).astype(np.float32)
        mixed = one + rng.uniform(-1.0, 0.8) * (one - soft) + rng.normal(0, rng.uniform(0, 5), one.shape)
        made.append(np.clip(mixed.round(), 0, 255).astype(np.uint8))
    return np.stack(made)


def columns_of(blocks: tuple[int, ...]) -> Any:
    """Which columns of the pooled features of `BLOCKS` belong to some of them."""
    taken, start = [], 0
    for block in BLOCKS:
        width = CHANNELS[block] * len(probes.POOLING)
        taken += list(range(start, start + width)) if block in blocks else []
        start += width
    return np.array(taken)


def pooled(films: Any) -> dict[int, Any]:
    """Features of all blocks at each size."""
    found = {}
    made = {"names": [f"blocks.{block}" for block in BLOCKS], "pooling": list(probes.POOLING)}
    for size in SIZES:
        model = models.build_probe("tf_efficientnet_lite0", "imagenet", 1, made | {"sizes": [size]}, size)
        small = np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in films])
        found[size] = features.embed(model, small, Transform(size), "cpu").astype(np.float64)
    return found


def recipes(x: Any, y: Any) -> dict[str, Any]:
    """Weights by name: the mean difference over its spread, over its shrunk covariance, ridge at each strength."""
    difference = x[y == 1] - x[y == 0]
    found = {"t": difference.mean(axis=0) / (difference.std(axis=0) + 1e-6)}
    found["pairs"] = probes.pair_weights(x[y == 0], x[y == 1])
    for strength, weights in zip(probes.STRENGTHS, probes.ridge_weights(x, y), strict=True):
        found[f"ridge {strength:g}"] = weights
    return found


def main() -> None:
    """Score every recipe on both selectors, and write the table."""
    torch.set_num_threads(1)
    tests: dict[str, tuple[dict[int, Any], Any]] = {}
    for name in SELECTOR:
        with mock.patch.object(film, "draw_lesion", other_opacity):
            films, y = drawn((name,), HELD_OUT, 14)
        tests[f"{name}, other opacities"] = pooled(regrained(films, 14)), y
        print(name, "drawn", flush=True)
    rows = []
    for words, twins in (("twins", True), ("pairs of two exposures", False)):
        films, y = drawn(BOTH, PAIRS, 11, twins=twins)
        seen = pooled(films)
        for blocks, sizes in product(SOME_BLOCKS, SOME_SIZES):
            some = columns_of(blocks)
            x = np.concatenate([seen[size][:, some] for size in sizes], axis=1)
            centre, scale = probes.standardisation(x)
            for recipe, weights in recipes((x - centre) / scale, y).items():
                areas = {
                    name: roc_auc_score(
                        truth,
                        (np.concatenate([held[size][:, some] for size in sizes], axis=1) - centre) / scale @ weights,
                    )
                    for name, (held, truth) in tests.items()
                }
                shape = {"blocks": " ".join(map(str, blocks)), "sizes": " ".join(map(str, sizes))}
                rows.append({"images": words, **shape, "weights": recipe, **areas, "worst": min(areas.values())})
        print(words, "done", flush=True)
        table = pd.DataFrame(rows).sort_values("worst", ascending=False)
        table.round(4).to_csv(Path(sys.argv[1] if len(sys.argv) > 1 else "other_lesions.csv"), index=False)
    print(table.head(20).round(3).to_string(), flush=True)


if __name__ == "__main__":
    main()
