"""Speed of inference and training beside plain timm and PyTorch in float32, on this machine, at the same AUROC.

    python benchmarks/bench_training.py [--quick] [--threads 1] [--only speed|auroc]

Both are measured in turns within one run, and the best of the repeats counts, so that what else the machine does
matters less. The plain side is what a user would write: a timm network in float32, one gray channel, AdamW. Both
standardise the images, and augment them in training by the same function; ours also clips gradients.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import timm
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from nbhelpers.networks import models, scoring
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.training import augmentation, resume, schedule, splits, train

CASES = (("resnet18", 128, 2048, 64), ("resnet50", 224, 256, 16))  # backbone, pixels, images scored, training batch


def best_times(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    # One thread's own processor time does not count the turns that the machine gives to others.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            call()
            times[name] = min(times[name], clock() - start)
    return times


def to_pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).float().unsqueeze(1) / 255


def plain_standardise(pixels: torch.Tensor) -> torch.Tensor:
    deviation, mean = torch.std_mean(pixels, dim=(1, 2, 3), keepdim=True)
    return (pixels - mean) / deviation


def plain_predict(model: torch.nn.Module, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        parts = [
            torch.sigmoid(model(plain_standardise(to_pixels(images[start : start + batch_size]))))[:, 0]
            for start in range(0, len(images), batch_size)
        ]
    return torch.cat(parts).numpy()


def plain_steps(backbone: str) -> Callable[[np.ndarray, np.ndarray], None]:
    model = timm.create_model(backbone, num_classes=1, in_chans=1).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        logits = model(plain_standardise(augmentation.augment(to_pixels(images), 0)))[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_steps(backbone: str, size: int, device: Device) -> Callable[[np.ndarray, np.ndarray], None]:
    model = models.build(backbone).to(device.torch).to(memory_format=torch.channels_last)
    scaler = torch.amp.GradScaler(device.torch.type, enabled=device.autocast == torch.float16)
    state = resume.State(model, torch.optim.AdamW(model.parameters(), fused=True), scaler, [], {})
    bar = SimpleNamespace(update=lambda: None)

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        rows = [np.arange(len(images))]
        train._train_epoch(state, images, labels, rows, Transform(size), schedule.Settings(), 0, device, bar)

    return step


def lesions(count: int, size: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Smooth random pictures in pairs, with a faint blob in every second one."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    images, rows = [], []
    for pair in range(count // 2):
        for label in (0, 1):
            coarse = torch.from_numpy(rng.normal(0, 1, (1, 1, 6, 6)))
            film = functional.interpolate(coarse, size=(size, size), mode="bicubic")[0, 0].numpy()
            cy, cx = rng.uniform(0.25, 0.75, 2)
            blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 0.08**2))
            film = 110 + 25 * film + 85 * label * blob + rng.normal(0, 12, (size, size))
            images.append(np.clip(film, 0, 255).astype(np.uint8))
            rows.append({"image_id": f"{pair}-{label}", "pair_id": str(pair), "label": ("normal", "pneumonia")[label]})
    return pd.DataFrame(rows), np.stack(images)


def bench_speed(backbone: str, size: int, scored: int, batch: int, repeats: int, device: Device) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (scored, size, size), dtype=np.uint8)
    labels = np.arange(scored) % 2
    model = models.build(backbone).eval()
    plain, ours = timm.create_model(backbone, num_classes=1, in_chans=1), model
    plain.load_state_dict(model.state_dict())
    times = best_times(
        {
            "plain": lambda: plain_predict(plain, images),
            "ours": lambda: scoring.predict(ours, images, Transform(size), device),
        },
        repeats,
    )
    plain_rate, our_rate = scored / times["plain"], scored / times["ours"]
    print(
        f"{backbone} at {size}, inference: plain fp32 {plain_rate:.1f}, ours {our_rate:.1f} images/s: "
        f"{our_rate / plain_rate:.2f} times"
    )
    steps = {"plain": plain_steps(backbone), "ours": our_steps(backbone, size, device)}
    some, marks = images[:batch], labels[:batch]
    films = to_pixels(some)
    calls: dict[str, Callable[[], object]] = {
        name: (lambda step=step: step(some, marks)) for name, step in steps.items()
    }
    times = best_times(calls | {"augmentation": lambda: augmentation.augment(films, 0)}, 2 * repeats)
    plain_rate, our_rate = batch / times["plain"], batch / times["ours"]
    print(
        f"{backbone} at {size}, training:  plain fp32 {plain_rate:.1f}, ours {our_rate:.1f} images/s: "
        f"{our_rate / plain_rate:.2f} times; augmentation is {times['augmentation'] / times['ours']:.1%} of our step"
    )


def bench_auroc(backbone: str, size: int, seeds: int, device: Device) -> None:
    table, images = lesions(400, size, seed=0)
    test_table, test = lesions(600, size, seed=1)
    truth = (test_table["label"] == "pneumonia").to_numpy()
    settings = schedule.Settings(epochs=8, batch_size=16, patience=0, augmentation="none")
    found: dict[str, list[float]] = {"float32": [], "ours": []}
    gaps = []
    for seed in range(seeds):
        split = splits.split_groups(table, 0.2, seed)
        for name, chosen in (("float32", Device("cpu", None)), ("ours", device)):
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
                result = train.train_arm(
                    folder,
                    split,
                    images,
                    arm={"name": name},
                    backbone=backbone,
                    init="random",
                    transform=Transform(size),
                    settings=settings,
                    seed=seed,
                    device=chosen,
                    simulated=True,
                )
            found[name].append(float(roc_auc_score(truth, plain_predict(result.model.cpu(), test))))
        ours = roc_auc_score(truth, scoring.predict(result.model, test, Transform(size), device))
        gaps.append(abs(float(ours) - found["ours"][-1]))
    for name, values in found.items():
        shown = ", ".join(f"{value:.3f}" for value in values)
        print(f"AUROC of {backbone} at {size} trained in {name}: {np.mean(values):.3f} (seeds: {shown})")
    print(f"one network's AUROC, ours less plain fp32 inference: at most {max(gaps):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and seeds, the small network only")
    parser.add_argument("--threads", type=int, help="CPU threads; with 1, processor time is measured")
    parser.add_argument("--only", choices=("speed", "auroc"), help="one of the two parts")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = pick_device("cpu")
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, timm {timm.__version__}")
    if options.only != "auroc":
        for case in CASES[:1] if options.quick else CASES:
            bench_speed(*case, 2 if options.quick else 3, device)
    if options.only != "speed":
        bench_auroc("resnet18", 48, 1 if options.quick else 3, device)


if __name__ == "__main__":
    main()
