"""The same films under mild changes that no reader would mind: how fast does the AUROC fall?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers import metrics
from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.files import Gray, resize_gray
from nbhelpers.metrics.bootstrap import distributions, interval_groups
from nbhelpers.metrics.intervals import percentile_interval
from nbhelpers.metrics.wording import difference
from nbhelpers.networks import features
from nbhelpers.networks.trained import Network
from nbhelpers.validation.scores import Films


def blur(image: Gray, strength: float) -> Gray:
    """Gaussian blur; `strength` is its standard deviation in percent of the image's side."""
    sigma = strength / 100 * image.shape[0]
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def jpeg(image: Gray, strength: float) -> Gray:
    """JPEG compression at quality 100 - `strength`."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, round(100 - strength)])
    if not done:
        raise UserError("image cannot be encoded as JPEG", "robustness", "check shape and dtype")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def shrink(image: Gray, strength: float) -> Gray:
    """Resized down by `strength` percent and up again: what a smaller copy has lost."""
    side = max(round(image.shape[0] * (1 - strength / 100)), 8)
    return resize_gray(resize_gray(image, side), image.shape[0])


def contrast(image: Gray, strength: float) -> Gray:
    """Contrast around the image's mean lowered by `strength` percent."""
    mean = float(image.mean())
    return (mean + (image - mean) * (1 - strength / 100)).round().clip(0, 255).astype(np.uint8)


def crop(image: Gray, strength: float) -> Gray:
    """`strength` percent cut off each side, the rest resized to the whole."""
    cut = round(image.shape[0] * strength / 100)
    return resize_gray(image[cut : image.shape[0] - cut, cut : image.shape[1] - cut], image.shape[0])


CHANGES: dict[str, Callable[[Gray, float], Gray]] = {
    "blur": blur,
    "jpeg": jpeg,
    "resize": shrink,
    "contrast": contrast,
    "crop": crop,
}
STRENGTHS: dict[str, tuple[float, ...]] = {
    "blur": (0.5, 1.0, 2.0),
    "jpeg": (30, 60, 85),
    "resize": (25, 50, 70),
    "contrast": (15, 30, 50),
    "crop": (3, 6, 10),
}
AXES = {
    "blur": "blur: SD, % of the side",
    "jpeg": "JPEG: 100 - quality",
    "resize": "resize: % smaller, and back",
    "contrast": "contrast: % less",
    "crop": "crop: % off each side",
}


def chosen_films(label: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Places of about `count` films, drawn at random within each class at the set's prevalence; all when no more."""
    if count < 20:
        raise UserError(f"robustness_films = {count}", "robustness_films", "use 20 or more")
    if count >= len(label):
        return np.arange(len(label))
    generator = np.random.default_rng([seed, 6])
    drawn = []
    for value in (0, 1):
        places = np.flatnonzero(label == value)
        wanted = min(max(round(count * len(places) / len(label)), 2), len(places))
        drawn.append(generator.choice(places, wanted, replace=False))
    return np.sort(np.concatenate(drawn))


def robustness_table(
    arms: Mapping[str, Network],
    films: Mapping[str, Films],
    device: str = "auto",
    batch_size: int = 64,
    count: int = 100,
    n_resamples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of every arm on every set under each change and strength; strength 0 is the film as it is.

    At most `count` films of each set are used. The change is made at the size that the network sees.

    Returns
    -------
    DataFrame
        `arm, dataset, change, strength, auroc, ci_low, ci_high, drop, drop_low, drop_high, n`: `drop` is the AUROC lost
        against the same films unchanged, with its paired interval, by patients where they are known (of one patient
        there is none).
    """
    rows: list[dict[str, Any]] = []
    steps = [(change, strength) for change, levels in STRENGTHS.items() for strength in levels]
    for dataset, found in films.items():
        places = chosen_films(found.table["label"].to_numpy(), count, seed)
        part = found.table.iloc[places]
        label = part["label"].to_numpy()
        patients, method = interval_groups(part["patient_id"])
        for name, arm in arms.items():
            transform = arm.description.transform
            plain = np.ascontiguousarray(found.arrays[transform.size][places])
            changed = [np.stack([CHANGES[change](image, strength) for image in plain]) for change, strength in steps]
            # All in one call, for one progress bar.
            images, doing = np.concatenate([plain, *changed]), f"{name} on changed films of {dataset}"
            scores = features.predict(arm.model, images, transform, device, batch_size, doing).reshape(-1, len(label))
            spreads = [d.auroc for d in distributions(label, list(scores), patients, method, n_resamples, seed)]
            first = metrics.auroc(label, scores[0])
            measured = {}
            for step, score, spread in zip([None, *steps], scores, spreads, strict=True):
                area = metrics.auroc(label, score)
                low, high = percentile_interval(spread)
                drop_low, drop_high = percentile_interval(spreads[0] - spread)
                measured[step] = {
                    **{"auroc": area, "ci_low": low, "ci_high": high, "drop": first - area},
                    **{"drop_low": drop_low, "drop_high": drop_high, "n": len(label)},
                }
            # The unchanged films are the start of every curve.
            for change, levels in STRENGTHS.items():
                about = {"arm": name, "dataset": dataset, "change": change}
                rows.append({**about, "strength": 0.0, **measured[None]})
                rows += [{**about, "strength": float(level), **measured[change, level]} for level in levels]
    return pd.DataFrame(rows)


def largest_changes(found: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]) -> pd.DataFrame:
    """For each arm and set the largest fall and the largest rise of the AUROC, with the paired interval of each.

    `titles` are the arms'. An arm that never falls, or never rises, has no such row.
    """
    changed = found[found["strength"] > 0]
    rows = []
    for (dataset, arm), part in changed.groupby(["dataset", "arm"], sort=False):
        by_drop = part.sort_values("drop", ascending=False).to_dict("records")
        for way, sign, row in (("fall", 1, by_drop[0]), ("rise", -1, by_drop[-1])):
            if sign * row["drop"] > 0:
                rows.append(
                    {
                        **{"data set": sets[str(dataset)].title, "arm": titles[str(arm)], "largest change": way},
                        **{"alteration": AXES[row["change"]], "strength": row["strength"]},
                        "change of AUROC (95 %)": difference(-row["drop"], -row["drop_high"], -row["drop_low"]),
                        "films": row["n"],
                    }
                )
    columns = ["data set", "arm", "largest change", "alteration", "strength", "change of AUROC (95 %)", "films"]
    return pd.DataFrame(rows, columns=columns)
