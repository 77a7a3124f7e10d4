"""What a training step lowers, and what an epoch is told by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from nbhelpers.networks import lesions
from nbhelpers.runs.devices import Device


def training_loss(
    model: Any, batch: torch.Tensor, target: torch.Tensor, masks: torch.Tensor | None, device: Device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits `(n,)`, the loss, and what of it is the classifier's.

    With `masks` the loss is that of a `LesionNetwork`, whose maps the labels do not reach.
    """
    if masks is None:
        with device.mixed_precision():
            logits = model(batch).float().reshape(-1)
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        return logits, loss, loss
    with device.mixed_precision():
        maps = model.forward_features(batch)
    maps = [one.float() for one in maps]
    logits = model.forward_head([one.detach() for one in maps]).reshape(-1)
    classifying = functional.binary_cross_entropy_with_logits(logits, target)
    return logits, lesions.drawing_loss(maps[0], masks) + classifying, classifying


def balanced_log_loss(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Mean of the two classes' log losses, so that their numbers do not matter."""
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    return float(-(np.log(clipped[labels == 1]).mean() + np.log1p(-clipped[labels == 0]).mean()) / 2)
