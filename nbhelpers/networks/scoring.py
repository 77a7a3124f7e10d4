"""Scores and features of many images: a film's are its own, whatever else is scored with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks.models import evaluating
from nbhelpers.networks.preprocessing import Transform, check_images, to_tensor
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.progress import progress

# Images that a CPU's network always sees at a time: another number takes other kernels, which round differently, and
# a larger one is no faster (benchmarks/bench_training.py).
CPU_BATCH = 32


def outputs(
    model: nn.Module,
    images: NDArray[np.uint8],
    transform: Transform,
    device: Device | str,
    batch_size: int,
    desc: str,
    head: Callable[[Any], torch.Tensor],
) -> Iterator[NDArray[np.float32]]:
    """What `head` makes of the network's `forward_features`, batch by batch, as `predict` computes it.

    The other parameters are as in `predict`. Each item is float32 `(batch, ...)`.
    """
    check_images(images, transform)
    if batch_size < 1:
        raise UserError(f"batch size {batch_size}", "inference_batch", "use 1 or more")
    chosen = pick_device(device) if isinstance(device, str) else device
    if chosen.torch.type == "cpu":
        batch_size = CPU_BATCH
    # Weights in the images' memory order: faster, and one set of kernels however the network was made.
    model.to(chosen.torch).to(memory_format=torch.channels_last)
    forward_features: Any = model.forward_features
    with evaluating(model), torch.inference_mode():
        starts: list[int] = list(range(0, len(images), batch_size))
        for start in progress(starts, desc=desc, unit="batch") if desc else starts:
            some = images[start : start + batch_size]
            # The last batch is filled up with blank images.
            full = np.zeros((batch_size, *some.shape[1:]), np.uint8)
            full[: len(some)] = some
            batch = to_tensor(full, transform, chosen.torch)
            with chosen.mixed_precision():
                maps = forward_features(batch)
            # The head stays in float32: a logit of 8 significant bits would tie films that differ.
            # A network of several branches (CrossViT) hands its head one tensor of each.
            maps = [part.float() for part in maps] if isinstance(maps, (list, tuple)) else maps.float()
            yield head(maps)[: len(some)].float().cpu().numpy()


def predict(
    model: nn.Module,
    images: NDArray[np.uint8],
    transform: Transform,
    device: Device | str = "auto",
    batch_size: int = 64,
    desc: str = "",
) -> NDArray[np.float64]:
    """Probability of pneumonia for each image.

    The body of the network runs in bfloat16 where the device says so, pooling and head in float32. The network always
    sees the same number of images, the last ones filled up with blank ones, so a film gets the same score alone, among
    any others, in any order, and with any number of threads (to 1e-12, the last bit of the logistic function). On a
    GPU another `batch_size` may take other kernels. bfloat16 in place of float32 moves a score by up to 0.02.

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
        Images at a time on a GPU; a CPU always takes `CPU_BATCH`.
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

    parts = list(outputs(model, images, transform, device, batch_size, desc, head))
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

    parts = list(outputs(model, images, transform, device, batch_size, desc, head))
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
            "train the arm again, with a lower learning_rate (its own, or else the run's)",
        )
