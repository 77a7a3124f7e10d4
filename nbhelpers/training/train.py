"""Training one arm: the schedule, and a training that goes on where it was killed."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import timm.optim
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks import models, scoring, weights
from nbhelpers.networks.checkpoints import network_name
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform, check_images, standardise
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.files import read_json
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress
from nbhelpers.runs.tables import write_table
from nbhelpers.training import splits
from nbhelpers.training.augmentation import augment_drawn, step_seed
from nbhelpers.training.losses import balanced_log_loss, training_loss
from nbhelpers.training.number_format import faster_format
from nbhelpers.training.resume import (
    RESUME_FILE,
    State,
    computed_on,
    data_hash,
    fingerprint,
    load_resume,
    save_resume,
)
from nbhelpers.training.schedule import Settings, epoch_batches, learning_rate_at

GRADIENT_NORM = 1.0  # where a step's gradient is cut; a few odd films must not undo an epoch


@dataclass(frozen=True)
class Trained:
    """What `train_arm` gives, and has written."""

    model: nn.Module
    description: ModelDescription
    history: pd.DataFrame
    validation: pd.DataFrame
    resumed_from: int


class Place(NamedTuple):
    """Where a network goes: its folder below `03_training`, its seed, and its name in titles and figures."""

    folder: str
    seed: int
    name: str


def place(arm: str, seed: int, training_seed: int | None = None) -> Place:
    """The arm's own network, of the run's seed, or with another `training_seed` a further one beside it."""
    if training_seed in (None, seed):
        return Place(network_name(arm), seed, arm)
    return Place(network_name(arm, training_seed), training_seed, f"{arm}_seed_{training_seed}")


def part(parameters: Mapping[str, Any]) -> str:
    """The folder of the network that a notebook's parameters ask for, below `03_training`."""
    return place(parameters["arm"], parameters["seed"], parameters["training_seed"]).folder


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """The arm that is to be trained is one of the arms."""
    if parameters["arm"] not in parameters["arms"]:
        raise UserError(f"unknown arm {parameters['arm']!r}", "arm", suggest(parameters["arm"], parameters["arms"]))


@contextlib.contextmanager
def _reproducible(device: Device) -> Iterator[None]:
    """Ask CUDA for kernels that give the same bits on every run; the CPU's do so by themselves."""
    if device.torch.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _train_epoch(
    state: State,
    parts: _Parts,
    batches: list[NDArray[np.int64]],
    transform: Transform,
    settings: Settings,
    seed: int,
    device: Device,
    bar: Any,
) -> dict[str, float]:
    epoch = len(state.history) + 1
    state.model.train()
    losses: list[torch.Tensor] = []
    scores: list[torch.Tensor] = []
    for step, rows in enumerate(batches):
        rate = learning_rate_at(epoch - 1 + step / len(batches), settings)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        raw = torch.from_numpy(parts.images[rows]).to(device.torch, non_blocking=True)
        target = torch.from_numpy(parts.labels[rows]).to(device.torch, torch.float32)
        films = raw.unsqueeze(1).float() / 255
        drawn = films[:, 1:]
        if parts.masks is not None:
            drawn = torch.from_numpy(parts.masks[rows]).to(device.torch).float() / 255
        films, drawn = augment_drawn(films, drawn, step_seed(seed, epoch, step), settings.augmentation)
        batch = standardise(films, transform).contiguous(memory_format=torch.channels_last)
        # Dropout and stochastic depth draw from the global state.
        torch.manual_seed(step_seed(seed, epoch, step))
        logits, loss, classifying = training_loss(
            state.model, batch, target, None if parts.masks is None else drawn, device
        )
        state.optimizer.zero_grad(set_to_none=True)
        state.scaler.scale(loss).backward()
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), GRADIENT_NORM)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        losses.append(classifying.detach())  # as on the validation images, where nothing is drawn against masks
        scores.append(logits.detach())
        bar.update()
    mean_loss = float(torch.stack(losses).mean())
    if not math.isfinite(mean_loss):
        raise UserError(
            f"the loss is {mean_loss} in epoch {epoch}",
            "learning_rate of the arm, or else of the run",
            f"use less than {settings.learning_rate}",
        )
    auroc = roc_auc_score(parts.labels[np.concatenate(batches)], torch.cat(scores).cpu().numpy())
    return {"learning_rate": rate, "train_loss": mean_loss, "train_auroc": float(auroc)}


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Number of the epoch with the highest validation AUROC, the lowest loss among equals; 0 before the first."""
    ranked = sorted(history, key=lambda row: (-round(row["val_auroc"], 4), row["val_loss"], row["epoch"]))
    return int(ranked[0]["epoch"]) if ranked else 0


def history_table(history: list[dict[str, Any]]) -> pd.DataFrame:
    """The epochs as a table; `best` marks the one whose weights are kept."""
    return pd.DataFrame(history).assign(best=[row["epoch"] == best_epoch(history) for row in history])


def train_arm(
    folder: Path | str,
    split: pd.DataFrame,
    images: NDArray[np.uint8],
    *,
    arm: Mapping[str, str],
    backbone: str,
    init: str,
    transform: Transform,
    settings: Settings,
    seed: int = 0,
    device: Device | str = "auto",
    simulated: bool = False,
    masks: NDArray[np.uint8] | None = None,
) -> Trained:
    """Train a classifier on an arm's images; gives the best epoch's network in evaluation mode.

    Writes `checkpoint.safetensors`, `model.json`, `history.csv` (after every epoch), `split.csv` and `validation.csv`
    (scores of the validation images) into `folder`. A training of the same settings and images that was interrupted
    goes on after its last whole epoch, and ends with the very weights of one that was not.

    Parameters
    ----------
    folder : path
        `03_training/<arm>` of the run, or `03_training/<arm>/seed_<n>`.
    split : DataFrame
        From `splits.split_groups`: `image_id, pair_id, label, group, split`, one row an image.
    images : uint8 array, shape (n, size, size)
        In the order of `split`, of the size of `transform`.
    arm, simulated
        `name`, `source` and `crop`, and whether the images came from a simulator; kept in `model.json`.
    seed : int
        Of weights, order and augmentation: the same seed gives the same weights on the same machine, with as many
        threads and in the same number format (`threads` and `precision` in `model.json`).
    device : Device or str
        A name, with the number format in which a step is faster; a `Device` is taken as it is.
        An interrupted training keeps its number format and its threads.
    masks : uint8 array, shape (n, 2, size, size), optional
        Shares (of 255) of lesion and lungs in each pixel, for a `lesions.LesionNetwork`.

    Raises
    ------
    UserError
        When the folder holds a network of another seed, a group is in both parts of the split, the backbone or its
        weights cannot be had, or the loss is no longer finite.
    """
    folder = Path(folder)
    check_replaceable(folder, seed)
    check_images(images, transform)
    if len(images) != len(split):
        raise UserError(f"{len(images)} images for {len(split)} rows", "images", "load both with arm_images.load_arm")
    split = split.reset_index(drop=True)
    counts = splits.check_split(split)
    parts = _parts(split, images, masks)

    origin, _ = weights.find(backbone, init)  # before the build, which may download them
    model = models.build(backbone, init, transform.channels, seed, transform.size)
    models.check_fits(model, transform, backbone)
    chosen = _computes_on(folder / RESUME_FILE, model, transform, device)
    state = _fresh_state(model, settings, chosen)
    made_of = fingerprint(split, images, backbone, init, transform, settings, seed, chosen, masks)
    if load_resume(folder / RESUME_FILE, state, made_of):
        print(f"an interrupted training resumes after epoch {len(state.history)}")
    print(f"trains on {chosen}, threads: {torch.get_num_threads()}")
    done = len(state.history)
    write_table(split, folder / "split.csv")

    _all_epochs(folder, state, parts, transform, settings, seed, chosen, made_of, arm.get("name", "training"))
    counted = {"images": counts.set_index("split")["images"].to_dict(), "data_sha256": data_hash(split, images)}
    told = asdict(settings) | counted
    description = ModelDescription(backbone, init, transform, seed, dict(arm), simulated, told, None, origin)
    return _finish(folder, state, split, parts, description, chosen, done)


def _finish(
    folder: Path,
    state: State,
    split: pd.DataFrame,
    parts: _Parts,
    description: ModelDescription,
    device: Device,
    done: int,
) -> Trained:
    """Write the best epoch's network with its scores of the validation images."""
    state.model.load_state_dict(state.best)
    state.model.eval()
    # In the number format in which films are scored later, whichever was faster in training: thresholds come of these.
    scores = scoring.predict(
        state.model, parts.images[parts.validating], description.transform, pick_device(device.name)
    )
    validated = split.iloc[parts.validating][["image_id", "pair_id", "label"]]
    validation = validated.assign(score=scores).reset_index(drop=True)
    how: dict[str, Any] = {"best_epoch": best_epoch(state.history), "threads": torch.get_num_threads()}
    how |= {"precision": device.number_format}
    area = float(roc_auc_score(validation["label"], validation["score"]))
    description = replace(description, training=description.training | how, val_auroc=area)
    return write(folder, state.model, description, history_table(state.history), validation, done)


def _computes_on(resume: Path, model: nn.Module, transform: Transform, device: Device | str) -> Device:
    """The device, in the number format and with the threads of an interrupted training, or in the faster format."""
    if not isinstance(device, str):
        return device
    chosen, before = pick_device(device), computed_on(resume)
    if before is None or before[0].name != chosen.name:
        return faster_format(model, transform, chosen)
    torch.set_num_threads(before[1])
    return before[0]


class _Parts(NamedTuple):
    """All images with their masks and labels, and which of them validate, and train as pairs `(n, 2)`."""

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    labels: NDArray[np.int64]
    validating: NDArray[np.intp]
    pairs: NDArray[np.int64]


def _parts(split: pd.DataFrame, images: NDArray[np.uint8], masks: NDArray[np.uint8] | None) -> _Parts:
    training = np.flatnonzero(split["split"] == splits.TRAIN)
    validating = np.flatnonzero(split["split"] == splits.VALIDATION)
    pairs = training[splits.pairs(split.iloc[training])]
    return _Parts(images, masks, split["label"].to_numpy(np.int64), validating, pairs)


def _batches(parts: _Parts, settings: Settings, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    return epoch_batches(parts.pairs, settings.batch_size, seed, epoch, settings.images_per_epoch)


def _all_epochs(
    folder: Path,
    state: State,
    parts: _Parts,
    transform: Transform,
    settings: Settings,
    seed: int,
    device: Device,
    made_of: str,
    name: str,
) -> None:
    """Train from where the state is to the last epoch, each kept when it is done."""
    done = len(state.history)
    n_steps = len(_batches(parts, settings, seed, 1))
    bar = progress(desc=f"{name} {done}/{settings.epochs}", total=n_steps * (settings.epochs - done), unit="step")
    with _reproducible(device), torch.random.fork_rng(), bar:
        while not _finished(state.history, settings):
            row = _one_epoch(state, parts, transform, settings, seed, device, bar)
            _keep_epoch(folder, state, row, made_of, device)
            bar.set_description(f"{name} {row['epoch']}/{settings.epochs}", refresh=False)
            bar.set_postfix(loss=f"{row['val_loss']:.3f}", auroc=f"{row['val_auroc']:.3f}")


def _one_epoch(
    state: State,
    parts: _Parts,
    transform: Transform,
    settings: Settings,
    seed: int,
    device: Device,
    bar: Any,
) -> dict[str, Any]:
    """Train for the next epoch, score the validation images, and give the epoch's row of the history."""
    row: dict[str, Any] = {"epoch": len(state.history) + 1}
    batches = _batches(parts, settings, seed, row["epoch"])
    row |= _train_epoch(state, parts, batches, transform, settings, seed, device, bar)
    scores = scoring.predict(state.model, parts.images[parts.validating], transform, device)
    labels = parts.labels[parts.validating]
    row |= {"val_loss": balanced_log_loss(labels, scores), "val_auroc": float(roc_auc_score(labels, scores))}
    return row


def _fresh_state(model: nn.Module, settings: Settings, device: Device) -> State:
    """The state before the first epoch, the network on its device."""
    model = model.to(device.torch).to(memory_format=torch.channels_last)
    groups = timm.optim.param_groups_weight_decay(model, settings.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    scaler = torch.amp.GradScaler(device.torch.type, enabled=device.autocast == torch.float16)
    return State(model, optimizer, scaler, [], {})


def _keep_epoch(folder: Path, state: State, row: dict[str, Any], made_of: str, device: Device) -> None:
    """Add an epoch to the history, keep its weights where they are the best yet, and write what a resume needs."""
    state.history.append(row)
    if best_epoch(state.history) == row["epoch"]:
        state.best = {key: value.detach().cpu().clone() for key, value in state.model.state_dict().items()}
    save_resume(folder / RESUME_FILE, state, made_of, device)
    write_table(history_table(state.history), folder / "history.csv", "history")


def write(
    folder: Path,
    model: nn.Module,
    description: ModelDescription,
    history: pd.DataFrame,
    validation: pd.DataFrame,
    done: int = 0,
) -> Trained:
    """Write a finished training, its checkpoint last but for the resume file."""
    write_table(validation, folder / "validation.csv")
    write_table(history, folder / "history.csv", "history")
    description = models.save_checkpoint(folder, model, description)
    # Last: until here a kill still finds it and has nothing to train again.
    (folder / RESUME_FILE).unlink(missing_ok=True)
    return Trained(model, description, history, validation, done)


def check_replaceable(folder: Path, seed: int) -> None:
    """Refuse to train over another seed's network by hand; the pipeline removes what it makes anew."""
    try:
        there = read_json(folder / models.DESCRIPTION_FILE).get("seed")
    except UserError:
        return
    if there != seed:
        raise UserError(
            f"this folder holds the network of seed {there}, which seed {seed} would replace",
            str(folder),
            f"set training_seed = {seed} to train it in a folder of its own, or delete this folder",
        )


def _finished(history: list[dict[str, Any]], settings: Settings) -> bool:
    waited = len(history) - best_epoch(history)
    return len(history) >= settings.epochs or (settings.patience > 0 and waited >= settings.patience)
