"""What transfers between simulated hospitals: one row a recipe, judged by the worst of two that no training saw.

Run as `python benchmarks/ablation_transfer.py [table.csv] [parts...]`; goes on where it stopped. No real film takes part. Trained on
1,500 pairs of both simulated sources; the selector is `hospital_c` (children) and `hospital_d` (bedside).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from nbhelpers.networks import models, probes, scoring
from nbhelpers.networks.preprocessing import Transform, standardise
from nbhelpers.prompting import prompts
from nbhelpers.simulator import hospitals
from nbhelpers.simulator.film import draw_film
from nbhelpers.training.augmentation import augment

PAIRS, HELD_OUT, SELECTOR = 1500, 400, ("hospital_c", "hospital_d")
LITE0, BOTH = "tf_efficientnet_lite0", ("nano_banana", "roentgen")
WORK = Path(os.environ.get("ABLATION_WORK", "outputs/.cache/ablation_transfer"))
NUMBERS = (1, 2, 3, 4, 5, 6)


def drawn(name: str, pairs: int, seed: int, physics: tuple[str, ...], change: Any = lambda d: d) -> Any:
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
    return np.stack([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in films])


def cut(films: Any, share: float) -> Any:
    edge = round(films.shape[1] * (1 - share) / 2)
    return films[:, edge:-edge, edge:-edge]


def wide(films: Any, seed: int, plain: bool = False) -> Any:
    rng = np.random.default_rng(seed)
    raw = torch.from_numpy(films.copy()).unsqueeze(1).float() / 255
    out = torch.cat([augment(p, 1000 * seed + k) for k, p in enumerate(raw.split(100))])[:, 0].numpy() * 255
    if not plain:
        for k in np.flatnonzero(rng.random(len(out)) < 0.5):
            curved = 1 / (1 + np.exp(-rng.uniform(2, 8) * (out[k] / 255 - 0.5)))
            out[k] = 255 * (curved if rng.random() < 0.5 else np.log1p(out[k].clip(0)) / np.log(256))
        flip = rng.random(len(out)) < 0.15
        out[flip] = 255 - out[flip]
    return out.clip(0, 255).astype(np.uint8)


class Lab:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = pd.read_csv(path).to_dict("records") if path.exists() else []
        self.scores: dict[str, Any] = {}
        self.sets = {"train": drawn("train", PAIRS, 11, BOTH), **{n: drawn(n, HELD_OUT, 12, (n,)) for n in SELECTOR}}
        self.y = self.sets["train"]["label"]

    def embed(self, name: str, size: int, key: str = "", films: Any = None, init: str = "imagenet") -> Any:
        """{block: {pooling: (n, c)}} of a set's films, kept on disk."""
        path = WORK / f"f_{name}_{size}_{key}_{init}.npz"
        if not path.exists():
            made = {"names": [f"blocks.{k}" for k in NUMBERS], "pooling": list(probes.POOLING), "sizes": [size]}
            model = models.build_probe(LITE0, init, 1, made, size).eval()
            seen = sized(self.sets[name]["films"] if films is None else films, size)
            found = scoring.features(model, seen, Transform(size), "cpu", 32)
            with torch.no_grad():
                widths = [one.shape[1] for one in model.forward_features(torch.zeros(1, 1, size, size))]
            np.savez(path, found=found, widths=widths)
        held = np.load(path)
        parts = iter(np.split(held["found"], np.cumsum(np.repeat(held["widths"], 3))[:-1], axis=1))
        return {b: {p: next(parts) for p in probes.POOLING} for b in NUMBERS}

    def x(self, name: str, blocks: Any, sizes: Any, pooling: Any = probes.POOLING, **given: Any) -> Any:
        found = [self.embed(name, s, **given) for s in sizes]
        return np.concatenate([f[b][p] for f in found for b in blocks for p in pooling], 1).astype(np.float64)

    def add(self, group: str, recipe: str, scores: Any, start: float) -> None:
        self.scores[recipe] = scores
        areas = {n: roc_auc_score(self.sets[n]["label"], scores[n]) for n in SELECTOR}
        self.rows = [r for r in self.rows if r["recipe"] != recipe]
        row = {"group": group, "recipe": recipe, **areas, "worst": min(areas.values()), "seconds": time.time() - start}
        self.rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
        pd.DataFrame(self.rows).to_csv(self.path, index=False)
        print(self.rows[-1], flush=True)

    def probe(self, group: str, recipe: str, x: Any, tests: Any, weights: str, y: Any = None) -> None:
        start = time.time()
        self.add(group, recipe, linear(x, self.y if y is None else y, tests, weights), start)

    def simple(
        self, group: str, blocks: Any, sizes: Any, weights: str, pooling: Any = probes.POOLING, **given: Any
    ) -> str:
        words = [weights, "blocks " + " ".join(map(str, blocks)), " ".join(map(str, sizes)) + " px"]
        words += [" ".join(pooling)] if pooling != probes.POOLING else []
        words += [f"{k} {v}" for k, v in given.items()]
        tests = {n: self.x(n, blocks, sizes, pooling, **given) for n in SELECTOR}
        self.probe(group, ", ".join(words), self.x("train", blocks, sizes, pooling, **given), tests, weights)
        return ", ".join(words)

    def mean(self, group: str, recipe: str, parts: list[str]) -> None:
        held = [self.scores[p] for p in parts]
        self.add(group, recipe, {n: np.mean([o[n] / o[n].std() for o in held], 0) for n in SELECTOR}, time.time())


def linear(x: Any, y: Any, tests: Any, weights: str) -> Any:
    centre, scale = probes.standardisation(x)
    x = (x - centre) / scale
    kind, _, strength = weights.partition(" ")
    if kind == "t":
        found = probes.pair_weights(x[y == 0], x[y == 1])
    elif kind == "covariance":
        diff = x[y == 1] - x[y == 0]
        within, share = np.cov(diff.T), float(strength)
        found = np.linalg.solve((1 - share) * within + share * np.diag(np.diag(within) + 1e-9), diff.mean(0))
    elif kind == "ridge":
        found = (
            probes.ridge_weights(
                x,
                y,
            )
            if False
            else ridge(x, y, float(strength))
        )
    else:
        found = LogisticRegression(C=float(strength), max_iter=200).fit(x, y).coef_[0]
    return {n: (one - centre) / scale @ found for n, one in tests.items()}


def ridge(x: Any, y: Any, strength: float) -> Any:
    x = x - x.mean(0)
    n, d = x.shape
    t = np.where(y == 1, 1.0, -1.0)
    if n < d:
        return x.T @ np.linalg.solve(x @ x.T / n + strength * np.eye(n), t) / n
    return np.linalg.solve(x.T @ x / n + strength * np.eye(d), x.T @ t / n)


def part_probes(lab: Lab) -> None:
    for size in (96, 128, 64, 160, 224):
        for weights in ("t", "covariance 0.5", "ridge 1"):
            for blocks in (
                ((3,), (4,), (5,), (3, 4), (4, 5), (3, 4, 5)) if size in (96, 128) else ((3, 4), (5,), (3, 4, 5))
            ):
                lab.simple("blocks, size", blocks, (size,), weights)
        if size == 128:
            for weights in ("t", "ridge 1"):
                for blocks in ((1,), (2,), (6,), (2, 3, 4, 5), (5, 6)):
                    lab.simple("blocks, size", blocks, (128,), weights)
            for strength in (100, 10, 0.3, 0.1):
                lab.simple("weights", (3, 4, 5), (128,), f"ridge {strength:g}")
            for share in (0.9, 0.1):
                lab.simple("weights", (3, 4, 5), (128,), f"covariance {share}")
            for c in (1e-4, 1e-3):
                lab.simple("weights", (3, 4, 5), (128,), f"logistic {c:g}")
            for pooling in (("mean",), ("max",), ("mean", "max"), ("mean", "spread")):
                for weights in ("t", "ridge 1"):
                    lab.simple("pooling", (3, 4, 5), (128,), weights, pooling)
    for sizes in ((64, 128), (96, 160), (64, 96, 128), (96, 128, 160), (128, 224), (96, 160, 224)):
        for weights in ("t", "covariance 0.5", "ridge 1"):
            lab.simple("several sizes at once", (3, 4, 5), sizes, weights)
        lab.mean(
            "mean of sizes",
            f"ridge 1, blocks 3 4 5, mean of {sizes} px",
            [f"ridge 1, blocks 3 4 5, {s} px" for s in sizes],
        )
    for weights in ("t", "ridge 1"):
        lab.simple("control", (3, 4, 5), (128,), weights, init="random")
    lab.mean(
        "ensemble",
        "mean of t and ridge 1, blocks 3 4 5, 128 px",
        ["t, blocks 3 4 5, 128 px", "ridge 1, blocks 3 4 5, 128 px"],
    )


def part_films(lab: Lab) -> None:
    size, blocks = 128, (3, 4, 5)
    base = {n: lab.x(n, blocks, (size,)) for n in lab.sets}
    raw = {n: d["films"] for n, d in lab.sets.items()}
    for key, change in (
        ("middle 90%", lambda f: cut(f, 0.9)),
        ("middle 80%", lambda f: cut(f, 0.8)),
        ("clahe", lambda f: np.stack([cv2.createCLAHE(2.0, (8, 8)).apply(one) for one in f])),
        ("equal histograms", lambda f: np.stack([cv2.equalizeHist(one) for one in f])),
    ):
        new = {
            n: lab.x(n, blocks, (size,), key=key.replace(" ", "").replace("%", ""), films=change(raw[n]))
            for n in lab.sets
        }
        for weights in ("t", "ridge 1"):
            lab.probe("crops, tone", f"{weights}, blocks 3 4 5, 128 px, {key}", new["train"], new, weights)
            if "middle" in key:
                lab.probe(
                    "crops, tone",
                    f"{weights}, blocks 3 4 5, 128 px, trained whole, scored {key}",
                    base["train"],
                    new,
                    weights,
                )
    for weights in ("t", "ridge 1"):
        lab.probe("crops, tone", f"{weights}, blocks 3 4 5, 128 px, whole", base["train"], base, weights)
        name = f"{weights}, blocks 3 4 5, 128 px, "
        lab.mean(
            "crops, tone",
            name + "mean over crops, each its own",
            [name + w for w in ("whole", "middle 90%", "middle 80%")],
        )
        lab.mean(
            "crops, tone",
            name + "mean over crops, one training",
            [name + w for w in ("whole", "trained whole, scored middle 90%", "trained whole, scored middle 80%")],
        )
    more = [
        lab.x("train", blocks, (size,), key=f"augmented{k}", films=wide(sized(raw["train"], size), k, True))
        for k in (1, 2)
    ]
    wider = lab.x("train", blocks, (size,), key="wide1", films=wide(sized(raw["train"], size), 1))
    for words, xs in (
        ("and two augmented copies", [base["train"], *more]),
        ("and a widely randomised copy", [base["train"], wider]),
    ):
        lab.probe(
            "randomisation",
            f"ridge 1, blocks 3 4 5, 128 px, {words}",
            np.concatenate(xs),
            base,
            "ridge 1",
            np.tile(lab.y, len(xs)),
        )
        lab.probe(
            "randomisation", f"t, blocks 3 4 5, 128 px, {words}", np.concatenate(xs), base, "t", np.tile(lab.y, len(xs))
        )


def part_breadth(lab: Lab) -> None:
    blocks, size = (3, 4, 5), 128
    base = {n: lab.x(n, blocks, (size,)) for n in lab.sets}
    six = (*BOTH, "hospital_a", "hospital_b", "hospital_e", "hospital_f")
    for words, name, physics, change, seed in (
        ("six hospitals", "six", six, lambda d: d, 11),
        ("a second draw", "second", BOTH, lambda d: d, 13),
        (
            "pairs of one exposure",
            "same",
            BOTH,
            lambda d: d.assign(seed=d.groupby("pair_id")["seed"].transform("first")),
            11,
        ),
        ("trained in hospital_c", "own_c", ("hospital_c",), lambda d: d, 11),
        ("trained in hospital_d", "own_d", ("hospital_d",), lambda d: d, 11),
    ):
        lab.sets[name] = drawn(name, PAIRS, seed, physics, change)
        base[name] = lab.x(name, blocks, (size,))
        group = "control" if "trained" in words else "breadth"
        for weights in ("t", "ridge 1"):
            lab.probe(
                group, f"{weights}, blocks 3 4 5, 128 px, {words}", base[name], base, weights, lab.sets[name]["label"]
            )
        if name in ("six", "second"):
            both, y = np.concatenate([base["train"], base[name]]), np.concatenate([lab.y, lab.sets[name]["label"]])
            for weights in ("t", "ridge 1", "ridge 0.3"):
                lab.probe(
                    "breadth", f"{weights}, blocks 3 4 5, 128 px, with {words}: 3,000 pairs", both, base, weights, y
                )


def part_lungs(lab: Lab) -> None:
    start, size = time.time(), 128
    model = models.build_probe(
        LITE0, "imagenet", 1, {"names": ["blocks.2", "blocks.4"], "pooling": ["mean"], "sizes": [size]}, size
    ).eval()

    def maps_of(films: Any) -> Any:
        out = []
        with torch.inference_mode():
            for part in torch.from_numpy(sized(films, size)).split(64):
                maps = model.forward_features(standardise(part[:, None].float() / 255, Transform(size)))
                side = maps[0].shape[-1]
                out.append(
                    torch.cat([functional.interpolate(m, size=(side, side), mode="bilinear") for m in maps], 1).half()
                )
        return torch.cat(out).numpy()

    grids = {n: maps_of(d["films"]) for n, d in lab.sets.items()}
    channels, side = grids["train"].shape[1], grids["train"].shape[2]
    flat = lambda g: g.transpose(0, 2, 3, 1).reshape(-1, channels).astype(np.float32)
    centre, scale = probes.standardisation(flat(grids["train"][::4]))
    gram, aims = np.zeros((channels, channels)), {n: np.zeros(channels) for n in ("lesions", "lungs")}
    targets = {n: sized(lab.sets["train"][n], side).reshape(len(lab.y), -1) / 255 for n in aims}
    for k in range(0, len(lab.y), 250):
        x = (flat(grids["train"][k : k + 250]) - centre) / scale
        gram += x.T @ x / len(lab.y) / side**2
        for n in aims:
            aims[n] += x.T @ (targets[n][k : k + 250].reshape(-1) - targets[n].mean()) / len(lab.y) / side**2
    found: Any = {}
    for n in aims:
        w = np.linalg.solve(gram + 0.01 * np.eye(channels), aims[n])
        found[n] = {
            key: np.concatenate(
                [((flat(g[k : k + 250]) - centre) / scale @ w + targets[n].mean()) for k in range(0, len(g), 250)]
            ).reshape(-1, side, side)
            for key, g in grids.items()
        }
    for words, read in (
        ("mean", lambda a, b: a.mean((1, 2))),
        ("mean in the lungs", lambda a, b: (a * b.clip(0, 1)).sum((1, 2)) / b.clip(0.02, 1).sum((1, 2))),
        ("highest tenth", lambda a, b: np.sort(a.reshape(len(a), -1), 1)[:, -side * side // 10 :].mean(1)),
    ):
        lab.add(
            "lesion read-out",
            f"cells of blocks 2 and 4, 128 px, {words}",
            {n: read(found["lesions"][n], found["lungs"][n]) for n in SELECTOR},
            start,
        )
    for n in SELECTOR:
        truth = sized(lab.sets[n]["lungs"], side) > 127
        hit = found["lungs"][n] > 0.5
        print(n, "lungs: Dice", 2 * (hit & truth).sum() / (hit.sum() + truth.sum()), flush=True)

    def to_lungs(films: Any, masks: Any) -> Any:
        out = np.empty((len(films), 128, 128), np.uint8)
        for k, (film, lung) in enumerate(zip(films, masks, strict=True)):
            inside = lung > 0.4
            a, b = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            step = len(film) / side
            box = (a[0], a[-1] + 1, b[0], b[-1] + 1) if len(a) > 3 and len(b) > 3 else (0, side, 0, side)
            t, d, l, r = (round(e * step) for e in box)
            out[k] = cv2.resize(film[t:d, l:r], (128, 128), interpolation=cv2.INTER_AREA)
        return out

    new = {
        n: lab.x(n, (3, 4, 5), (128,), key="lungs", films=to_lungs(d["films"], found["lungs"][n]))
        for n, d in lab.sets.items()
    }
    for weights in ("t", "ridge 1"):
        lab.probe("lungs", f"{weights}, blocks 3 4 5, 128 px, cropped to predicted lungs", new["train"], new, weights)


def part_finetune(lab: Lab) -> None:
    size = 128
    transform = Transform(size)
    films, y = sized(lab.sets["train"]["films"], size), lab.y
    tests = {n: sized(lab.sets[n]["films"], size) for n in SELECTOR}

    def scored(model: Any) -> Any:
        return {n: scoring.predict(model, one, transform, "cpu", 32) for n, one in tests.items()}

    for words, rate, frozen, pull, epochs in (
        ("5e-4, one epoch", 5e-4, 0, 0.0, 1),
        ("probe first, then 1e-4, one epoch", 1e-4, 0, -1.0, 1),
        ("5e-4, blocks 0 to 3 frozen, one epoch", 5e-4, 4, 0.0, 1),
        ("5e-4, L2 to the start, one epoch", 5e-4, 0, 1e-2, 1),
        ("1e-4, one epoch", 1e-4, 0, 0.0, 1),
    ):
        name = f"fine-tuned, 128 px, {words}"
        if any(r["recipe"] == name for r in lab.rows):
            continue
        start = time.time()
        model: Any = models.build(LITE0, "imagenet", 1, 0)
        if pull < 0:  # the head of a linear probe on the last features
            x = scoring.features(model.eval(), films, transform, "cpu", 32).astype(float)
            c, s = probes.standardisation(x)
            w = LogisticRegression(C=1e-3, max_iter=200).fit((x - c) / s, y)
            with torch.no_grad():
                head = w.coef_[0] / s
                model.classifier.weight[0].copy_(torch.from_numpy(head).float())
                model.classifier.bias.fill_(float(w.intercept_[0] - (head * c).sum()))
        early = [model.conv_stem, model.bn1, *model.blocks[:frozen]] if frozen else []
        for module in early:
            module.requires_grad_(False)
        first = {k: v.detach().clone() for k, v in model.named_parameters()}
        begun = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model = model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW([v for v in model.parameters() if v.requires_grad], lr=rate, weight_decay=0.05)
        slow, rng = None, np.random.default_rng(0)
        batches = [b for _ in range(epochs) for b in np.array_split(rng.permutation(len(films) // 2), len(films) // 32)]
        for step, chosen in enumerate(batches):
            model.train()
            for module in early:
                module.eval()
            rows = np.concatenate([2 * chosen, 2 * chosen + 1])
            seen = augment(torch.from_numpy(films[rows]).unsqueeze(1).float() / 255, step)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(standardise(seen, transform).contiguous(memory_format=torch.channels_last))[:, 0]
            loss = functional.binary_cross_entropy_with_logits(logits.float(), torch.from_numpy(y[rows]).float())
            if pull > 0:
                loss = loss + pull * sum(
                    ((v - first[k]) ** 2).sum() for k, v in model.named_parameters() if "classifier" not in k
                )
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 20) * (1 - 0.9 * step / len(batches))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if step % 5 == 4:
                state = {k: v.detach().clone().float() for k, v in model.state_dict().items()}
                slow = state if slow is None else {k: 0.9 * slow[k] + 0.1 * state[k] for k in state}
            if epochs == 1 and rate == 5e-4 and not frozen and not pull and step + 1 == len(batches) // 2:
                lab.add("fine-tuning", name + ", stopped half way", scored(model.eval()), start)
        lab.add("fine-tuning", name, scored(model.eval()), start)
        np.savez(WORK / f"s_{words.replace(' ', '_')}.npz", **lab.scores[name])
        kinds = {k: v.dtype for k, v in model.state_dict().items()}
        ended = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict({k: v.to(kinds[k]) for k, v in slow.items()})
        lab.add("fine-tuning", name + ", EMA", scored(model.eval()), start)
        if not pull and not frozen:
            model.load_state_dict(
                {
                    k: (v + begun[k]) / 2 if v.is_floating_point() and "classifier" not in k else v
                    for k, v in ended.items()
                }
            )
            lab.add("fine-tuning", name + ", halfway to the start", scored(model.eval()), start)


def part_twins(lab: Lab) -> None:
    from nbhelpers.cropping.methods import crop_box

    lab.sets["same"] = drawn(
        "same", PAIRS, 11, BOTH, lambda d: d.assign(seed=d.groupby("pair_id")["seed"].transform("first"))
    )
    MS = ("mean", "spread")
    raw = {n: d["films"] for n, d in lab.sets.items()}

    def cropped(films, how, margins):
        out = []
        for f in films:
            b = crop_box(f, how, margins)
            out.append(cv2.resize(f[b.top : b.bottom, b.left : b.right], (160, 160), interpolation=cv2.INTER_AREA))
        return np.stack(out)

    def X(name, key, sizes, blocks=(3, 4, 5)):
        if key == "whole":
            return lab.x(name, blocks, sizes, MS)
        f = {
            "middle80": lambda: cut(raw[name], 0.8),
            "cropmargins": lambda: cropped(raw[name], "margins", (0.04, 0.04, 0.04, 0.1)),
        }[key]
        return lab.x(name, blocks, sizes, MS, key=key, films=f())

    for key, sizes, sets in (
        ("middle80", (128,), ("train", "same")),
        ("whole", (128,), ("train", "same")),
        ("whole", (64, 128), ("train", "same")),
        ("middle80", (64, 128), ("same",)),
        ("middle80", (64,), ("same",)),
        ("cropmargins", (64, 128), ("same",)),
    ):
        S = {n: X(n, key, sizes) for n in (*SELECTOR, *sets)}
        for tr in sets:
            for w in ("t", "covariance 0.5", "ridge 3", "ridge 1", "ridge 0.3"):
                lab.probe(
                    "crop, size, pairs",
                    f"{w}, blocks 3 4 5, {' '.join(map(str, sizes))} px, mean spread, {key}{', one exposure a pair' if tr == 'same' else ''}",
                    S[tr],
                    S,
                    w,
                    lab.sets[tr]["label"],
                )


def part_rule(lab: Lab) -> None:
    from nbhelpers.metrics import delong

    auc = roc_auc_score
    lab.sets["same"] = drawn("same", PAIRS, 11, BOTH)
    S = (1e4, 1e3, 100, 10, 3, 1, 0.3, 0.1)

    def se(y, s):
        return float(np.sqrt(delong.covariance([delong.components(y, s)])[0, 0]))

    for tr_name in ("same", "train"):
        for sizes in ((64, 128),):
            x = lab.x(tr_name, (3, 4, 5), sizes, ("mean", "spread"))
            T = {n: lab.x(n, (3, 4, 5), sizes, ("mean", "spread")) for n in SELECTOR}
            y = lab.sets[tr_name]["label"]
            for seed in (0, 1, 2):
                order = np.random.default_rng(seed).permutation(len(y) // 2)
                va = order[:300]
                tr = order[300:]
                R = lambda p: np.concatenate([2 * p, 2 * p + 1])
                tr, va = R(tr), R(va)
                c, s = probes.standardisation(x[tr])
                res = []
                for k in S:
                    w = ridge((x[tr] - c) / s, y[tr], k)
                    v = (x[va] - c) / s @ w
                    res.append(
                        (auc(y[va], v), se(y[va], v), [auc(lab.sets[n]["label"], (T[n] - c) / s @ w) for n in SELECTOR])
                    )
                top = int(np.argmax([r[0] for r in res]))
                least = res[top][0] - res[top][1]
                one = next(i for i, r in enumerate(res) if r[0] >= least)
                print(
                    tr_name,
                    sizes,
                    seed,
                    "best",
                    S[top],
                    np.round(res[top][2], 4),
                    "oneSE",
                    S[one],
                    np.round(res[one][2], 4),
                    "val",
                    np.round([r[0] for r in res], 3),
                    "worst",
                    np.round([min(r[2]) for r in res], 3),
                    flush=True,
                )


def main() -> None:
    torch.set_num_threads(1)
    for part in sys.argv[2:]:
        globals()["part_" + part](Lab(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
