"""Decoding an RSNA-shaped set beside a plain pydicom loop, and the share of scoring that waits for data.

    python benchmarks/bench_rsna.py [--films 200] [--score 96] [--backbone resnet50]

Films are simulated, 1024 x 1024 in JPEG baseline as the challenge's are. Figures are ratios measured in one run, the
two sides taken in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from films import rsna_fixture  # noqa: E402

from nbhelpers.films import rsna  # noqa: E402
from nbhelpers.films.cache import film_array  # noqa: E402
from nbhelpers.images.files import resize_gray  # noqa: E402
from nbhelpers.networks import models, scoring  # noqa: E402
from nbhelpers.networks.preprocessing import Transform  # noqa: E402

SIZE = 224


class TimedArray:
    """Stands for the cached array and adds up the time that fetching batches from it takes."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self.array, self.seconds = array, 0.0
        self.dtype, self.ndim, self.shape = array.dtype, array.ndim, array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, part: slice) -> NDArray[np.uint8]:
        start = time.perf_counter()
        batch = np.array(self.array[part])  # a copy, so that the pages are read here and not in the network
        self.seconds += time.perf_counter() - start
        return batch


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain_loop(paths: list[Path]) -> NDArray[np.uint8]:
    """What a notebook would do without this library."""
    return np.stack([resize_gray(pydicom.dcmread(path).pixel_array, SIZE) for path in paths])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=200)
    parser.add_argument("--score", type=int, default=96, help="films that the network scores")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NBHELPERS_DATA"], os.environ["NBHELPERS_OUTPUTS"] = folder, f"{folder}/outputs"
        print(f"{os.cpu_count()} cores; writing {chosen.films} films")
        rsna_fixture.write(Path(folder), n_films=chosen.films, odd=False)
        films = rsna.load({"rsna_cohort": "full"}, Path(folder))
        paths = [films.root / path for path in films.films["path"]]
        plain, cached, again = [], [], []
        for turn in range(chosen.rounds):
            cache = Path(folder) / f"cache{turn}"
            plain.append(seconds(lambda: plain_loop(paths)))
            cached.append(seconds(lambda cache=cache: film_array(films, SIZE, cache)))
            again.append(seconds(lambda cache=cache: film_array(films, SIZE, cache)))
        array, _ = film_array(films, SIZE, cache)
        same = int(np.abs(array.astype(int) - plain_loop(paths)).max())
        rates = {name: len(paths) / statistics.median(times) for name, times in (("p", plain), ("c", cached))}
        print(f"plain pydicom loop    {rates['p']:8.0f} films/s")
        print(f"film_array, first     {rates['c']:8.0f} films/s, {rates['c'] / rates['p']:.2f} x")
        ratio = statistics.median(plain) / statistics.median(again)
        print(f"film_array, again     {statistics.median(again) * 1e3:8.1f} ms for all, {ratio:.0f} x")
        print(f"largest difference from the plain loop: {same} of 255")
        headers = seconds(lambda: rsna.load({"rsna_cohort": "full"}, Path(folder)))
        print(f"loading the set again {headers * 1e3:8.1f} ms, headers from the cache")

        model = models.build(chosen.backbone, "random", seed=0)
        transform = Transform(SIZE)
        timed = TimedArray(array[: chosen.score])
        scoring.predict(model, np.asarray(array[:8]), transform)
        total = seconds(lambda: scoring.predict(model, timed, transform, batch_size=32))  # type: ignore[arg-type]
        per_film = total / len(timed)
        decode = 1 / rates["c"]
        print(f"scoring, {chosen.backbone}@{SIZE}  {1 / per_film:8.0f} films/s")
        print(f"waiting for data, array cached           {timed.seconds / total:7.2%} of scoring")
        print(f"waiting for data, first arm (decoding)   {decode / (decode + per_film):7.2%} of decoding and scoring")


if __name__ == "__main__":
    main()
