"""A tiny arm: noise images, and a bright disc in those with pneumonia."""

import numpy as np
import pandas as pd

BACKBONE, SIZE = "test_resnet", 32


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
