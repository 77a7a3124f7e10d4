"""Fine-tuning that stays near its start, judged between simulated hospitals: rows of docs/transfer.md.

Run as `python benchmarks/ablation_finetune.py [table.csv [recipe ...]]`; 7 minutes a recipe on one core. No real film
takes part. Images (one exposure a pair) and hospitals are those of `ablation_transfer.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from ablation_transfer import BOTH, HELD_OUT, KEPT, PAIRS, SELECTOR, weights_of
from hospitals import LESION, LUNGS, drawn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from nbhelpers.networks import features, models, probes, scoring
from nbhelpers.networks.preprocessing import Transform, standardise
from nbhelpers.runs.devices import pick_device
from nbhelpers.training.augmentation import _move, augment

LITE0, SIZE, BATCH, STEPS, WARM = "tf_efficientnet_lite0", 128, 16, 188, 20  # pairs a batch; two epochs of 1,500 pairs
KEEP = 0.98  # of the average along the run, each step
TRANSFORM, EARLY = Transform(SIZE), ("conv_stem", "bn1", "blocks.0.", "blocks.1.", "blocks.2.", "blocks.3.")
# By name: whether the chosen probe is the start, peak learning rate, early blocks frozen, pull to the start (L2), and
# the weight of the losses of two more heads, which draw lungs and lesions.
RECIPES: dict[str, tuple[bool, float, bool, float, float]] = {
    "all weights": (False, 3e-4, False, 0.0, 0.0),
    "blocks 0 to 3 frozen": (False, 3e-4, True, 0.0, 0.0),
    "L2 to the start": (False, 3e-4, False, 0.1, 0.0),
    "probe first": (True, 1e-4, False, 0.0, 0.0),
    "probe first, blocks 0 to 3 frozen": (True, 1e-4, True, 0.0, 0.0),
    "probe first, L2 to the start": (True, 1e-4, False, 0.1, 0.0),
    "probe first, heads for lungs and lesions": (True, 1e-4, False, 0.0, 1.0),
}


def chosen_probe(films: Any, y: Any) -> Any:
    """The recipe that was chosen, as a network: blocks 3, 4 and 5 at 64 and 128 px, ridge 1."""
    made = {"names": [f"blocks.{one}" for one in KEPT["blocks"]], "pooling": list(KEPT["pooling"])}
    model = models.build_probe(LITE0, "imagenet", 1, made | {"sizes": list(KEPT["sizes"])}, SIZE)
    x = features.embed(model, films, TRANSFORM, "cpu").astype(np.float64)
    centre, scale = probes.standardisation(x)
    found = weights_of((x - centre) / scale, y, "1")
    values = (x - centre) / scale @ found
    line = LogisticRegression(C=1e3).fit(values[:, None] / values.std(), y)
    model.set_weights(centre, scale, found * line.coef_[0, 0] / values.std(), float(line.intercept_[0]))
    return model


def tuned(
    model: Any, films: Any, y: Any, masks: Any, rate: float, frozen: bool, pull: float, heads: float, half: Any
) -> dict[str, Any]:
    """Train a network in place: AdamW, both of a pair in one batch, its batch norms' statistics as they were.

    Returns its weights averaged along the run.
    """
    model.requires_grad_(True)
    for name, value in model.named_parameters():
        value.requires_grad_(not (frozen and name.removeprefix("backbone.").startswith(EARLY)))
    moving = {name: value for name, value in model.named_parameters() if value.requires_grad}
    start = {name: value.detach().clone() for name, value in moving.items()}
    average = {name: value.clone() for name, value in start.items()}
    # On the last block of 8 x 8 cells (of the larger size); lungs and lesions as shares of a cell.
    dense = nn.Conv2d(112, 2, 1)
    groups = [{"params": list(moving.values())}, {"params": dense.parameters(), "lr": 10 * rate}]
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=0.0)
    rng, device = np.random.default_rng(0), pick_device("cpu")
    order = np.concatenate([rng.permutation(len(films) // 2) for _ in range(1 + STEPS * BATCH * 2 // len(films))])
    for step in range(STEPS):
        pairs = order[step * BATCH : (step + 1) * BATCH]
        rows = np.concatenate([2 * pairs, 2 * pairs + 1])
        seen = standardise(augment(torch.from_numpy(films[rows])[:, None].float() / 255, step), TRANSFORM)
        with device.mixed_precision():
            maps = model.forward_features(seen.contiguous(memory_format=torch.channels_last))
            logits = model.forward_head(maps)[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits.float(), torch.from_numpy(y[rows]).float())
        if heads:  # the masks move as the films do: it is the first that `augment` draws
            here = _move(torch.from_numpy(masks[rows]).float(), torch.Generator().manual_seed(step))
            here = functional.interpolate(here, size=(8, 8), mode="area")
            last = next(one for one in reversed(maps) if one.shape[1:] == (112, 8, 8))
            loss = loss + heads * functional.binary_cross_entropy_with_logits(dense(last.float()), here)
        for name, value in moving.items() if pull else ():
            loss = loss + pull * (value - start[name]).square().sum()
        for group, factor in zip(optimizer.param_groups, (1, 10), strict=True):
            group["lr"] = factor * rate * min(1.0, (step + 1) / WARM) * (1 - 0.9 * step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(moving.values(), 1.0)
        optimizer.step()
        for name, value in moving.items():
            average[name].lerp_(value.detach(), 1 - KEEP)
        if step + 1 == STEPS // 2:
            half(", stopped half way")
    return average


def main() -> None:
    """Score every recipe on the selector, and write the table."""
    torch.set_num_threads(1)
    small = lambda films: np.stack([cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for one in films])  # noqa: E731
    tests = {name: drawn((name,), HELD_OUT, 12) for name in SELECTOR}
    films, y, truth = drawn(BOTH, PAIRS, 11, twins=True)
    films, seen = small(films), {name: small(held) for name, (held, _, _) in tests.items()}
    masks = np.stack([small((truth & bit > 0).astype(np.uint8) * 255) > 127 for bit in (LUNGS, LESION)], axis=1)
    rows: list[dict[str, Any]] = []

    def add(recipe: str, model: Any) -> None:
        scores = {name: scoring.predict(model.eval(), held, TRANSFORM, "cpu") for name, held in seen.items()}
        areas = {name: roc_auc_score(tests[name][1], scores[name]) for name in SELECTOR}
        rows.append({"recipe": recipe, **areas, "worst": min(areas.values())})
        print({key: round(one, 4) if isinstance(one, float) else one for key, one in rows[-1].items()}, flush=True)
        path = Path(sys.argv[1] if len(sys.argv) > 1 else "ablation_finetune.csv")
        pd.DataFrame(rows).round(4).to_csv(path, index=False)

    add("the chosen probe, not trained further", chosen_probe(films, y))
    for recipe in sys.argv[2:] or RECIPES:
        probe_first, *how = RECIPES[recipe]
        model = chosen_probe(films, y) if probe_first else models.build(LITE0, "imagenet", 1, 0).eval()
        begun = {name: value.detach().clone() for name, value in model.state_dict().items()}
        half = lambda words, model=model, recipe=recipe: add(recipe + words, model)  # noqa: E731
        average = tuned(model, films, y, masks, *how, half=half)
        add(recipe, model)
        ended = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(ended | average)
        add(f"{recipe}, weights averaged along the run", model)
        model.load_state_dict(
            {key: (one + begun[key]) / 2 if one.is_floating_point() else one for key, one in ended.items()}
        )
        add(f"{recipe}, weights half way between start and end", model)


if __name__ == "__main__":
    main()
