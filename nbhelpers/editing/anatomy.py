"""Whether the patient is still the same: lungs drawn by a small network, and the embedding of a known one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from nbhelpers.editing.pictures import Picture, rgb
from nbhelpers.images.files import resize_gray
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import features, models, segmenters, weights
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.segmenters import FitSettings, Segmenter
from nbhelpers.simulator.film import draw_film

Pixels = NDArray[np.uint8]

_LUNGS = "small_unet"
_SIDE = 96  # pixels a side that it sees
_TRAINING, _TESTING = 96, 24  # simulated films that it is trained on, and tested on
_SETTINGS = FitSettings(epochs=8, batch_size=8, learning_rate=4e-3, upright=True)


@dataclass
class Anatomy:
    """What measures anatomy: a segmenter of lungs with its Dice on simulated films that it was not trained on, and a
    network whose pooled features are compared."""

    lungs: Segmenter
    lungs_dice: float
    network: nn.Module
    transform: Transform
    device: str = "auto"
    cache: Path | None = None

    def lung_dice(self, pairs: Sequence[tuple[Pixels, Pixels | None]]) -> list[float]:
        """Dice of the lungs that the segmenter draws in the two RGB pictures of each pair; NaN without a second one."""
        return _compared(pairs, lambda images: [mask > 127 for mask in self.lungs.predict(images, self.device)], dice)

    def similarity(self, pairs: Sequence[tuple[Pixels, Pixels | None]]) -> list[float]:
        """Cosine of the network's features of the two RGB pictures of each pair; NaN where there is no second one."""

        def features_of(images: list[Pixels]) -> NDArray[np.float32]:
            gray = [np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for one in images]
            seen = np.stack([resize_gray(one, self.transform.size) for one in gray])
            found = features.embed(self.network, seen, self.transform, self.device, desc="embedding", cache=self.cache)
            unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
            return unit

        return _compared(pairs, features_of, lambda one, other: np.clip(one @ other, -1, 1))

    def columns(self, pairs: Sequence[tuple[Picture, Pixels | None]]) -> dict[str, list[float]]:
        """`lung_dice` (of chest films alone) and `embedding_similarity` of each picture and its answer."""
        films = [(picture.image, answer if picture.chest_film else None) for picture, answer in pairs]
        every = [(picture.image, answer) for picture, answer in pairs]
        return {"lung_dice": self.lung_dice(films), "embedding_similarity": self.similarity(every)}


def _compared(
    pairs: Sequence[tuple[Pixels, Pixels | None]],
    describe: Callable[[list[Pixels]], Iterable[Any]],
    compare: Callable[[Any, Any], float],
) -> list[float]:
    """What `compare` says of the descriptions of each pair; a picture of several pairs is described once."""

    def key(image: Pixels) -> bytes:
        return hashlib.sha256(np.ascontiguousarray(image).data).digest() + bytes(str(image.shape), "ascii")

    whole = {key(image): image for pair in pairs if pair[1] is not None for image in pair if image is not None}
    told = dict(zip(whole, describe([*whole.values()]), strict=True)) if whole else {}
    return [float("nan") if b is None else float(compare(told[key(a)], told[key(b)])) for a, b in pairs]


def load_anatomy(parameters: Mapping[str, Any], folder: Path) -> Anatomy:
    """Train the lung segmenter on simulated films, or load the one that `folder` holds, and build the embedding's
    network: `editing_backbone` with the weights `editing_init`, seen at `editing_embedding_size` pixels."""
    seed, device = int(parameters["seed"]), str(parameters.get("device", "auto"))
    backbone, init = str(parameters["editing_backbone"]), str(parameters["editing_init"])
    size = int(parameters["editing_embedding_size"])
    place = folder / "lungs" / f"seed_{seed}"
    rng = np.random.default_rng([seed, 9])
    count = _TESTING if (place / segmenters.CONFIG).is_file() else _TESTING + _TRAINING
    drawn = [_film(rng) for _ in range(count)]  # the first are those that test
    images, masks = [film for film, _ in drawn], [lungs for _, lungs in drawn]
    if count > _TESTING:
        lungs = segmenters.build(_LUNGS, "gray", _SIDE, seed)
        segmenters.fit(lungs, images[_TESTING:], masks[_TESTING:], _SETTINGS, seed, device, "lung segmenter")
        lungs.save(place)
    else:
        lungs = segmenters.load(place)
    found = lungs.predict(images[:_TESTING], device)
    reached = float(np.mean([dice(one > 127, true) for one, true in zip(found, masks[:_TESTING], strict=True)]))
    print(f"embedded by {backbone}: {weights.find(backbone, init)[0]}")
    network = models.build(backbone, init, channels=1, seed=seed, image_size=size)
    return Anatomy(lungs, reached, network, Transform(size), device)


def _film(rng: np.random.Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    label = ("normal", "pneumonia")[int(rng.integers(2))]
    pair_seed, seed = (int(number) for number in rng.integers(2**31, size=2))
    film = draw_film({"label": label, "age_group": "adult"}, pair_seed, seed, "roentgen", 2 * _SIDE)
    return rgb(film.image), film.lungs
