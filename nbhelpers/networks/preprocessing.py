"""From image files to what a network sees: one transform, kept with the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.images.files import read_gray, resize_gray
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress

STANDARDISE = ("image", "imagenet")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Transform:
    """What is done to a gray image before the network sees it.

    Attributes
    ----------
    size : int
        Pixels along a side.
    channels : int
        1, or 3 equal ones for a network that takes colour.
    standardise : str
        `image`: each image to mean 0 and standard deviation 1, so that exposure and contrast, which differ between
        hospitals, carry less. `imagenet`: values in 0..1 less ImageNet's mean, over its standard deviation.
    """

    size: int
    channels: int = 1
    standardise: str = "image"

    def __post_init__(self) -> None:
        if self.size < 32:
            raise UserError(f"image_size = {self.size} is too small for a radiograph", "image_size", "use 32 or more")
        if self.channels not in (1, 3):
            raise UserError(f"{self.channels} channels", "transform", "use 1 or 3")
        if self.standardise not in STANDARDISE:
            raise UserError(
                f"unknown standardisation {self.standardise!r}", "standardise", suggest(self.standardise, STANDARDISE)
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transform:
        """The transform that `to_dict` described; a field that is missing or unknown is a `UserError`."""
        try:
            return cls(**values)
        except TypeError as error:
            raise UserError(f"not a transform: {error}", "model.json", "train the arm again") from None


def standardise(images: torch.Tensor, transform: Transform) -> torch.Tensor:
    """Standardise float images `(n, 1, h, w)` with values in 0..1, giving float32 `(n, channels, h, w)`."""
    if transform.standardise == "image":
        deviation, mean = torch.std_mean(images, dim=(1, 2, 3), keepdim=True, correction=0)
        # A blank image stays blank: without the floor it would become amplified rounding noise.
        images = (images - mean) / deviation.clamp_min(1e-3)
        return images.expand(-1, transform.channels, -1, -1)
    if transform.channels == 1:
        return (images - float(np.mean(IMAGENET_MEAN))) / float(np.mean(IMAGENET_STD))
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    deviation = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / deviation


def to_tensor(
    images: NDArray[np.uint8], transform: Transform, device: torch.device | str | None = None
) -> torch.Tensor:
    """What the network sees, for a batch of gray images.

    Parameters
    ----------
    images : uint8 array, shape (n, size, size)
        Array or memory map, gray 0..255.
    transform : Transform
        The one that the model was trained with.
    device : torch.device or str, optional
        Where the tensor is made; bytes travel there, not floats. The CPU when it is None.

    Returns
    -------
    float32 tensor, shape (n, channels, size, size), channels last in memory.

    Raises
    ------
    UserError
        When the array is not uint8 `(n, size, size)` with the transform's size.
    """
    check_images(images, transform)
    # A memory map is read-only, which torch does not know; one batch is a small copy.
    raw = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device or "cpu")
    pixels = standardise(raw.unsqueeze(1).float() / 255, transform)
    return pixels.contiguous(memory_format=torch.channels_last)


def check_images(images: NDArray[np.uint8], transform: Transform) -> None:
    """Refuse an array that is not uint8 `(n, size, size)`: a wrong intensity scale would score without complaint."""
    wanted = (transform.size, transform.size)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != wanted:
        raise UserError(
            f"images are {images.dtype} of shape {tuple(images.shape)}, not uint8 (n, {wanted[0]}, {wanted[1]})",
            "images",
            "load them with preprocessing.load_images, at the model's size",
        )


def load_images(
    paths: Sequence[Path | str], size: int, desc: str = "reading images", workers: int = 0
) -> NDArray[np.uint8]:
    """Read image files as gray, resized to `size`.

    Parameters
    ----------
    paths : sequence of path
        Image files of any size and format that `nbhelpers.images.files` reads.
    size : int
        Pixels along a side; the aspect ratio is not kept.
    desc : str
        Shown beside the progress bar.
    workers : int
        Threads; 0 is one per CPU core (decoding and resizing release Python's lock).

    Returns
    -------
    uint8 array, shape (n, size, size), in the order of `paths`.

    Raises
    ------
    UserError
        For the first file that is missing or broken, by name.
    """
    out = np.empty((len(paths), size, size), dtype=np.uint8)

    def read(item: tuple[int, Path | str]) -> None:
        index, path = item
        out[index] = resize_gray(read_gray(path), size)

    with ThreadPoolExecutor(workers or cpu_count()) as pool:
        try:
            for _ in progress(pool.map(read, enumerate(paths)), desc=desc, total=len(paths), unit="image"):
                pass
        except BaseException:
            # Otherwise the pool would read on to the end before the error is shown.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return out
