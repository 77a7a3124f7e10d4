"""What lungs and lesions as masks add to the recipe that was chosen: rows of docs/transfer.md.

Run as `python benchmarks/ablation_lungs.py [table.csv]`; 25 minutes on one core. No real film takes part. Images and
hospitals are those of `ablation_transfer.py`. A small U-Net, trained on 400 of the training images, finds the lungs, to
which training images and films alike are cropped. A linear layer on each cell of the frozen network, trained on the
simulated masks, draws lesions and lungs: its map is read out alone, or beside the probe.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from ablation_transfer import BOTH, HELD_OUT, KEPT, PAIRS, SELECTOR, pooled, weights_of
from hospitals import LESION, LUNGS, drawn
from sklearn.metrics import roc_auc_score
from timm.models import create_feature_extractor

from nbhelpers.metrics import paired_bootstrap
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import models, probes, segmenters
from nbhelpers.networks.preprocessing import Transform, to_tensor
from nbhelpers.runs.devices import pick_device

TRAINING, CHANCE = 400, 127  # images that train the lung network; its output (of 255) from which a pixel is lung
SETTINGS = segmenters.FitSettings(epochs=8, batch_size=8, learning_rate=4e-3, upright=True)
WEIGHTS = ("1", "pairs")
BASE = "whole"  # what the others are compared with
CELLS = 128, 16  # pixels along a side of what the read-out sees, and cells along a side of what it draws


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


def cells(films: Any) -> Any:
    """Blocks 2, 3 and 4 of the frozen network on the grid of the first, `(n, 16, 16, 272)`."""
    size, side = CELLS
    body = models.build("tf_efficientnet_lite0", "imagenet", 1, 0).eval()
    network = create_feature_extractor(body, ["blocks.2", "blocks.3", "blocks.4"])
    found = []
    for start in range(0, len(films), 64):
        part = [cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in films[start : start + 64]]
        with torch.inference_mode(), pick_device("cpu").mixed_precision():
            maps = [one.float() for one in network(to_tensor(np.stack(part), Transform(size))).values()]
        maps = [torch.nn.functional.interpolate(one, size=(side, side), mode="bilinear") for one in maps]
        found.append(torch.cat([*maps, torch.ones_like(maps[0][:, :1])], dim=1).permute(0, 2, 3, 1).half().numpy())
    return np.concatenate(found)


def dense_head(found: Any, truth: Any) -> Any:
    """Weights `(d, 2)` of a ridge regression of each cell's share of lesion and of lung."""
    side = CELLS[1]
    shares = [
        cv2.resize((one & bit > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
        for one in truth
        for bit in (LESION, LUNGS)
    ]
    target = np.stack(shares).reshape(-1, 2, side * side).transpose(0, 2, 1)
    square, towards = np.zeros((found.shape[-1],) * 2), np.zeros((found.shape[-1], 2))
    for start in range(0, len(found), 64):
        x = found[start : start + 64].reshape(-1, found.shape[-1]).astype(np.float32)
        square += x.T @ x
        towards += x.T @ target[start : start + 64].reshape(-1, 2)
    return np.linalg.solve(square + 1e-3 * np.diag(np.diag(square) + 1e-3), towards)


def read_out(found: Any, head: Any) -> dict[str, Any]:
    """Scores of films from their drawn lesions: the mean in the drawn lungs, and that of its highest cells there."""
    drawn_here = (found.astype(np.float32) @ head.astype(np.float32)).reshape(len(found), -1, 2)
    made: dict[str, list[float]] = {"mean in the lungs": [], "highest tenth in the lungs": [], "highest twentieth": []}
    for lesion, lungs in drawn_here.transpose(0, 2, 1):
        inside = np.sort(lesion[lungs > 0.5] if (lungs > 0.5).sum() > 20 else lesion)[::-1]
        for name, share in zip(made, (1, 10, 20), strict=True):
            made[name].append(float(inside[: max(1, len(inside) // share)].mean()))
    return {name: np.array(values) for name, values in made.items()}


def scores_of(views: dict[str, Any], y: Any, kind: str) -> dict[str, Any]:
    """Scores of all sets by weights that were fitted on the features `train`."""
    centre, scale = probes.standardisation(views["train"])
    found = weights_of((views["train"] - centre) / scale, y, kind)
    return {name: (seen - centre) / scale @ found for name, seen in views.items()}


def added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The mean of two scores in units of their spread on the training images."""
    return {name: one[name] / one["train"].std() + other[name] / other["train"].std() for name in one}


def main() -> None:
    """Score whole and cropped films on the selector, with two draws of training images, and write the table."""
    torch.set_num_threads(1)
    tests = {name: drawn((name,), HELD_OUT, 12) for name in SELECTOR}
    rows: list[dict[str, Any]] = []
    for draw in (11, 13):
        sets = {"train": drawn(BOTH, PAIRS, draw, twins=True), **tests}
        network = lung_network(sets["train"][0], sets["train"][2] & LUNGS > 0)
        masks = {name: found_by(network, films) for name, (films, _, _) in sets.items()}
        for name in SELECTOR:
            pairs = zip(masks[name], sets[name][2] & LUNGS > 0, strict=True)
            print(draw, name, f"lungs: Dice {np.mean([dice(a, b) for a, b in pairs]):.3f}", flush=True)
        shown = {
            BASE: {name: films for name, (films, _, _) in sets.items()},
            "lungs found": {name: cropped(films, masks[name]) for name, (films, _, _) in sets.items()},
            "lungs as drawn": {name: cropped(films, truth & LUNGS > 0) for name, (films, _, truth) in sets.items()},
        }
        shown = shown if draw == 11 else dict(list(shown.items())[:2])
        seen = {words: {name: pooled(films, **KEPT) for name, films in view.items()} for words, view in shown.items()}
        seen["whole and lungs found"] = {
            name: np.concatenate([seen[BASE][name], seen["lungs found"][name]], axis=1) for name in sets
        }
        made = {
            (words, kind): scores_of(view, sets["train"][1], kind) for words, view in seen.items() for kind in WEIGHTS
        }
        laid = {name: cells(films) for name, (films, _, _) in sets.items()}
        head = dense_head(laid["train"], sets["train"][2])
        read = {name: read_out(found, head) for name, found in laid.items()}
        for words in read["train"]:
            alone = {name: scores[words] for name, scores in read.items()}
            made[f"lesions drawn: {words}", "1"] = alone
            made[f"whole, and lesions drawn: {words}", "1"] = added(made[BASE, "1"], alone)
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
