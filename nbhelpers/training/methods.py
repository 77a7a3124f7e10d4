"""The third part of an arm, beside its source and its crop: how a network comes of the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from nbhelpers.errors import UserError
from nbhelpers.metrics import delong
from nbhelpers.networks import features, models, probes, scoring, weights
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.probes import Probe
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.tables import write_table
from nbhelpers.training import schedule, splits, train
from nbhelpers.training.train import Trained, balanced_log_loss

FINETUNE, PROBE, PAIRS = "finetune", "probe", "pairs"
METHODS = {
    FINETUNE: "every weight of the network is trained, from its start",
    PROBE: "the network stays as it was; ridge regression on what its blocks give",
    PAIRS: "the network stays as it was; what differs within pairs, over its spread, are the weights",
}


@dataclass(frozen=True)
class ProbeSettings:
    """What a probe looks at: names of blocks, sizes in pixels, and what is taken of each channel."""

    blocks: list[str]
    sizes: list[int]
    pooling: list[str]


def method_of(arm: Mapping[str, str]) -> str:
    """The method of an arm: `finetune` where it names none."""
    return arm.get("method", FINETUNE)


def told(name: str, arm: Mapping[str, str], simulated: bool) -> str:
    """An arm in a line: its source, crop and method."""
    origin = "simulated" if simulated else "not simulated"
    return f"{name}: {arm['source']} ({origin}), crop {arm['crop']}, {method_of(arm)}: {METHODS[method_of(arm)]}"


def input_size(arms: Mapping[str, Mapping[str, str]], arm: str, image_size: int, probe: ProbeSettings) -> int:
    """Pixels along a side of the images that an arm's network takes; an unknown arm is a `UserError`."""
    if arm not in arms:
        raise UserError(f"unknown arm {arm!r}", "arm", suggest(arm, arms))
    return image_size if method_of(arms[arm]) == FINETUNE else max(probe.sizes)


def learn(
    folder: Path | str,
    split: pd.DataFrame,
    images: NDArray[np.uint8],
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
    keep_resume: bool = False,
    resample: bool = False,
) -> Trained:
    """A classifier of an arm's images by the arm's method, written as `train.train_arm` writes it.

    Parameters are those of `train.train_arm`, and

    probe : ProbeSettings
        For methods `probe` and `pairs`; `settings` are for `finetune`.
    resample : bool
        A probe has no chance in it but the images: a further seed draws its groups anew, with replacement. An arm
        that names `images` has less than all, and every seed draws others, for every method.

    Raises
    ------
    UserError
        From `train.train_arm` and `Probe`; for `pairs` when the images come in none.
    """
    split, images = _dose(split.reset_index(drop=True), images, arm, seed)
    named = {"name": "training", **arm, "method": method_of(arm)}
    common: Any = {"arm": named, "backbone": backbone, "init": init, "transform": transform, "seed": seed}
    if method_of(arm) == FINETUNE:
        common |= {"settings": settings, "keep_resume": keep_resume, "device": device, "simulated": simulated}
        return train.train_arm(folder, split, images, **common)
    chosen = pick_device(device) if isinstance(device, str) else device
    counts = splits.check_split(split)
    made: dict[str, list[Any]] = {"names": probe.blocks, "pooling": probe.pooling, "sizes": probe.sizes}
    model = models.build_probe(backbone, init, transform.channels, made, transform.size, seed).eval()
    pooled = features.embed(model, images, transform, chosen, desc=f"{named['name']}: features")
    fit = fit_pairs if method_of(arm) == PAIRS else fit_probe
    history = fit(model, pooled, split, seed if resample and "images" not in arm else None)

    validating = np.flatnonzero(split["split"] == splits.VALIDATION)
    scores = scoring.predict(model, images[validating], transform, chosen)
    validation = split.iloc[validating][["image_id", "pair_id", "label"]].assign(score=scores).reset_index(drop=True)
    kept = history[history["best"]].iloc[0]
    strength = {} if method_of(arm) == PAIRS else {"strength": float(kept["strength"])}
    description = ModelDescription(
        **common,
        init_origin=weights.origin(backbone, init),
        simulated=simulated,
        training=strength | {"resampled": resample, "images": counts.set_index("split")["images"].to_dict()},
        val_auroc=float(roc_auc_score(validation["label"], scores)),
        probe=made,
    )
    folder = Path(folder)
    write_table(split, folder / "split.csv")
    write_table(validation, folder / "validation.csv")
    write_table(history, folder / "history.csv", "history")
    description = models.save_checkpoint(folder, model, description)
    return Trained(model, description, history, validation, 0)


def fit_probe(model: Probe, pooled: NDArray[np.floating], split: pd.DataFrame, seed: int | None) -> pd.DataFrame:
    """Fit a probe by ridge regression on the training part; the strength is chosen on the validation part.

    Kept is the strongest ridge whose validation AUROC is within one standard error of the best (Breiman et al.,
    Classification and Regression Trees, 1984): of equals, the one that leans least on its source's habits.

    Returns
    -------
    DataFrame
        The history: a row for each strength, `epoch` numbering them, `best` marking the one that the probe holds.
    """
    labels = split["label"].to_numpy(np.int64)
    validating = np.flatnonzero(split["split"] == splits.VALIDATION)
    drawn = _draw(split, np.flatnonzero(split["split"] == splits.TRAIN), seed)
    centre, scale = probes.standardisation(pooled[drawn])
    standard = (pooled - centre) / scale
    candidates = probes.ridge_weights(standard[drawn], labels[drawn])
    lines = [_logistic(standard[drawn] @ one, labels[drawn]) for one in candidates]
    rows = [
        {
            "epoch": number,
            "strength": strength,
            **_measures("train", standard[drawn] @ one * slope + bias, labels[drawn]),
            **_measures("val", standard[validating] @ one * slope + bias, labels[validating]),
        }
        for number, (strength, one, (slope, bias)) in enumerate(
            zip(probes.STRENGTHS, candidates, lines, strict=True), start=1
        )
    ]
    history = pd.DataFrame(rows)
    top = int(np.argmax(history["val_auroc"]))
    least = history["val_auroc"][top] - _standard_error(labels[validating], standard[validating] @ candidates[top])
    kept = int(np.argmax(history["val_auroc"] >= least))
    slope, bias = lines[kept]
    model.set_weights(centre, scale, candidates[kept] * slope, bias)
    return history.assign(best=history.index == kept)


def _standard_error(labels: NDArray[np.int64], scores: NDArray[np.floating]) -> float:
    """DeLong's, of the AUROC; 0 where a class has one image alone."""
    if np.bincount(labels, minlength=2).min() < 2:
        return 0.0
    return float(np.sqrt(delong.covariance([delong.components(labels, scores.astype(np.float64))])[0, 0]))


def fit_pairs(model: Probe, pooled: NDArray[np.floating], split: pd.DataFrame, seed: int | None) -> pd.DataFrame:
    """Fit a probe by the mean difference within training pairs over its spread; its history is one row.

    Raises
    ------
    UserError
        When no group of the training part holds both classes.
    """
    labels = split["label"].to_numpy(np.int64)
    validating = np.flatnonzero(split["split"] == splits.VALIDATION)
    training = _draw(split, np.flatnonzero(split["split"] == splits.TRAIN), seed)
    rows = split.iloc[training].assign(row=training, copy=lambda table: table.groupby("image_id").cumcount())
    first = rows.pivot_table("row", ["group", "source", "copy"], "label", aggfunc="first")
    paired = first.dropna().to_numpy(np.int64) if {0, 1} <= set(first.columns) else np.empty((0, 2), np.int64)
    if len(paired) < 2:
        raise UserError("this source has no pairs", "method: pairs", "use method: probe, which needs none")
    drawn = paired.ravel()
    centre, scale = probes.standardisation(pooled[drawn])
    standard = (pooled - centre) / scale
    found = probes.pair_weights(standard[paired[:, 0]], standard[paired[:, 1]])
    slope, bias = _logistic(standard[drawn] @ found, labels[drawn])
    model.set_weights(centre, scale, found * slope, bias)
    logits = standard @ found * slope + bias
    row = _measures("train", logits[drawn], labels[drawn]) | _measures("val", logits[validating], labels[validating])
    return pd.DataFrame([{"epoch": 1, **row, "best": True}])


def _dose(
    split: pd.DataFrame, images: NDArray[np.uint8], arm: Mapping[str, str], seed: int
) -> tuple[pd.DataFrame, NDArray[np.uint8]]:
    """What an arm of `images` training images trains on: whole groups, drawn anew by each seed; else all."""
    wanted = int(arm.get("images", 0))
    training = (split["split"] == splits.TRAIN).to_numpy()
    if not wanted or wanted >= training.sum():
        return split, images
    sizes = split[training].groupby("group").size()
    drawn = sizes.iloc[np.random.default_rng([seed, 32]).permutation(len(sizes))]
    chosen = drawn.index[drawn.cumsum() <= max(wanted, int(drawn.iloc[0]))]
    kept = ~training | split["group"].isin(chosen).to_numpy()
    return split[kept].reset_index(drop=True), images[kept]


def _draw(split: pd.DataFrame, rows: NDArray[np.int64], seed: int | None) -> NDArray[np.int64]:
    """The rows, or with a seed those of as many of their groups, drawn with replacement."""
    if seed is None:
        return rows
    members = pd.Series(rows).groupby(split["group"].to_numpy()[rows]).apply(np.array)
    chosen = np.random.default_rng([seed, 31]).integers(len(members), size=len(members))
    return np.concatenate(members.iloc[chosen].to_list())


def _logistic(values: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[float, float]:
    """Slope and intercept that make of a value the log-odds of pneumonia, both classes weighing alike."""
    from sklearn.linear_model import LogisticRegression

    spread = float(values.std()) or 1.0
    fitted = LogisticRegression(C=1e3, class_weight="balanced").fit(values[:, None] / spread, labels)
    return float(fitted.coef_[0, 0]) / spread, float(fitted.intercept_[0])


def _measures(part: str, logits: NDArray[np.floating], labels: NDArray[np.int64]) -> dict[str, float]:
    scores = np.exp(-np.logaddexp(0, -logits.astype(np.float64)))
    return {
        f"{part}_loss": balanced_log_loss(labels, scores),
        f"{part}_auroc": float(roc_auc_score(labels, logits)),
    }


def summary(description: ModelDescription) -> pd.DataFrame:
    """What was trained, how, on what and how far, as a table of one column."""
    training, method = description.training, method_of(description.arm)
    facts = {
        "arm": f"{description.arm.get('source', '')}, crop {description.arm.get('crop', '')}",
        "method": f"{method}: {METHODS[method]}",
        "training images are": "simulated" if description.simulated else "not simulated",
        "network": f"{description.backbone}, {description.transform.size} pixels",
        "first weights": description.init_origin,
        "training images": training["images"][splits.TRAIN],
        "validation images": training["images"][splits.VALIDATION],
        "AUROC on validation images of the same source": f"{description.val_auroc:.3f}",
    }
    if "best_epoch" in training:
        facts["epoch kept"] = f"{training['best_epoch']} of at most {training['epochs']}"
    if description.probe:
        facts["looks at"] = "; ".join(f"{key}: {', '.join(map(str, one))}" for key, one in description.probe.items())
    if "strength" in training:
        facts["strength kept"] = f"{training['strength']:g}"
    return pd.DataFrame({"value": facts})
