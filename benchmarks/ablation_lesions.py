"""The method `lesions` by the third selector of docs/transfer.md, and by the first: rows of docs/transfer.md.

Run as `python benchmarks/ablation_lesions.py [table.csv [recipe ...]]`; a recipe is the pixels along a side (`96`, 15
minutes a seed on one core), with `-lungs` cropped to the lungs as a network of `ablation_lungs.py` finds them, or with
another number of pairs of one source (`96-5000`). No real film takes part. Films and judgement are those of
`ablation_shift.py` (trained on one source alone) and `ablation_transfer.py` (on both). Training is the library's own.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import ablation_lungs as lungs
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
VIEWS = (1.0, 0.9, 0.8)  # the middle share along a side of a film that is scored
SETTINGS = Settings(epochs=6, learning_rate=3e-3)


class Recipe(NamedTuple):
    """How films are shown to the network, and how many pairs of one source it learns from."""

    pixels: int
    cropped: bool
    pairs: int

    @classmethod
    def of(cls, words: str) -> Recipe:
        """From `96`, `96-lungs` or `96-5000`."""
        pixels, _, rest = words.partition("-")
        return cls(int(pixels), rest == "lungs", PAIRS if rest in ("", "lungs") else int(rest))


def small(films: Any, size: int) -> Any:
    """Films at the network's size."""
    return np.stack([cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in films])


def middle(films: Any, share: float) -> Any:
    """The middle of each film."""
    edge = round(films.shape[1] * (1 - share) / 2)
    return films[:, edge : films.shape[1] - edge, edge : films.shape[2] - edge]


class Trained:
    """A network of `lesions`, as notebook 03 trains it, of one recipe and seed."""

    def __init__(self, films: Any, y: Any, truth: Any, recipe: Recipe, seed: int) -> None:
        """Films, labels and truth are those of `hospitals.drawn`."""
        self.size = recipe.pixels
        self.finder = lungs.lung_network(films, truth & hospitals.LUNGS > 0) if recipe.cropped else None
        parts = [(truth & bit > 0) * np.uint8(255) for bit in (hospitals.LESION, hospitals.LUNGS)]
        found = lungs.found_by(self.finder, films) if self.finder else None
        films, *parts = [one if found is None else lungs.cropped(one, found) for one in (films, *parts)]
        masks = np.stack([small(one, self.size) for one in parts], axis=1)
        names = [f"{number // 2}_{number % 2}" for number in range(len(films))]
        table = pd.DataFrame({"image_id": names, "pair_id": [name.split("_")[0] for name in names]})
        split = splits.split_groups(table.assign(label=np.where(y == 1, "pneumonia", "normal")), 0.2, 0)
        arm = {"name": f"{recipe}, seed {seed}", "method": "lesions"}
        how: dict[str, Any] = {"backbone": lesions.NAME, "init": "random", "transform": Transform(self.size)}
        images = small(films, self.size)
        with tempfile.TemporaryDirectory() as folder:
            self.model = train.train_arm(
                folder, split, images, arm=arm, settings=SETTINGS, seed=seed, device="cpu", masks=masks, **how
            ).model

    def scores(self, films: Any) -> dict[str, Any]:
        """Log-odds of films, whole and on average over the middles of `VIEWS`."""
        if self.finder:
            films = lungs.cropped(films, lungs.found_by(self.finder, films))
        each = [self._log_odds(small(middle(films, share), self.size)) for share in VIEWS]
        return {"whole": each[0], "mean of three middles": np.mean(each, axis=0)}

    def _log_odds(self, images: Any) -> Any:
        share = np.clip(scoring.predict(self.model, images, Transform(self.size), "cpu"), 1e-12, 1 - 1e-12)
        return np.log(share / (1 - share))


def main() -> None:
    """Train on each source alone and on both, score every cell of both selectors, and write the table."""
    torch.set_num_threads(1)
    path, *words = sys.argv[1:] or ["ablation_lesions.csv"]
    cells = list(product(shift.DIRECTIONS, (*shift.HOSPITALS, shift.PHANTOM), (True, False)))
    tests = {cell: shift.held_out(*cell) for cell in cells}
    labels = {shift.named(*cell): y for cell, (_, y) in tests.items()}
    first = {name: hospitals.drawn((name,), transfer.HELD_OUT, 12) for name in transfer.SELECTOR}
    both = hospitals.drawn(transfer.BOTH, transfer.PAIRS, 11, twins=True)
    rows = []
    for recipe in map(Recipe.of, words or ["96"]):
        alone = {source: shift.drawn(source, recipe.pairs, shift.TRAINING, twins=True) for source in shift.DIRECTIONS}
        scores: dict[str, dict[Any, dict[str, Any]]] = {}
        for seed in SEEDS:
            for source, images in alone.items():
                network = Trained(*images, recipe, seed)
                for cell in (cell for cell in cells if cell[0] == source):
                    for view, found in network.scores(tests[cell][0]).items():
                        scores.setdefault(view, {}).setdefault(seed, {})[shift.named(*cell)] = found
            network = Trained(*both, recipe, seed)
            seen = {name: network.scores(films) for name, (films, _, _) in first.items()}
            for view, by_seed in scores.items():
                areas = {f"first selector: {name}": roc_auc_score(first[name][1], seen[name][view]) for name in first}
                rows.append({**recipe._asdict(), "view": view, "seed": seed, **shift.judged(by_seed[seed], labels)})
                rows[-1] |= areas
                print(pd.Series(rows[-1]).to_string(), flush=True)
            pd.DataFrame(rows).round(4).to_csv(Path(path), index=False)
        for view, by_seed in scores.items():
            mean = {cell: np.mean([one[cell] for one in by_seed.values()], axis=0) for cell in labels}
            rows.append({**recipe._asdict(), "view": view, "seed": "mean of all", **shift.judged(mean, labels)})
        pd.DataFrame(rows).round(4).to_csv(Path(path), index=False)


if __name__ == "__main__":
    main()
