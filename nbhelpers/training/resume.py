"""A training's state on disk, so that a stopped one goes on where it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from nbhelpers.networks.models import ModelDescription
from nbhelpers.runs import stage
from nbhelpers.runs.devices import Device
from nbhelpers.runs.files import atomic_path, sha256_file

RESUME_FILE = ".resume.safetensors"


@dataclass
class State:
    """All that changes while an arm is trained, and so all that a resumed training needs."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: list[dict[str, Any]]
    best: dict[str, torch.Tensor]


@dataclass(frozen=True)
class How:
    """What a training computes on: the same weights come of the same of these."""

    device: Device
    threads: int

    @property
    def precision(self) -> str:
        """The number format of a step: `fp32`, `bfloat16` or `float16`."""
        return self.device.number_format

    def __str__(self) -> str:
        return f"{self.device}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def fingerprint(made: ModelDescription, how: How) -> str:
    """Hash of everything that decides the weights: files of another training must not be taken for this one's."""
    known = {name: made.versions[name] for name in ("nbhelpers", "torch", "timm")}
    init = made.init if made.init in ("random", "imagenet") else sha256_file(stage.user_path(made.init))
    facts = made.to_dict() | {"versions": known, "init": init, "how": str(how)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def data_hash(split: pd.DataFrame, images: NDArray[np.uint8]) -> str:
    """Hash of the images that a training sees, and of their split."""
    digest = hashlib.sha256(split.to_csv(index=False).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def save_resume(path: Path, state: State, made_of: str, how: How) -> None:
    """Write a training's state with its fingerprint, atomically."""
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    metadata = {
        "fingerprint": made_of,
        "device": how.device.name,
        "precision": how.precision,
        "threads": str(how.threads),
        "history": json.dumps(state.history),
        "scaler": json.dumps(state.scaler.state_dict()),
    }
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    # One file, so that a kill leaves either this epoch or the one before, never half of each.
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(whole, temporary, metadata=metadata)


def how_before(path: Path) -> How | None:
    """What an interrupted training computed on; None when there is none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
        return How(Device.of(told["device"], told["precision"]), int(told["threads"]))
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
