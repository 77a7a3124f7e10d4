"""Whether the patient is still the same: lungs drawn by a small network, and the embedding of a known one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from nbhelpers.editing.pictures import Picture, rgb
from nbhelpers.images.files import resize_gray
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import features, models, segmenters
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
    _masks: dict[bytes, NDArray[np.bool_]] = field(default_factory=dict)

    def lung_dice(self, image: Pixels, answer: Pixels) -> float:
        """Dice of the lungs that the segmenter draws in the input and in the answer, both RGB of one size."""
        return dice(self._lungs(image), self._lungs(answer))

    def _lungs(self, image: Pixels) -> NDArray[np.bool_]:
        key = _key(image)
        if key not in self._masks:
            self._masks[key] = next(iter(self.lungs.predict([image], self.device))) > 127
        return self._masks[key]

    def similarity(self, pairs: Sequence[tuple[Pixels, Pixels | None]]) -> list[float]:
        """Cosine of the network's features of the two RGB pictures of each pair; NaN where there is no second one."""
        whole = {_key(one): one for pair in pairs if pair[1] is not None for one in pair if one is not None}
        if not whole:
            return [float("nan")] * len(pairs)
        gray = [np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), dtype=np.uint8) for one in whole.values()]
        seen = [resize_gray(one, self.transform.size) for one in gray]
        found = features.embed(
            self.network, np.stack(seen), self.transform, self.device, desc="embedding", cache=self.cache
        )
        unit = dict(zip(whole, found / np.linalg.norm(found, axis=1, keepdims=True), strict=True))
        return [float("nan") if b is None else float(np.clip(unit[_key(a)] @ unit[_key(b)], -1, 1)) for a, b in pairs]

    def columns(self, pairs: Sequence[tuple[Picture, Pixels | None]]) -> dict[str, list[float]]:
        """`lung_dice` (of chest films alone) and `embedding_similarity` of each picture and its answer."""
        lungs = [
            self.lung_dice(picture.image, answer) if answer is not None and picture.chest_film else float("nan")
            for picture, answer in pairs
        ]
        return {
            "lung_dice": lungs,
            "embedding_similarity": self.similarity([(picture.image, answer) for picture, answer in pairs]),
        }


def _key(image: Pixels) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest() + bytes(str(image.shape), "ascii")


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
    network = models.build(backbone, init, channels=1, seed=seed, image_size=size)
    return Anatomy(lungs, reached, network, Transform(size), device)


def _film(rng: np.random.Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    label = ("normal", "pneumonia")[int(rng.integers(2))]
    pair_seed, seed = (int(number) for number in rng.integers(2**31, size=2))
    film = draw_film({"label": label, "age_group": "adult"}, pair_seed, seed, "roentgen", 2 * _SIDE)
    return rgb(film.image), film.lungs
