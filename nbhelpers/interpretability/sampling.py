"""The films that notebook 05 looks at: a sample of a data set at its networks' sizes, and what is true there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.films.cache import BOX, film_arrays
from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.masks import Box, Mask
from nbhelpers.style import marked

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class FilmSample:
    """Some films of a set: their rows, numbered from 0, and their pixels at each size that a network takes."""

    film_set: FilmSet
    films: pd.DataFrame
    images: dict[int, Images]
    crop: str

    @property
    def title(self) -> str:
        """What figures call the set; says when it is simulated."""
        return marked(self.film_set.title, self.film_set.simulated)

    @property
    def labels(self) -> NDArray[np.int64]:
        """1 for pneumonia, 0 for normal."""
        return self.films["label"].to_numpy(dtype=np.int64)


@dataclass(frozen=True)
class Truths:
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

    `sizes`, `crop` and `workers` are as in `films.cache.film_array`; `n` of 0 takes all. The same seed draws the same
    films, whatever the sizes. `only` holds the `image_id` to draw from; a name that the set lacks is ignored.
    """
    arrays, kept = film_arrays(film_set, tuple(sizes), None, workers, crop)
    rows = np.arange(len(kept)) if only is None else np.flatnonzero(kept["image_id"].isin(only))
    if n and len(rows) > n:
        rows = np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
    images = {size: np.ascontiguousarray(array[rows]) for size, array in arrays.items()}
    return FilmSample(film_set, kept.iloc[rows].reset_index(drop=True), images, crop)


def truth_of(sample: FilmSample, size: int) -> Truths:
    """Lesions and lungs of a sample's films where they are known, as the network sees them.

    What is true goes through the crop that the films went through (`FilmSet.truth`). On films with pneumonia alone is a
    lesion known; of sets without truth nothing is.
    """
    n = len(sample.films)
    lesion, lungs = (np.zeros((n, size, size), dtype=bool) for _ in range(2))
    for row, film in enumerate(sample.films.to_dict("records")):
        if sample.film_set.truth is None:
            break
        known = sample.film_set.truth(
            {str(name): value for name, value in film.items()}, size, Box(*(int(film[side]) for side in BOX))
        )
        if known.lesion is not None:
            lesion[row] = known.lesion
        if known.lungs is not None:
            lungs[row] = known.lungs
    positive = sample.labels == 1
    return Truths(lesion, positive & np.asarray(lesion.any(axis=(1, 2))), lungs, np.asarray(lungs.any(axis=(1, 2))))
