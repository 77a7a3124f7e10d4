"""Settings of a training, its learning rate, and the order of its batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.runs.parameters import suggest
from nbhelpers.training.augmentation import POLICIES


@dataclass(frozen=True)
class Settings:
    """How an arm is trained.

    Attributes
    ----------
    epochs : int
        At most; one epoch shows every training image once, or as often as `images_per_epoch` asks for.
    images_per_epoch : int
        An epoch repeats its images until it has shown so many (one more where that is an odd number), so that arms
        of few images are trained for as many steps as an arm of so many; 0 shows each once.
    batch_size : int
        Images a step, as pairs of a normal and a pneumonia image.
    learning_rate, weight_decay : float
        Of AdamW; biases and norms are not decayed.
    warmup_epochs : float
        Epochs of linear rise before the cosine fall to a hundredth.
    patience : int
        Epochs without a better validation AUROC (or, at the same AUROC, loss) after which training stops; 0 never
        stops. The best epoch's weights are kept in any case.
    augmentation : str
        A policy of `nbhelpers.training.augmentation`.
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    patience: int = 5
    augmentation: str = "films"
    images_per_epoch: int = 0

    def __post_init__(self) -> None:
        at_least_0 = ("patience", "warmup_epochs", "weight_decay", "images_per_epoch")
        for name, low in {"epochs": 1, "batch_size": 2, **dict.fromkeys(at_least_0, 0)}.items():
            if not getattr(self, name) >= low:
                raise UserError(f"{name} = {getattr(self, name)}", name, f"use {low} or more")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning_rate = {self.learning_rate}", "learning_rate", "use more than 0, e.g. 1e-3")
        if self.augmentation not in POLICIES:
            raise UserError(
                f"unknown augmentation {self.augmentation!r}",
                "augmentation",
                suggest(self.augmentation, POLICIES),
            )


def learning_rate_at(progress_made: float, settings: Settings) -> float:
    """Learning rate after `progress_made` epochs: linear warm-up, then a cosine to a hundredth (Loshchilov 2017)."""
    warmup = min(settings.warmup_epochs, settings.epochs)
    if progress_made < warmup:
        return settings.learning_rate * (progress_made + 1e-2) / (warmup + 1e-2)
    share = (progress_made - warmup) / max(settings.epochs - warmup, 1e-9)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def epoch_batches(
    pairs: NDArray[np.int64], batch_size: int, seed: int, epoch: int, images_per_epoch: int = 0
) -> list[NDArray[np.int64]]:
    """The batches of one epoch: pairs in a new order, dealt into batches of nearly equal size.

    Equal sizes, since a last batch of two would give batch norm nothing to go by. Both images of a prompt pair are in
    one batch, and are augmented apart. All pairs are shown before any is shown again, until there are
    `images_per_epoch`; a batch may hold a pair twice.
    """
    rng = np.random.default_rng((seed, epoch))
    shown = max(len(pairs), math.ceil(images_per_epoch / 2))
    passes = [rng.permutation(len(pairs)) for _ in range(math.ceil(shown / len(pairs)))]
    steps = min(max(1, round(2 * shown / batch_size)), shown)
    return [pairs[part].reshape(-1) for part in np.array_split(np.concatenate(passes)[:shown], steps)]
