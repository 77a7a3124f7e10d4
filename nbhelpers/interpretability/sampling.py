"""The films that notebook 05 looks at: a sample of a data set at its networks' sizes, and what is true there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.films.cache import film_arrays
from nbhelpers.films.registry import FilmSet
from nbhelpers.runs.files import inside

Images = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FilmSample:
    """Some films of a set.

    Attributes
    ----------
    film_set : FilmSet
        Where they are from.
    films : DataFrame
        Their rows, numbered from 0.
    images : dict of int to uint8 array (n, size, size)
        Their pixels at each size that a network takes.
    crop : str
        The crop that was applied before resizing.
    """

    film_set: FilmSet
    films: pd.DataFrame
    images: dict[int, Images]
    crop: str

    @property
    def title(self) -> str:
        """What figures call the set; says when it is simulated."""
        title = self.film_set.title
        return f"{title} (simulated)" if self.film_set.simulated and "simulated" not in title.lower() else title

    @property
    def labels(self) -> NDArray[np.int64]:
        """1 for pneumonia, 0 for normal."""
        return self.films["label"].to_numpy(dtype=np.int64)


@dataclass(frozen=True)
class Truth:
    """What lies where: `lesion` and `lungs`, bool `(n, size, size)`, and on which films, bool `(n,)`, each is known."""

    lesion: Mask
    lesion_known: Mask
    lungs: Mask
    lungs_known: Mask


def sample_films(
    film_set: FilmSet,
    sizes: Iterable[int],
    n: int,
    seed: int = 0,
    crop: str = "none",
    workers: int = 0,
    only: pd.Series | None = None,
) -> FilmSample:
    """At most `n` films of a set, drawn without looking at labels, in the set's order.

    Parameters
    ----------
    film_set : FilmSet
        Films that cannot be read join its `excluded`.
    sizes : iterable of int
        Pixels along a side.
    n : int
        How many; 0 takes all.
    seed : int
        The same seed draws the same films, whatever the sizes.
    crop : str
        A method of `cropping`.
    workers : int
        Threads that decode what is not cached.
    only : Series, optional
        The `image_id` to draw from; a name that the set lacks is ignored.
    """
    arrays, kept = film_arrays(film_set, tuple(sizes), None, workers, crop)
    rows = np.arange(len(kept)) if only is None else np.flatnonzero(kept["image_id"].isin(only))
    if n and len(rows) > n:
        rows = np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
    images = {size: np.ascontiguousarray(array[rows]) for size, array in arrays.items()}
    return FilmSample(film_set, kept.iloc[rows].reset_index(drop=True), images, crop)


def truth_of(sample: FilmSample, size: int) -> Truth:
    """Lesions and lungs of a sample's films where they are known, as the network sees them.

    Simulated films bring masks (`truth_path`), RSNA films boxes (`boxes`); both go through the crop that the films
    went through. A pixel belongs to a structure that covers half of it or more.

    Returns
    -------
    Truth
        On films with pneumonia alone is a lesion known; of other sets nothing is.
    """
    n = len(sample.films)
    lesion, lungs = np.zeros((2, n, size, size), dtype=bool)
    lungs_known = np.zeros(n, dtype=bool)
    for row, film in enumerate(sample.films.to_dict("records")):
        if isinstance(film.get("truth_path"), str):
            lungs[row], lesion[row] = _simulated_truth(sample, film, size)
            lungs_known[row] = lungs[row].any()
        elif isinstance(film.get("boxes"), str):
            from nbhelpers.films.rsna import box_mask

            crop = _crop_box(sample, film)
            lesion[row] = box_mask(film["boxes"], int(film["width"]), int(film["height"]), size, crop)
    known = (sample.labels == 1) & lesion.any(axis=(1, 2))
    return Truth(lesion, known, lungs, lungs_known)


def _simulated_truth(sample: FilmSample, film: dict, size: int) -> tuple[Mask, Mask]:  # type: ignore[type-arg]
    from nbhelpers.simulator.film import read_truth

    lungs, lesion, _ = read_truth(inside(sample.film_set.root, film["truth_path"]))
    box = _crop_box(sample, film)
    return resize_mask(lungs, size, box), resize_mask(lesion, size, box)


def _crop_box(sample: FilmSample, film: dict) -> tuple[int, int, int, int] | None:  # type: ignore[type-arg]
    if sample.crop == "none":
        return None
    from nbhelpers.cropping.crop import crop_box

    path: Path = inside(sample.film_set.root, film["path"])
    left, top, right, bottom = crop_box(sample.film_set.read(path), sample.crop)
    return left, top, right, bottom


def resize_mask(mask: Mask, size: int, box: tuple[int, int, int, int] | None = None) -> Mask:
    """A mask `(h, w)`, cut to `box` (left, top, right, bottom) and brought to `(size, size)`.

    A pixel is kept when half of it or more is covered; of a structure too thin for that, its best covered pixels are.
    """
    if box is not None:
        left, top, right, bottom = box
        mask = mask[top:bottom, left:right]
    if mask.size == 0:
        raise UserError("the crop holds no pixel", "film_crop", "use another crop")
    shrinking = min(mask.shape) >= size
    covered = cv2.resize(
        mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    peak = float(covered.max())
    return covered >= min(0.5, peak) if peak > 0 else np.zeros((size, size), dtype=bool)
