"""A tiny arm, noise images with a bright disc in those with pneumonia, and its training."""

import numpy as np
import pandas as pd
import safetensors.torch

from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs.devices import pick_device
from nbhelpers.training import splits
from nbhelpers.training.schedule import Settings
from nbhelpers.training.train import train_arm

BACKBONE, SIZE = "test_resnet", 32
ARM = {"name": "cropped", "source": "simulator", "crop": "content"}
CPU = pick_device("cpu")  # as it is: a measured number format may differ between two trainings of a moment each
QUICK = Settings(epochs=3, batch_size=8)


def disc_arm(n_pairs=16, size=SIZE, seed=0):
    """Table and uint8 images `(2 * n_pairs, size, size)`; each pair shares its background."""
    rng = np.random.default_rng(seed)
    rows, images = [], []
    y, x = np.mgrid[:size, :size]
    for pair in range(n_pairs):
        background = rng.normal(100, 20, (size, size))
        for label in ("normal", "pneumonia"):
            image = background + rng.normal(0, 8, (size, size))
            if label == "pneumonia":
                cy, cx = rng.uniform(size * 0.3, size * 0.7, 2)
                image = image + 90 * ((y - cy) ** 2 + (x - cx) ** 2 < (size / 5) ** 2)
            images.append(np.clip(image, 0, 255).astype(np.uint8))
            rows.append({"image_id": f"{label[0]}{pair:05d}", "pair_id": f"{pair:05d}", "label": label})
    return pd.DataFrame(rows), np.stack(images)


def disc_masks(n_pairs=16, size=SIZE, seed=0):
    """Lesion and lungs of `disc_arm`'s images, as `masks.load_masks` gives them: the discs, and all but the margins."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    masks = np.zeros((2 * n_pairs, 2, size, size), np.uint8)
    masks[:, 1, 2:-2, 2:-2] = 255
    for pair in range(n_pairs):
        rng.normal(size=(size, size))
        for ill in (0, 1):
            rng.normal(size=(size, size))
            if ill:
                cy, cx = rng.uniform(size * 0.3, size * 0.7, 2)
                masks[2 * pair + 1, 0] = 255 * ((y - cy) ** 2 + (x - cx) ** 2 < (size / 5) ** 2)
    return masks


def train(folder, table, images, settings=QUICK, **changes):
    arguments = {
        "arm": ARM,
        "backbone": BACKBONE,
        "init": "random",
        "transform": Transform(SIZE),
        "settings": settings,
        "device": CPU,
        "simulated": True,
    }
    arguments |= changes
    split = splits.split_groups(table, 0.2, arguments.get("seed", 0))
    return train_arm(folder, split, images, **arguments)


def weights(folder):
    return safetensors.torch.load_file(folder / "checkpoint.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)
