"""What transfers between simulated hospitals, recipe by recipe, judged by the worst of two that no training saw.

Run as `python benchmarks/ablation_transfer.py [table.csv]`; a quarter of an hour on one core. No real film takes part.
Trained on 1,500 pairs of both simulated sources; the selector is `hospital_c` (children) and `hospital_d` (bedside),
whose physics, patients and haze are their own. What was tried and is no longer in the library: docs/transfer.md.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from hospitals import drawn
from sklearn.metrics import roc_auc_score

from nbhelpers.networks import features, models, probes
from nbhelpers.networks.preprocessing import Transform

PAIRS, HELD_OUT, BOTH, SELECTOR = 1500, 400, ("nano_banana", "roentgen"), ("hospital_c", "hospital_d")
KEPT = {"blocks": (3, 4, 5), "sizes": (64, 128), "pooling": probes.POOLING}
# Recipes by name: what differs from `KEPT`, and the weights: `pairs`, or a ridge of that strength.
RECIPES: dict[str, tuple[dict[str, Any], str]] = {
    **{f"ridge {strength:g}": ({}, f"{strength:g}") for strength in probes.STRENGTHS},
    "pairs": ({}, "pairs"),
    **{f"blocks {' '.join(map(str, some))}": ({"blocks": some}, "1") for some in ((3,), (4,), (5,), (3, 4), (4, 5))},
    **{f"{size} px": ({"sizes": (size,)}, "1") for size in (64, 96, 128, 224)},
    **{f"{one} alone": ({"pooling": (one,)}, "1") for one in probes.POOLING},
    "random weights": ({"init": "random"}, "1"),
}


def pooled(
    films: Any, blocks: Any, sizes: Any, pooling: Any, init: str = "imagenet", backbone: str = "tf_efficientnet_lite0"
) -> Any:
    """Features of the films as a probe pools them, one size after the other; kept on disk."""
    found = []
    for size in sizes:
        made = {"names": [f"blocks.{block}" for block in blocks], "pooling": list(pooling), "sizes": [size]}
        model = models.build_probe(backbone, init, 1, made, size)
        small = np.stack([cv2.resize(film, (size, size), interpolation=cv2.INTER_AREA) for film in films])
        found.append(features.embed(model, small, Transform(size), "cpu"))
    return np.concatenate(found, axis=1).astype(np.float64)


def weights_of(x: Any, y: Any, kind: str) -> Any:
    """Weights of a recipe; rows of x are pairs, pneumonia and normal in turn."""
    if kind == "pairs":
        return probes.pair_weights(x[y == 0], x[y == 1])
    return dict(zip([f"{one:g}" for one in probes.STRENGTHS], probes.ridge_weights(x, y), strict=True))[kind]


def main() -> None:
    """Score every recipe on the selector, and write the table."""
    torch.set_num_threads(1)
    tests = {name: drawn((name,), HELD_OUT, 12)[:2] for name in SELECTOR}
    rows = []
    for words, films, y in (
        ("twins", *drawn(BOTH, PAIRS, 11, twins=True)[:2]),
        ("pairs of two exposures", *drawn(BOTH, PAIRS, 11)[:2]),
        *((f"twins of {name} itself", *drawn((name,), PAIRS, 11, twins=True)[:2]) for name in SELECTOR),
    ):
        for recipe, (changes, kind) in RECIPES.items():
            if words != "twins" and recipe not in ("ridge 1", "pairs"):
                continue
            start = time.perf_counter()
            x = pooled(films, **KEPT | changes)
            centre, scale = probes.standardisation(x)
            found = weights_of((x - centre) / scale, y, kind)
            scores = {
                name: (pooled(seen, **KEPT | changes) - centre) / scale @ found for name, (seen, _) in tests.items()
            }
            areas = {name: roc_auc_score(tests[name][1], scores[name]) for name in SELECTOR}
            seconds = time.perf_counter() - start
            rows.append({"images": words, "recipe": recipe, **areas, "worst": min(areas.values()), "seconds": seconds})
            print({key: round(one, 4) if isinstance(one, float) else one for key, one in rows[-1].items()}, flush=True)
    pd.DataFrame(rows).round(4).to_csv(Path(sys.argv[1] if len(sys.argv) > 1 else "ablation.csv"), index=False)


if __name__ == "__main__":
    main()
