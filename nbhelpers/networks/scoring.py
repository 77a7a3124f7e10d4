"""Scores and features of many images: fast where the hardware allows, and the same on every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks.fusion import inference_body
from nbhelpers.networks.models import evaluating
from nbhelpers.networks.preprocessing import Transform, check_images, to_tensor
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.progress import progress

FOLD_FROM = 256  # images: folding takes as long as scoring a few dozen, and saves a fifth


def _outputs(
    model: nn.Module,
    images: NDArray[np.uint8],
    transform: Transform,
    device: Device | str,
    batch_size: int,
    desc: str,
    head: Callable[[Any], torch.Tensor],
) -> Iterator[NDArray[np.float32]]:
    check_images(images, transform)
    if batch_size < 1:
        raise UserError(f"batch size {batch_size}", "inference_batch", "use 1 or more")
    chosen = pick_device(device) if isinstance(device, str) else device
    model.to(chosen.torch)
    with evaluating(model), torch.inference_mode():
        shape = (transform.channels, transform.size, transform.size)
        body: Any = model.forward_features
        if len(images) >= FOLD_FROM:
            body = inference_body(model, shape, chosen.autocast)
        starts: list[int] = list(range(0, len(images), batch_size))
        for start in progress(starts, desc=desc, unit="batch") if desc else starts:
            batch = to_tensor(images[start : start + batch_size], transform, chosen.torch)
            with chosen.mixed_precision():
                maps = body(batch)
            # The head stays in float32: a logit of 8 significant bits would tie films that differ.
            # A network of several branches (CrossViT) hands its head one tensor of each.
            maps = [part.float() for part in maps] if isinstance(maps, (list, tuple)) else maps.float()
            yield head(maps).float().cpu().numpy()


def predict(
    model: nn.Module,
    images: NDArray[np.uint8],
    transform: Transform,
    device: Device | str = "auto",
    batch_size: int = 64,
    desc: str = "",
) -> NDArray[np.float64]:
    """Probability of pneumonia for each image.

    The body of the network runs in bfloat16 where the hardware has it, pooling and head in float32. The same batch
    size on the same machine gives the same bits; another batch size may choose other kernels and move a probability
    by about 0.01.

    Parameters
    ----------
    model : torch.nn.Module
        As `models.build` or `models.load_checkpoint` gives it; moved to `device`, its mode is kept.
    images : uint8 array or memory map, shape (n, size, size)
        Gray 0..255, at the transform's size.
    transform : Transform
        The one that the model was trained with.
    device : Device or str
        `auto`, or a torch device name.
    batch_size : int
        Images at a time.
    desc : str
        Shows a progress bar with this text, when not empty.

    Returns
    -------
    float64 array, shape (n,), in 0..1.

    Raises
    ------
    UserError
        When the images do not fit the transform, or the network gives values that are not finite.
    """
    forward_head: Any = model.forward_head

    def head(maps: torch.Tensor) -> torch.Tensor:
        return forward_head(maps).reshape(-1)

    parts = list(_outputs(model, images, transform, device, batch_size, desc, head))
    logits = np.concatenate([np.zeros(0), *parts]).astype(np.float64)
    _check_finite(logits)
    return np.exp(-np.logaddexp(0, -logits))


def features(
    model: nn.Module,
    images: NDArray[np.uint8],
    transform: Transform,
    device: Device | str = "auto",
    batch_size: int = 64,
    desc: str = "",
) -> NDArray[np.float32]:
    """Penultimate features: what the network's head is given, pooled over the image.

    Parameters are those of `predict`.

    Returns
    -------
    float32 array, shape (n, d); d is the backbone's width (512 for ResNet-18, 2048 for ResNet-50).
    """
    forward_head: Any = model.forward_head

    def head(maps: torch.Tensor) -> torch.Tensor:
        return forward_head(maps, pre_logits=True).flatten(1)

    parts = list(_outputs(model, images, transform, device, batch_size, desc, head))
    if not parts:
        return np.zeros((0, int(getattr(model, "num_features", 0))), dtype=np.float32)
    found = np.concatenate(parts)
    _check_finite(found)
    return found


def _check_finite(values: NDArray[np.floating]) -> None:
    if not np.isfinite(values).all():
        raise UserError(
            f"the network gives {int((~np.isfinite(values)).sum())} values that are not finite",
            "checkpoint",
            "train the arm again, with a lower learning_rate",
        )
