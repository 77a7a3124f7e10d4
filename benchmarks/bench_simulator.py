"""Simulated films a second, for one and two processes, drawn interleaved; what two draw must equal what one draws.

Run as `python benchmarks/bench_simulator.py [films]`.
"""

import hashlib
import sys
import time

import numpy as np
import pandas as pd

from nbhelpers.simulator.film import CHOICES, draw_films

ROUNDS = 3


def mixed_design(films: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [{name: str(rng.choice(levels)) for name, levels in CHOICES.items()} for _ in range(films)]
    seeds = rng.integers(2**31, size=(2, films))
    return pd.DataFrame(rows).assign(devices="ecg_leads", pair_seed=seeds[0], seed=seeds[1])


def draw(design: pd.DataFrame, size: int, physics: str, workers: int) -> tuple[float, str]:
    digest = hashlib.sha256()
    films = draw_films(design, physics, size, workers)
    digest.update(next(films).image.tobytes())  # the processes have started
    start = time.perf_counter()
    for film in films:
        digest.update(film.image.tobytes())
    return (len(design) - 1) / (time.perf_counter() - start), digest.hexdigest()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    print("films a second, everything but the disk; the best of", ROUNDS, "rounds")
    for physics, size in (("nano_banana", 256), ("roentgen", 512), ("hospital_a", 256)):
        design = mixed_design(count if size < 512 else count // 3)
        best, digests = {1: 0.0, 2: 0.0}, set()
        for _ in range(ROUNDS):
            for workers in best:
                speed, digest = draw(design, size, physics, workers)
                best[workers] = max(best[workers], speed)
                digests.add(digest)
        same = "same films" if len(digests) == 1 else "FILMS DIFFER"
        print(
            f"{physics:12} {size:4} px   1 process {best[1]:6.1f}   2 processes {best[2]:6.1f}"
            f"   ratio {best[2] / best[1]:.2f}   {same}"
        )


if __name__ == "__main__":
    main()
