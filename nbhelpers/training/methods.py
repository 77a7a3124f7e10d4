"""The third part of an arm, beside its source and its crop: how a network comes of the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from nbhelpers.errors import UserError
from nbhelpers.networks import features, lesions, models, probes, weights
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.probes import Probe
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.parameters import FROZEN, LESIONS
from nbhelpers.runs.tables import write_table
from nbhelpers.training import resume, schedule, splits, train
from nbhelpers.training.arm_images import Stored
from nbhelpers.training.losses import balanced_log_loss
from nbhelpers.training.masks import load_masks
from nbhelpers.training.train import Trained

FINETUNE, PROBE, PAIRS = "finetune", "probe", "pairs"
METHODS = {
    FINETUNE: "all weights of the network are trained",
    LESIONS: "a U-Net draws lungs and lesions; the score is read from the lesions drawn in the lungs",
    PROBE: "ridge regression on features of a frozen network",
    PAIRS: "linear weights on features of a frozen network, from the differences within pairs",
}


@dataclass(frozen=True)
class ProbeSettings:
    """What a probe looks at: names of blocks, sizes in pixels, and what is taken of each channel.

    `pair_weights` is what `pairs` divide by, see `probes.pair_weights`.
    """

    blocks: list[str]
    sizes: list[int]
    pooling: list[str]
    pair_weights: str = "covariance"


def method_of(arm: Mapping[str, str]) -> str:
    """The method of an arm: `finetune` where it names none."""
    return arm.get("method", FINETUNE)


def input_size(arm: Mapping[str, str], image_size: int, probe: ProbeSettings) -> int:
    """Pixels along a side of the images that an arm's network takes."""
    return max(probe.sizes) if method_of(arm) in FROZEN else image_size


def masks_of(
    run_folder: Path | str, arms: Mapping[str, Mapping[str, str]], arm: str, table: pd.DataFrame, size: int
) -> Stored | None:
    """The masks that an arm's method learns from (`masks.load_masks`), None for a method that needs none."""
    return load_masks(run_folder, table, size, arm) if method_of(arms[arm]) == LESIONS else None


def learn(
    folder: Path | str,
    split: pd.DataFrame,
    images: NDArray[np.uint8] | Stored,
    *,
    arm: Mapping[str, str],
    backbone: str,
    init: str,
    transform: Transform,
    settings: schedule.Settings,
    probe: ProbeSettings,
    seed: int = 0,
    device: Device | str = "auto",
    simulated: bool = False,
    resample: bool = False,
    masks: NDArray[np.uint8] | Stored | None = None,
) -> Trained:
    """A classifier of an arm's images by the arm's method, written as `train.train_arm` writes it.

    Parameters are those of `train.train_arm`, its `settings` for `finetune` and `lesions`, whose network is always
    `networks.lesions`' and which needs `masks` (`masks_of`); `probe` is for `probe` and `pairs`. With
    `resample`, for a further seed, a probe draws as many groups with replacement: there is no chance in it but the
    images. An arm that names `images` sees about so many (`training_rows`), and every seed draws others, by any method;
    of images on disk (`arm_images.Stored`) no others are read. Images that come in no pairs are a `UserError` for
    `pairs`; others are those of `train.train_arm` and `Probe`.
    """
    split, method = split.reset_index(drop=True), method_of(arm)
    rows = training_rows(split, arm, seed, resample)
    validating = np.flatnonzero(split["split"] == splits.VALIDATION)
    kept = np.unique(np.concatenate([rows, validating])) if "images" in arm else np.arange(len(split))
    rows, validating = np.searchsorted(kept, rows), np.searchsorted(kept, validating)
    # Masks first: what lacks them is told before the images are read.
    masks = None if masks is None or method != LESIONS else masks[kept]
    split, images = split.iloc[kept].reset_index(drop=True), images[kept]
    if method == LESIONS:
        backbone, init = lesions.NAME, "random"
    common: dict[str, Any] = {
        "arm": {"name": "training", **arm, "method": method},
        **{"backbone": backbone, "init": init, "transform": transform, "seed": seed, "simulated": simulated},
    }
    if method not in FROZEN:
        return train.train_arm(
            folder,
            split,
            images,
            **common,
            settings=settings,
            device=device,
            masks=masks,
        )
    train.check_replaceable(Path(folder), seed)
    counts = splits.check_split(split)
    chosen = pick_device(device) if isinstance(device, str) else device
    made: dict[str, list[Any]] = {"names": probe.blocks, "pooling": probe.pooling, "sizes": probe.sizes}
    origin, _ = weights.find(backbone, init)  # before the build, which may download them
    model = models.build_probe(backbone, init, transform.channels, made, transform.size, seed).eval()
    pooled = features.embed(model, images, transform, chosen, desc=f"{common['arm']['name']}: features")
    history = fit(model, pooled, split, rows, method, probe.pair_weights)
    scores = features.predict(model, images[validating], transform, chosen)
    validation = split.iloc[validating][["image_id", "pair_id", "label"]].assign(score=scores).reset_index(drop=True)
    kept_as: dict[str, Any] = {"pair_weights": probe.pair_weights}
    if method == PROBE:
        kept_as = {"strength": float(history.loc[history["best"], "strength"].iloc[0])}
    data = {"images": counts.set_index("split")["images"].to_dict(), "data_sha256": resume.data_hash(split, images)}
    description = ModelDescription(
        **common,
        init_origin=origin,
        training=kept_as | data,
        val_auroc=float(roc_auc_score(validation["label"], scores)),
        probe=made,
    )
    write_table(split, Path(folder) / "split.csv")
    return train.write(Path(folder), model, description, history, validation)


def training_rows(split: pd.DataFrame, arm: Mapping[str, str], seed: int, resample: bool = False) -> NDArray[np.int64]:
    """Rows of `split` that an arm trains on, by position; `arm`, `seed` and `resample` as `learn` takes them.

    All; if the arm names `images`, about so many, in whole groups; else with `resample`, for a frozen network, groups
    with replacement, of each kind (one class or both) as many as there are. Both classes are always among them.
    """
    rows, wanted = np.flatnonzero(split["split"] == splits.TRAIN), int(arm.get("images", 0))
    few = 0 < wanted < len(rows)
    if not few and not (resample and method_of(arm) in FROZEN):
        return rows
    groups, labels = pd.Series(rows).groupby(split["group"].to_numpy()[rows]), split["label"].to_numpy()
    members, rng = [group.to_numpy() for _, group in groups], np.random.default_rng([seed, 31])
    kinds = [set(labels[group]) for group in members]
    if few:
        order = rng.permutation(len(members))
        sizes = np.array([len(members[one]) for one in order])
        leading = []
        for label in (0, 1):  # a group with this class, the first that leaves room for the other
            places = np.flatnonzero([label in kinds[one] for one in order])
            fitting = places[sizes[places] <= max(wanted / 2, sizes[places].min())]
            leading += [place for place in fitting[:1] if place not in leading]
        order = np.concatenate([order[leading], np.delete(order, leading)])
        total = np.cumsum([len(members[one]) for one in order])
        drawn = order[total <= max(wanted, total[len(leading) - 1])]
    else:
        alike = [np.flatnonzero([kind == other for other in kinds]) for kind in ({0, 1}, {0}, {1})]
        drawn = np.concatenate([some[rng.integers(len(some), size=len(some))] for some in alike if len(some)])
    return np.concatenate([members[one] for one in drawn])


def fit(
    model: Probe,
    pooled: NDArray[np.floating],
    split: pd.DataFrame,
    rows: NDArray[np.int64],
    method: str,
    over: str = "covariance",
) -> pd.DataFrame:
    """Find a probe's weights on the rows that train, and give them to it.

    `probe`: ridge regression, at the strength that is best on the validation part. `pairs`: the mean difference within
    pairs over its covariance or spread (`over`); nothing is chosen.

    The history has a row for each strength, `epoch` numbering them, `best` marking the one that the probe holds; for
    `pairs` one row and no `strength`.
    """
    labels, validating = split["label"].to_numpy(np.int64), np.flatnonzero(split["split"] == splits.VALIDATION)
    rows = _paired(split, rows).ravel() if method == PAIRS else rows
    centre, scale = probes.standardisation(pooled[rows])
    standard = (pooled - centre) / scale
    if method == PAIRS:
        candidates = probes.pair_weights(standard[rows[::2]], standard[rows[1::2]], over)[None]
        history = pd.DataFrame({"epoch": [1]})
    else:
        candidates = probes.ridge_weights(standard[rows], labels[rows])
        history = pd.DataFrame({"epoch": range(1, len(candidates) + 1), "strength": probes.STRENGTHS})
    values = standard @ candidates.T
    lines = [_logistic(one[rows], labels[rows]) for one in values.T]
    for part, here in (("train", rows), ("val", validating)):
        logits = [one[here] * slope + bias for one, (slope, bias) in zip(values.T, lines, strict=True)]
        history[f"{part}_loss"] = [balanced_log_loss(labels[here], np.exp(-np.logaddexp(0, -one))) for one in logits]
        history[f"{part}_auroc"] = [float(roc_auc_score(labels[here], one)) for one in logits]
    kept = int(np.argmax(history["val_auroc"]))  # the strongest of equals
    slope, bias = lines[kept]
    model.set_weights(centre, scale, candidates[kept] * slope, bias)
    return history.assign(best=history.index == kept)


def _paired(split: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of the rows those of whole pairs, `(n, 2)`: the normal and the pneumonia image of one group and source."""
    drawn = split.iloc[rows].assign(row=rows, copy=lambda table: table.groupby("image_id").cumcount())
    found = drawn.pivot_table("row", ["group", "source", "copy"], "label", aggfunc="first").dropna()
    there = len(found) if found.shape[1] == 2 else 0
    if there < 2:
        told = "one pair is too few" if there else "this source has no pairs"
        raise UserError(told, "method: pairs", "use method: probe, which needs no pairs")
    return found.to_numpy(np.int64)


def _logistic(values: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[float, float]:
    """Slope and intercept that make of a value the log-odds of pneumonia, both classes weighing alike."""
    spread = float(values.std()) or 1.0
    fitted = LogisticRegression(C=1e3, class_weight="balanced").fit(values[:, None] / spread, labels)
    return float(fitted.coef_[0, 0]) / spread, float(fitted.intercept_[0])


def summary(description: ModelDescription) -> pd.DataFrame:
    """What was trained, how, on what and how far, as a table of one column."""
    training, method = description.training, method_of(description.arm)
    facts = {
        "arm": f"{description.arm.get('source', '')}, crop {description.arm.get('crop', '')}",
        "method": f"{method}: {METHODS[method]}",
        "training images are": "simulated" if description.simulated else "not simulated",
        "network": f"{description.backbone}, {description.transform.size} pixels",
        "initial weights": description.init_origin,
        "training images": training["images"][splits.TRAIN],
        "validation images": training["images"][splits.VALIDATION],
        "AUROC on validation images of the same source": f"{description.val_auroc:.3f}",
    }
    if "best_epoch" in training:
        facts["epoch kept"] = f"{training['best_epoch']} of at most {training['epochs']}"
        facts["highest learning rate"] = f"{training['learning_rate']:g}"
        if training.get("images_per_epoch"):
            facts["images shown in an epoch"] = f"{training['images_per_epoch']:,}, or all where there are more"
    if description.probe:
        facts["features"] = "; ".join(f"{key}: {', '.join(map(str, one))}" for key, one in description.probe.items())
    if "pair_weights" in training:
        facts["difference divided by its"] = training["pair_weights"]
    if "strength" in training:
        facts["ridge penalty"] = f"{training['strength']:g}"
    return pd.DataFrame({"value": facts})
