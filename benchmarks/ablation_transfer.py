"""What transfers between simulated hospitals: one row a recipe, chosen by the worst of two that no training saw.

Run as `python benchmarks/ablation_transfer.py [table.csv]`; it takes about twenty minutes of one core and goes on where
it stopped. No real film takes part. Trained on both sources of `params/kermany.yaml`; the selector is `hospital_c`
(children) and `hospital_d` (bedside), whose physics, patients, haze and faintness of opacities are their own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from nbhelpers.networks import models, probes, scoring
from nbhelpers.networks.preprocessing import Transform, standardise
from nbhelpers.prompting import prompts
from nbhelpers.runs.stage import outputs_root
from nbhelpers.simulator import hospitals
from nbhelpers.simulator.film import draw_film
from nbhelpers.training.augmentation import augment

PAIRS, HELD_OUT, SELECTOR = 1500, 300, ("hospital_c", "hospital_d")
BLOCKS = [f"blocks.{number}" for number in range(1, 7)]
LITE0 = "tf_efficientnet_lite0"
WORK = outputs_root() / ".cache" / "ablation_transfer"


def drawn(
    name: str, pairs: int, seed: int, physics: tuple[str, ...], change: Callable[[Any], Any] = lambda d: d
) -> Any:
    """Films (n, 224, 224), lung and lesion masks (n, 56, 56) of a design whose pairs go through `physics` in turn."""
    path = WORK / f"{name}.npz"
    if not path.exists():
        design = prompts.design(pairs, seed, prompts.load_templates())
        parts = []
        for number, kind in enumerate(physics):
            share = design[(np.arange(len(design)) // 2) % len(physics) == number]
            share = hospitals.patients_of(kind, share, seed) if kind in hospitals.PATIENTS else share
            parts.append(share.assign(physics=kind))
        films, lungs, lesions = [], [], []
        rows = change(pd.concat(parts)).to_dict("records")
        for row in rows:
            film = draw_film(row, int(row["pair_seed"]), int(row["seed"]), row["physics"], 256)
            films.append(cv2.resize(film.image, (224, 224), interpolation=cv2.INTER_AREA))
            for masks, mask in ((lungs, film.lungs), (lesions, film.lesion)):
                masks.append(cv2.resize(mask.astype(np.uint8) * 255, (56, 56), interpolation=cv2.INTER_AREA))
        path.parent.mkdir(parents=True, exist_ok=True)
        label = np.array([row["label"] == "pneumonia" for row in rows], int)
        np.savez(path, films=np.stack(films), lungs=np.stack(lungs), lesions=np.stack(lesions), label=label)
    return dict(np.load(path))


def sized(films: Any, size: int) -> Any:
    return np.stack([cv2.resize(film, (size, size), interpolation=cv2.INTER_AREA) for film in films])


def cut(films: Any, share: float) -> Any:
    edge = round(films.shape[1] * (1 - share) / 2)
    return films[:, edge:-edge, edge:-edge]


def equalised(films: Any) -> Any:
    return np.stack([cv2.createCLAHE(2.0, (8, 8)).apply(film) for film in films])


def ranked(films: Any) -> Any:
    """Every film with the same histogram: each grey becomes the share of pixels below it."""
    return np.stack([cv2.equalizeHist(film) for film in films])


class Lab:
    """The films, and every recipe's pooled features, made once."""

    def __init__(self) -> None:
        self.train = drawn("train", PAIRS, 11, ("nano_banana", "roentgen"))
        self.test = {name: drawn(name, HELD_OUT, 12, (name,)) for name in SELECTOR}
        self.kept: dict[str, Any] = {}

    def pooled(self, key: str, size: int, change: Any = None, backbone: str = LITE0, init: str = "imagenet") -> Any:
        """Features of every block by set: `{set: {block: {pooling: (n, c)}}}`; `change` is made to the films before."""
        if key not in self.kept:
            made = {"names": BLOCKS, "pooling": list(probes.POOLING), "sizes": [size]}
            model = models.build_probe(backbone, init, 1, made, size).eval()
            self.kept[key] = {}
            for name, data in {"train": self.train, **self.test}.items():
                seen = sized(data["films"] if change is None else change(data["films"], name), size)
                found = scoring.features(model, seen, Transform(size), "cpu", 32)
                with torch.no_grad():
                    widths = [one.shape[1] for one in model.forward_features(torch.zeros(1, 1, size, size))]
                ends = np.cumsum([width for width in widths for _ in probes.POOLING])[:-1]
                parts = iter(np.split(found, ends, axis=1))
                self.kept[key][name] = {
                    int(block[-1]): {how: next(parts) for how in probes.POOLING} for block in BLOCKS
                }
        return self.kept[key]


def values(found: Any, name: str, blocks: tuple[int, ...], pooling: tuple[str, ...]) -> Any:
    return np.concatenate([found[name][block][how] for block in blocks for how in pooling], axis=1).astype(np.float64)


def linear(x: Any, y: Any, tests: dict[str, Any], weights: str) -> dict[str, Any]:
    """Scores of the selector's films by weights found on x: rows of x are pairs, pneumonia and normal in turn."""
    centre, scale = probes.standardisation(x)
    x = (x - centre) / scale
    difference = x[y == 1] - x[y == 0]
    kind, _, strength = weights.partition(" ")
    if kind == "t":
        found = probes.pair_weights(x[y == 0], x[y == 1])
    elif kind == "mean":
        found = difference.mean(0)
    elif kind == "covariance":
        within = np.cov(difference.T)
        share = float(strength)
        found = np.linalg.solve((1 - share) * within + share * np.diag(np.diag(within)), difference.mean(0))
    elif kind == "ridge":
        found = dict(zip(probes.STRENGTHS, probes.ridge_weights(x, y), strict=True))[float(strength)]
    else:
        found = LogisticRegression(C=float(strength), max_iter=300).fit(x, y).coef_[0]
    return {name: (one - centre) / scale @ found for name, one in tests.items()}


class Table:
    def __init__(self, path: Path, lab: Lab) -> None:
        self.path, self.lab = path, lab
        self.rows = pd.read_csv(path).to_dict("records") if path.exists() else []
        self.scores: dict[str, dict[str, Any]] = {}

    def has(self, recipe: str) -> bool:
        return any(row["recipe"] == recipe for row in self.rows)

    def add(self, group: str, recipe: str, scores: dict[str, Any], seconds: float) -> None:
        self.scores[recipe] = scores
        if self.has(recipe):
            return
        areas = {name: roc_auc_score(self.lab.test[name]["label"], scores[name]) for name in SELECTOR}
        row = {"group": group, "recipe": recipe, **areas, "worst": min(areas.values()), "seconds": seconds}
        self.rows.append({key: round(one, 4) if isinstance(one, float) else one for key, one in row.items()})
        pd.DataFrame(self.rows).to_csv(self.path, index=False)
        print(self.rows[-1], flush=True)

    def probe(self, group: str, recipe: str, key: str, size: int, blocks: Any, weights: str, **given: Any) -> None:
        start, pooling = time.perf_counter(), given.pop("pooling", probes.POOLING)
        found = self.lab.pooled(key, size, **given)
        tests = {name: values(found, name, blocks, pooling) for name in SELECTOR}
        x, y = values(found, "train", blocks, pooling), self.lab.train["label"]
        self.add(group, recipe, linear(x, y, tests, weights), time.perf_counter() - start)

    def mean(self, group: str, recipe: str, parts: list[str]) -> None:
        """The mean of several recipes' scores, each to deviation 1."""
        held = [self.scores[part] for part in parts]
        both = {name: np.mean([one[name] / one[name].std() for one in held], axis=0) for name in SELECTOR}
        self.add(group, recipe, both, 0.0)


def probes_and_pairs(table: Table) -> None:
    for size in (64, 80, 96, 128, 224):
        table.probe("1 size", f"t, blocks 3 4, {size} px", f"px{size}", size, (3, 4), "t")
    for blocks in ((1,), (2,), (3,), (4,), (5,), (6,), (2, 3), (4, 5), (2, 3, 4), (3, 4, 5)):
        table.probe("1 blocks", f"t, blocks {' '.join(map(str, blocks))}, 96 px", "px96", 96, blocks, "t")
    for block in (3, 4, 5):
        table.probe("1 blocks", f"t, blocks {block}, 128 px", "px128", 128, (block,), "t")
    for pooling in (("mean",), ("max",), ("spread",), ("mean", "max"), ("mean", "spread")):
        name = f"t, blocks 3 4, 96 px, {' '.join(pooling)}"
        table.probe("1 pooling", name, "px96", 96, (3, 4), "t", pooling=pooling)
    kinds = ["mean", *(f"covariance {share}" for share in (0.9, 0.5, 0.1)), *(f"ridge {s:g}" for s in probes.STRENGTHS)]
    for weights in (*kinds, "logistic 1e-05", "logistic 0.0001", "logistic 0.001"):
        table.probe("1 weights", f"{weights}, blocks 3 4, 96 px", "px96", 96, (3, 4), weights)
    for parts in ((64, 96, 128), (64, 80, 96, 128), (96, 128, 224)):
        name = f"t, blocks 3 4, mean of {' '.join(map(str, parts))} px"
        table.mean("1 size", name, [f"t, blocks 3 4, {size} px" for size in parts])
    table.probe("1 control", "t, blocks 3 4, 96 px, random weights", "random", 96, (3, 4), "t", init="random")
    table.probe("1 control", "ridge 1, blocks 3 4, 96 px, random weights", "random", 96, (3, 4), "ridge 1")


def crops_and_tone(table: Table) -> None:
    for share in (0.9, 0.8):
        name = f"t, blocks 3 4, 96 px, middle {share:.0%}"
        table.probe("1 crops", name, f"cut{share}", 96, (3, 4), "t", change=lambda f, _, s=share: cut(f, s))
    shares = ["t, blocks 3 4, 96 px, middle 90%", "t, blocks 3 4, 96 px, middle 80%"]
    table.mean("1 crops", "t, blocks 3 4, 96 px, mean of whole and middles", ["t, blocks 3 4, 96 px", *shares])
    table.probe("1 network", "t, blocks 3 4, 96 px, lite2", "lite2", 96, (3, 4), "t", backbone="tf_efficientnet_lite2")
    table.probe("5 tone", "t, blocks 3 4, 96 px, CLAHE", "clahe", 96, (3, 4), "t", change=lambda f, _: equalised(f))
    table.probe(
        "5 tone", "t, blocks 3 4, 96 px, equal histograms", "rank", 96, (3, 4), "t", change=lambda f, _: ranked(f)
    )

    def wide(films: Any, name: str) -> Any:
        if name != "train":
            return films
        rng = np.random.default_rng(0)
        raw = torch.from_numpy(films.copy()).unsqueeze(1).float() / 255
        out = torch.cat([augment(part, number) for number, part in enumerate(raw.split(100))])[:, 0].numpy() * 255
        for number in np.flatnonzero(rng.random(len(out)) < 0.5):
            steep = rng.uniform(2, 8)
            curved = 1 / (1 + np.exp(-steep * (out[number] / 255 - 0.5)))
            out[number] = 255 * (curved if rng.random() < 0.5 else np.log1p(out[number]) / np.log(256))
        flipped = rng.random(len(out)) < 0.15
        out[flipped] = 255 - out[flipped]
        return out.clip(0, 255).astype(np.uint8)

    table.probe("5 tone", "t, blocks 3 4, 96 px, wide randomisation", "wide", 96, (3, 4), "t", change=wide)
    table.probe("5 tone", "ridge 10, blocks 3 4, 96 px, wide randomisation", "wide", 96, (3, 4), "ridge 10")


def breadth(table: Table) -> None:
    def same_seed(design: Any) -> Any:
        return design.assign(seed=design.groupby("pair_id")["seed"].transform("first"))

    def children(design: Any) -> Any:
        return design.assign(age_group="child").drop(columns="age")

    everywhere = ("nano_banana", "roentgen", "hospital_a", "hospital_b", "hospital_e", "hospital_f")
    plain = table.lab.train
    for words, name, physics, change in (
        ("pairs of one exposure", "same", ("nano_banana", "roentgen"), same_seed),
        ("children alone", "children", ("nano_banana", "roentgen"), children),
        ("six hospitals", "six", everywhere, lambda design: design),
    ):
        table.lab.train = drawn(name, PAIRS, 11, physics, change)
        for weights in ("t", "ridge 10"):
            table.probe("6 breadth", f"{weights}, blocks 3 4, 96 px, {words}", name, 96, (3, 4), weights)
    table.lab.train = drawn("second", PAIRS, 13, ("nano_banana", "roentgen"))
    table.probe("6 draw", "t, blocks 3 4, 96 px, a second draw", "second", 96, (3, 4), "t")
    table.lab.train = plain
    table.mean("6 ensemble", "mean of both draws", ["t, blocks 3 4, 96 px", "t, blocks 3 4, 96 px, a second draw"])
    table.mean("6 ensemble", "mean of t and ridge 10", ["t, blocks 3 4, 96 px", "ridge 10, blocks 3 4, 96 px"])


def maps_of(films: Any, size: int) -> Any:
    """Maps of blocks 3 and 4, standardised by film, `(n, c, h, h)`."""
    made = {"names": BLOCKS[2:4], "pooling": ["mean"], "sizes": [size]}
    model, out = models.build_probe(LITE0, "imagenet", 1, made, size).eval(), []
    with torch.inference_mode():
        for part in torch.from_numpy(sized(films, size)).split(64):
            out.append(torch.cat(model.forward_features(standardise(part[:, None].float() / 255, Transform(size))), 1))
    return torch.cat(out).numpy()


def cells(masks: Any, side: int) -> Any:
    return sized(masks, side).reshape(len(masks), -1) / 255


def lungs_and_lesions(table: Table) -> None:
    """Heads for lesion and lungs on each cell of the frozen maps: a read-out, and a crop to the lungs."""
    start, size, y = time.perf_counter(), 128, table.lab.train["label"]
    grids = {name: maps_of(data["films"], size) for name, data in {"train": table.lab.train, **table.lab.test}.items()}
    n, channels, side, _ = grids["train"].shape
    flat = {name: grid.transpose(0, 2, 3, 1).reshape(-1, channels).astype(np.float64) for name, grid in grids.items()}
    centre, scale = probes.standardisation(flat["train"])
    x = (flat["train"] - centre) / scale
    gram, found = x.T @ x / len(x) + 1e-1 * np.eye(channels), {}
    for name in ("lesions", "lungs"):
        target = cells(table.lab.train[name], side).reshape(-1)
        weights = np.linalg.solve(gram, x.T @ (target - target.mean()) / len(x))
        found[name] = {
            key: ((one - centre) / scale @ weights + target.mean()).reshape(-1, side, side) for key, one in flat.items()
        }
    seconds = time.perf_counter() - start
    for words, read in (
        ("mean", lambda lesion, lung: lesion.mean((1, 2))),
        (
            "mean in the lungs",
            lambda lesion, lung: (lesion * lung.clip(0, 1)).sum((1, 2)) / lung.clip(0.02, 1).sum((1, 2)),
        ),
        ("highest tenth", lambda lesion, lung: np.sort(lesion.reshape(len(lesion), -1), 1)[:, -6:].mean(1)),
    ):
        scores = {name: read(found["lesions"][name], found["lungs"][name]) for name in SELECTOR}
        table.add("4 lesion read-out", f"cells of blocks 3 4, {size} px, {words}", scores, seconds)
    truth = cells(table.lab.test["hospital_c"]["lungs"], side).reshape(-1, side, side)
    hit = (found["lungs"]["hospital_c"] > 0.5) & (truth > 0.5)
    dice = 2 * hit.sum() / ((found["lungs"]["hospital_c"] > 0.5).sum() + (truth > 0.5).sum())
    print(f"lungs of hospital_c on {side} x {side} cells: Dice {dice:.3f}", flush=True)

    def to_lungs(films: Any, name: str) -> Any:
        out = np.empty((len(films), 112, 112), np.uint8)
        for number, (film, lung) in enumerate(zip(films, found["lungs"][name], strict=True)):
            inside = lung > 0.4
            rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
            step = len(film) / side
            top, bottom = (rows[0], rows[-1] + 1) if len(rows) else (0, side)
            left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, side)
            if bottom - top < 3 or right - left < 3:
                top, bottom, left, right = 0, side, 0, side
            a, b, c, d = (round(edge * step) for edge in (top, bottom, left, right))
            out[number] = cv2.resize(film[a:b, c:d], (112, 112), interpolation=cv2.INTER_AREA)
        return out

    table.probe(
        "3 lungs", "t, blocks 3 4, 96 px, cropped to predicted lungs", "lungs", 96, (3, 4), "t", change=to_lungs
    )
    assert len(y) == n


def fine_tuning(table: Table) -> None:
    """One epoch at 96 px from ImageNet's weights, near its start in one way or another."""
    lab, size = table.lab, 96
    transform = Transform(size)
    films, y = sized(lab.train["films"], size), lab.train["label"]
    tests = {name: sized(data["films"], size) for name, data in lab.test.items()}

    def scored(model: nn.Module) -> dict[str, Any]:
        return {name: scoring.predict(model, one, transform, "cpu", 32) for name, one in tests.items()}

    for words, rate, frozen, pull in (
        ("5e-4", 5e-4, 0, 0.0),
        ("1e-4", 1e-4, 0, 0.0),
        ("5e-4, blocks 0 to 3 frozen", 5e-4, 4, 0.0),
        ("5e-4, L2 to the start", 5e-4, 0, 1e-2),
    ):
        if table.has(f"fine-tuned, {words}"):
            continue
        start = time.perf_counter()
        model: Any = models.build(LITE0, "imagenet", 1, 0)
        early = [model.conv_stem, model.bn1, *model.blocks[:frozen]] if frozen else []
        for module in early:
            module.requires_grad_(False)
        first = {name: value.detach().clone() for name, value in model.named_parameters()}
        trained = [value for value in model.parameters() if value.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.05)
        slow, order = None, np.random.default_rng(0).permutation(len(films) // 2)
        batches = np.array_split(order, len(order) // 16)
        for step, chosen in enumerate(batches):
            model.train()
            for module in early:
                module.eval()
            rows = np.concatenate([2 * chosen, 2 * chosen + 1])
            seen = augment(torch.from_numpy(films[rows]).unsqueeze(1).float() / 255, step)
            logits = model(standardise(seen, transform))[:, 0]
            loss = functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(y[rows]).float())
            if pull:
                near = ((v - first[name]) ** 2 for name, v in model.named_parameters() if "classifier" not in name)
                loss = loss + pull * sum(one.sum() for one in near)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 20) * (1 - 0.9 * step / len(batches))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state = {name: value.detach().clone().float() for name, value in model.state_dict().items()}
            slow = state if slow is None else {k: 0.97 * slow[k] + 0.03 * state[k] for k in state}
            if words == "5e-4" and step + 1 in (len(batches) // 4, len(batches) // 2):
                table.add(
                    "2 early stop",
                    f"fine-tuned, {words}, stopped at {(step + 1) / len(batches):.0%}",
                    scored(model),
                    0.0,
                )
        table.add("2 fine-tuning", f"fine-tuned, {words}", scored(model), time.perf_counter() - start)
        kinds = {k: v.dtype for k, v in model.state_dict().items()}
        ended = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict({k: v.to(kinds[k]) for k, v in (slow or {}).items()})
        table.add("2 EMA", f"fine-tuned, {words}, EMA", scored(model), 0.0)
        begun = models.build(LITE0, "imagenet", 1, 0).state_dict()
        half = {
            k: (v + begun[k]) / 2 if v.is_floating_point() and "classifier" not in k else v for k, v in ended.items()
        }
        model.load_state_dict(half)
        table.add("2 between", f"fine-tuned, {words}, halfway to the start", scored(model), 0.0)


def main() -> None:
    torch.set_num_threads(1)
    table = Table(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/ablation_transfer.csv"), Lab())
    for part in (probes_and_pairs, crops_and_tone, breadth, lungs_and_lesions, fine_tuning):
        part(table)


if __name__ == "__main__":
    main()
