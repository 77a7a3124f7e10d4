"""What transfers to films of another look: the third selector of docs/transfer.md, recipe by recipe.

Run as `python benchmarks/ablation_shift.py [table.csv]`; an hour on one core. No real film takes part. Trained on one
simulated source alone, scored on the look of the *other* in the conditions and with the patients of two hospitals. The
opacities of those films are drawn by other code, and each film then passes through a random chain of processing that
archives have and neither source draws. The criterion is the worst of the four cells (direction x hospital).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import cv2
import hospitals
import numpy as np
import pandas as pd
import torch
from other_films import other_opacity, phantoms, processed
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from timm.models import create_feature_extractor

from nbhelpers.metrics import paired_bootstrap
from nbhelpers.networks import models, probes
from nbhelpers.networks.preprocessing import Transform, to_tensor
from nbhelpers.runs.devices import pick_device
from nbhelpers.simulator import film
from nbhelpers.simulator.acquisition import PHYSICS

SIDE, PAIRS, HELD_OUT, HOSPITALS, PHANTOM = hospitals.SIZE, 1200, 450, ("hospital_c", "hospital_d"), "phantom"
DIRECTIONS = {"nano_banana": "roentgen", "roentgen": "nano_banana"}  # trained on, scored on
# Of the hospital; everything else (framing, window, response, sharpening, frames, captions) is the other source's.
CONDITIONS = ("scatter", "noise", "compress", "detail", "equalise", "haze", "tilt", "lowest")
TRAINING, TESTING = 21, 22  # seeds of the films
BLOCKS, POOLING = (3, 4, 5), ("mean", "max", "spread")
CHANNELS = (80, 112, 192)  # of these blocks of EfficientNet-Lite0
SOME_BLOCKS = ((3,), (4,), (5,), (3, 4), (3, 4, 5))
SOME_SIZES = ((64,), (96,), (128,), (64, 128), (64, 96, 128))
SIZES = (64, 96, 128)  # of all of them
SOME_POOLING = (("mean", "spread"), POOLING)


class Recipe(NamedTuple):
    """What a classifier looks at, and whether the two images of a pair it learns from are one exposure."""

    blocks: tuple[int, ...]
    sizes: tuple[int, ...]
    pooling: tuple[str, ...]
    twins: bool


CHOSEN = ("ridge 1", Recipe((3, 4, 5), (64, 128), ("mean", "spread"), True))  # what the others are compared with
STUDY = ("t", Recipe((3, 4), (96,), ("mean", "spread"), False))  # had been found on real films
OTHER = ("covariance 0.5", Recipe((3, 4, 5), (64, 96, 128), ("mean", "spread"), False))  # the best of its kind


def drawn(source: str, pairs: int, seed: int, hospital: str = "", twins: bool = False) -> tuple[Any, Any, Any]:
    """Films, labels and truth as `hospitals.drawn` gives them; in a hospital its conditions and other opacities."""
    look, opacity = PHYSICS[source], film.draw_lesion
    if hospital:
        opacity = other_opacity
        look = replace(look, **{name: getattr(PHYSICS[hospital], name) for name in CONDITIONS})
    with mock.patch.dict(PHYSICS, {source: look}), mock.patch.object(film, "draw_lesion", opacity):
        return hospitals.drawn((source,), pairs, seed, twins, hospital)


def pooled(films: Any) -> dict[int, Any]:
    """Each block's channels by mean, maximum and spread, by the pixels along a side at which films are looked at."""
    body = models.build("tf_efficientnet_lite0", "imagenet", 1, 0).eval()
    network = create_feature_extractor(body, [f"blocks.{one}" for one in BLOCKS])
    found: dict[int, Any] = {}
    for size in SIZES:
        rows = []
        for start in range(0, len(films), 64):
            part = [cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in films[start : start + 64]]
            with torch.inference_mode(), pick_device("cpu").mixed_precision():
                maps = [one.float() for one in network(to_tensor(np.stack(part), Transform(size))).values()]
            taken = [
                (one.mean((2, 3)), one.amax((2, 3)), (one.var((2, 3), correction=0) + 1e-6).sqrt()) for one in maps
            ]
            rows.append(torch.cat([value for three in taken for value in three], dim=1).numpy())
        found[size] = np.concatenate(rows)
    return found


def columns(blocks: Sequence[int], pooling: Sequence[str]) -> Any:
    """Which columns of `pooled` belong to some blocks and ways of pooling."""
    taken: list[Any] = []
    for (block, width), way in product(zip(BLOCKS, CHANNELS, strict=True), POOLING):
        taken += [np.full(width, block in blocks and way in pooling)]
    return np.flatnonzero(np.concatenate(taken))


def recipes(x: Any, y: Any) -> dict[str, Any]:
    """Weights by name, of standardised features whose rows are pairs."""
    first, second = x[y == 0], x[y == 1]
    found = {"t": probes.pair_weights(first, second, "spread")}
    found |= {f"covariance {share}": shrunk(second - first, share) for share in (0.5, 0.9)}
    ridges = dict(zip(probes.STRENGTHS, probes.ridge_weights(x, y), strict=True))
    found |= {f"ridge {strength:g}": ridges[strength] for strength in (1, 10, 100, 1000)}
    for strength in (1e-5, 1e-4, 1e-3):
        found[f"logistic {strength:g}"] = LogisticRegression(C=strength, max_iter=300).fit(x, y).coef_[0]
    return found


def shrunk(difference: Any, share: float) -> Any:
    """The mean difference within pairs over its covariance, which is shrunk by a share to its diagonal."""
    within = np.cov(difference.T).reshape(difference.shape[1], -1)
    matrix = (1 - share) * within + share * np.diag(np.diag(within)) + 1e-6 * np.eye(len(within))
    return np.linalg.solve(matrix, difference.mean(axis=0))


def held_out(source: str, hospital: str, chain: bool = True) -> tuple[Any, Any]:
    """Films and labels of a cell: what training on `source` never saw."""
    if hospital == PHANTOM:
        films, y = phantoms(HELD_OUT, TESTING)
    else:
        films, y, _ = drawn(DIRECTIONS[source], HELD_OUT, TESTING, hospital)
    return processed(films, TESTING) if chain else films, y


def features(found: Mapping[int, Any], recipe: Recipe) -> Any:
    """What a recipe looks at, `(n, d)`, its sizes one after the other."""
    which = columns(recipe.blocks, recipe.pooling)
    return np.concatenate([found[size][:, which] for size in recipe.sizes], axis=1).astype(float)


def named(source: str, hospital: str, chain: bool = True) -> str:
    """A cell in words."""
    return f"{source} {hospital}" + ("" if chain else " unprocessed")


def judged(scores: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, float]:
    """AUROC in each cell; the worst of the four that decide; and how far the processing alone moves the scores.

    `acquisition`: AUROC with which processed normal films are told from unprocessed ones, the mean of the cells.
    `linked`: the worst AUROC where one class is processed and the other is not, in either direction.
    """
    found = {cell: _area(one[labels[cell] == 1], one[labels[cell] == 0]) for cell, one in scores.items()}
    found |= {"worst": min(found[named(*cell)] for cell in product(DIRECTIONS, HOSPITALS))}
    told, linked = [], []
    for cell in product(DIRECTIONS, HOSPITALS):
        y, through_it, as_drawn = labels[named(*cell)] == 1, scores[named(*cell)], scores.get(named(*cell, False))
        if as_drawn is not None:
            told.append(_area(through_it[~y], as_drawn[~y]))
            linked += [_area(through_it[y], as_drawn[~y]), _area(as_drawn[y], through_it[~y])]
    return found | ({"acquisition": float(np.mean(told)), "linked": min(linked)} if told else {})


def _area(higher: Any, lower: Any) -> float:
    truth = np.repeat([1, 0], [len(higher), len(lower)])
    return float(roc_auc_score(truth, np.concatenate([higher, lower])))


def gains(scores: Mapping[Any, Mapping[str, Any]], labels: Mapping[str, Any], base: Any) -> pd.DataFrame:
    """AUROC of each less that of `base`, cell by cell, with the 95 % interval of a paired bootstrap over patients."""
    rows = []
    for name, one in scores.items():
        row = {"recipe": str(name), "worst": judged(one, labels)["worst"]}
        for cell in (cell for cell in one if "unprocessed" not in cell):
            patients = np.arange(len(labels[cell])) // 2
            gain = paired_bootstrap(labels[cell], one[cell], scores[base][cell], patients).auroc
            row[cell] = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        rows.append(row)
    return pd.DataFrame(rows)


def grid() -> tuple[dict[tuple[str, Recipe], dict[str, Any]], dict[str, Any]]:
    """Scores in every cell of every recipe of the grid, by weights and recipe, and the labels of the cells."""
    cells = list(product(DIRECTIONS, (*HOSPITALS, PHANTOM), (True, False)))
    tests = {cell: held_out(*cell) for cell in cells}
    looks = {cell: pooled(films) for cell, (films, _) in tests.items()}
    scores: dict[tuple[str, Recipe], dict[str, Any]] = {}
    for source, twins in product(DIRECTIONS, (True, False)):
        films, y, _ = drawn(source, PAIRS, TRAINING, twins=twins)
        train = pooled(films)
        for blocks, some, pooling in product(SOME_BLOCKS, SOME_SIZES, SOME_POOLING):
            recipe = Recipe(blocks, some, pooling, twins)
            x = features(train, recipe)
            centre, scale = probes.standardisation(x)
            found = recipes((x - centre) / scale, y)
            for cell in (cell for cell in cells if cell[0] == source):
                here = (features(looks[cell], recipe) - centre) / scale
                for name, weights in found.items():
                    scores.setdefault((name, recipe), {})[named(*cell)] = here @ weights
        print(source, "one exposure" if twins else "two exposures", "done", flush=True)
    return scores, {named(*cell): y for cell, (_, y) in tests.items()}


def main() -> None:
    """Score every recipe in every cell, and write the table and the gains of the leading ones."""
    torch.set_num_threads(1)
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "ablation_shift.csv")
    scores, labels = grid()
    rows = [{"weights": name, **recipe._asdict(), **judged(one, labels)} for (name, recipe), one in scores.items()]
    table = pd.DataFrame(rows).sort_values("worst", ascending=False).round(4)
    table.to_csv(path, index=False)
    print(table.head(20).to_string(), flush=True)
    best = max(scores, key=lambda one: judged(scores[one], labels)["worst"])
    leading: dict[Any, dict[str, Any]] = {one: scores[one] for one in (CHOSEN, STUDY, best, OTHER)}
    for one in list(leading)[1:]:
        mean = {cell: x / x.std() + scores[one][cell] / scores[one][cell].std() for cell, x in scores[CHOSEN].items()}
        leading["mean with", one] = mean
    gains(leading, labels, CHOSEN).to_csv(path.with_stem(f"{path.stem}_gains"), index=False)


if __name__ == "__main__":
    main()
