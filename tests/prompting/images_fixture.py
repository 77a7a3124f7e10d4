"""Tables of images and features made by hand, for tests of costs, diversity and figures."""

import numpy as np
import pandas as pd

from nbhelpers.prompting.diversity import Embedding


def table_of(n=60, sources=("simulator",)):
    """A table of images as `drawing.draw_all` gives it: `n` of each source, in matched pairs."""
    rng = np.random.default_rng(0)
    frames = []
    for source in sources:
        pairs = np.arange(n // 2).repeat(2)
        frame = pd.DataFrame({"source": source, "pair_id": [f"{p:04d}" for p in pairs]})
        frame["label"] = ["pneumonia", "normal"] * (n // 2)
        frame["image_id"] = [f"{label[0]}{pair}" for label, pair in zip(frame["label"], frame["pair_id"], strict=True)]
        frame["sex"] = np.array(["female", "male"])[pairs % 2]
        frame["habitus"] = np.array(["slim", "average", "large"])[rng.permutation(n // 2)[pairs] % 3]
        frame["pattern"] = np.where(
            frame["label"] == "pneumonia", np.array(["lobar", "interstitial"])[pairs // 2 % 2], ""
        )
        frame["path"] = "images/" + frame["image_id"] + ".png"
        frames.append(frame.assign(status="ok", model="m", simulated=source == "simulator"))
    return pd.concat(frames, ignore_index=True)


def embedding_of(n, **columns):
    """Features that are noise, plus what is given for a column (`c0=values`)."""
    features = np.random.default_rng(0).normal(size=(n, 16)).astype(np.float32)
    for column, values in columns.items():
        features[:, int(column[1:])] += values
    return Embedding(features, np.zeros((n, 4), np.float32), np.full(n, -1))
