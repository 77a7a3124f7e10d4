"""Cropped to the lungs that a network found, with the recipe that was chosen: rows of docs/transfer.md.

Run as `python benchmarks/ablation_lungs.py [table.csv]`; a quarter of an hour on one core. No real film takes part.
Images and hospitals are those of `ablation_transfer.py`. A small U-Net, trained on 400 of the training images, finds
the lungs, to which training images and films alike are cropped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from ablation_transfer import BOTH, HELD_OUT, KEPT, PAIRS, SELECTOR, drawn_with_lungs, pooled, weights_of
from sklearn.metrics import roc_auc_score

from nbhelpers.metrics import paired_bootstrap
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import probes, segmenters

TRAINING, CHANCE = 400, 127  # images that train the lung network; its output (of 255) from which a pixel is lung
SETTINGS = segmenters.FitSettings(epochs=8, batch_size=8, learning_rate=4e-3, upright=True)
WEIGHTS = ("1", "pairs")
BASE = "whole"  # what the others are compared with


def lung_network(films: Any, lungs: Any) -> segmenters.Segmenter:
    """A small U-Net of 96 px, trained on simulated masks."""
    network = segmenters.build("small_unet", "gray", 96)
    rows = np.random.default_rng(0).choice(len(films), min(TRAINING, len(films)), replace=False)
    segmenters.fit(network, [np.dstack([films[row]] * 3) for row in rows], list(lungs[rows]), SETTINGS, device="cpu")
    return network


def found_by(network: segmenters.Segmenter, films: Any) -> Any:
    """The lungs of each film as the network draws them, bool of the films' shape."""
    return np.stack([one > CHANCE for one in network.predict((np.dstack([film] * 3) for film in films), "cpu")])


def cropped(films: Any, masks: Any) -> Any:
    """Each film cut to the box of its lungs, specks left aside, and squeezed back; whole where there are none."""
    made = []
    for film, mask in zip(films, masks, strict=True):
        _, parts, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        areas = facts[1:, cv2.CC_STAT_AREA]
        large = np.isin(parts, 1 + np.flatnonzero(areas > 0.25 * areas.max(initial=0)))
        rows, columns = np.flatnonzero(large.any(1)), np.flatnonzero(large.any(0))
        if min(len(rows), len(columns)) > film.shape[0] // 10:
            film = film[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        made.append(cv2.resize(film, masks.shape[1:], interpolation=cv2.INTER_AREA))
    return np.stack(made)


def scores_of(views: dict[str, Any], y: Any, kind: str) -> dict[str, Any]:
    """Scores of each hospital by weights that were fitted on the features `train`."""
    centre, scale = probes.standardisation(views["train"])
    found = weights_of((views["train"] - centre) / scale, y, kind)
    return {name: (views[name] - centre) / scale @ found for name in SELECTOR}


def main() -> None:
    """Score whole and cropped films on the selector, with two draws of training images, and write the table."""
    torch.set_num_threads(1)
    tests = {name: drawn_with_lungs((name,), HELD_OUT, 12) for name in SELECTOR}
    rows: list[dict[str, Any]] = []
    for draw in (11, 13):
        sets = {"train": drawn_with_lungs(BOTH, PAIRS, draw, twins=True), **tests}
        network = lung_network(sets["train"][0], sets["train"][2])
        masks = {name: found_by(network, films) for name, (films, _, _) in sets.items()}
        for name in SELECTOR:
            pairs = zip(masks[name], sets[name][2], strict=True)
            print(draw, name, f"lungs: Dice {np.mean([dice(a, b) for a, b in pairs]):.3f}", flush=True)
        shown = {
            BASE: {name: films for name, (films, _, _) in sets.items()},
            "lungs found": {name: cropped(films, masks[name]) for name, (films, _, _) in sets.items()},
            "lungs as drawn": {name: cropped(films, lungs) for name, (films, _, lungs) in sets.items()},
        }
        shown = shown if draw == 11 else dict(list(shown.items())[:2])
        seen = {words: {name: pooled(films, **KEPT) for name, films in view.items()} for words, view in shown.items()}
        seen["whole and lungs found"] = {
            name: np.concatenate([seen[BASE][name], seen["lungs found"][name]], axis=1) for name in sets
        }
        made = {
            (words, kind): scores_of(view, sets["train"][1], kind) for words, view in seen.items() for kind in WEIGHTS
        }
        for (words, kind), scores in made.items():
            base = made[BASE, kind]
            row: dict[str, Any] = {"draw": draw, "seen": words, "weights": kind}
            row |= {name: roc_auc_score(sets[name][1], scores[name]) for name in SELECTOR}
            row["worst"] = min(row[name] for name in SELECTOR)
            for name in SELECTOR:
                truth, patients = sets[name][1], np.arange(len(sets[name][1])) // 2
                gain = paired_bootstrap(truth, scores[name], base[name], patients).auroc
                row |= {f"{name} gain": gain.value, f"{name} low": gain.low, f"{name} high": gain.high}
            rows.append(row)
            print({key: round(one, 4) if isinstance(one, float) else one for key, one in row.items()}, flush=True)
            table = pd.DataFrame(rows).round(4)
            table.to_csv(Path(sys.argv[1] if len(sys.argv) > 1 else "ablation_lungs.csv"), index=False)


if __name__ == "__main__":
    main()
