"""A training's state on disk, so that a stopped one goes on where it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs import stage
from nbhelpers.runs.devices import Device
from nbhelpers.runs.files import atomic_path, sha256_file
from nbhelpers.training.schedule import Settings

RESUME_FILE = ".resume.safetensors"


@dataclass
class State:
    """All that changes while an arm is trained, and so all that a resumed training needs."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: list[dict[str, Any]]
    best: dict[str, torch.Tensor]


def fingerprint(
    split: pd.DataFrame,
    images: NDArray[np.uint8],
    backbone: str,
    init: str,
    transform: Transform,
    settings: Settings,
    seed: int,
    device: Device,
    masks: NDArray[np.uint8] | None = None,
) -> str:
    """Hash of everything that decides the weights: files of another training must not be taken for this one's.

    Parameters are those of `train_arm`.
    """
    facts = {
        "data": data_hash(split, images) + ("" if masks is None else hashlib.sha256(masks.tobytes()).hexdigest()),
        "settings": asdict(settings),
        "backbone": backbone,
        "init": init if init in ("random", "imagenet") else sha256_file(stage.user_path(init)),
        "transform": transform.to_dict(),
        "seed": seed,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "versions": {name: stage.versions()[name] for name in ("nbhelpers", "torch", "timm")},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def data_hash(split: pd.DataFrame, images: NDArray[np.uint8]) -> str:
    """Hash of the images that a training sees, and of their split."""
    digest = hashlib.sha256(split.to_csv(index=False).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def save_resume(path: Path, state: State, made_of: str, device: Device) -> None:
    """Write a training's state with its fingerprint, and what it computes on, atomically."""
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    metadata = {
        "fingerprint": made_of,
        "device": device.name,
        "precision": device.number_format,
        "threads": str(torch.get_num_threads()),
        "history": json.dumps(state.history),
        "scaler": json.dumps(state.scaler.state_dict()),
    }
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    # One file, so that a kill leaves either this epoch or the one before, never half of each.
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(whole, temporary, metadata=metadata)


def computed_on(path: Path) -> tuple[Device, int] | None:
    """Device, with its number format, and threads of an interrupted training; None when there is none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
        return Device.of(told["device"], told["precision"]), int(told["threads"])
    except (OSError, safetensors.SafetensorError, KeyError, ValueError):
        return None


def load_resume(path: Path, state: State, made_of: str) -> bool:
    """Continue from a resume file, when there is one and it is of this very training."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("fingerprint") != made_of:
                return False
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError):
        return False
    named: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        named[part][rest] = value
    state.model.load_state_dict(named["model"])
    state.best = named["best"]
    state.history = json.loads(metadata["history"])
    state.scaler.load_state_dict(json.loads(metadata["scaler"]))
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in named["optimizer"].items():
        index, _, moment = name.partition(".")
        like = parameters[int(index)]
        # In the weights' own memory order: other kernels would run on another order, and round differently.
        moments.setdefault(int(index), {})[moment] = (
            torch.empty_like(like).copy_(value) if value.shape == like.shape and value.ndim else value
        )
    state.optimizer.load_state_dict({"state": moments, "param_groups": state.optimizer.state_dict()["param_groups"]})
    return True
