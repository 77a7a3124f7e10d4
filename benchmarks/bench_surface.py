"""HD95 of two masks against MedPy and MONAI: `python benchmarks/bench_surface.py [--repeats 5]`.

CPU time of one thread, median, of a blob in 352 pixels and a tree of vessels in 2,048: each as a good model draws it,
and against another one, where no outline is shared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def milliseconds(ways: dict[str, Callable[[], float]], repeats: int) -> dict[str, tuple[float, float]]:
    """Value and median CPU time of each way, all in turn, so that a busy machine slows them alike."""
    values, taken = {name: work() for name, work in ways.items()}, {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            work()  # a first call after another's finds the caches full of that
            for _ in range(3):
                start = time.process_time()
                work()
                taken[name].append((time.process_time() - start) * 1000)
    return {name: (values[name], statistics.median(taken[name])) for name in ways}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats

    import medpy.metric.binary
    import monai.metrics
    import torch
    from metrics.mask_fixture import as_drawn, blob, vessel_tree

    from nbhelpers.metrics.surface import surfaces

    torch.set_num_threads(1)
    pairs = {
        "blob 352": (as_drawn(blob(352, 1), 1), blob(352, 1)),
        "ragged blob": (as_drawn(blob(352, 3), 5), blob(352, 3)),
        "two blobs": (blob(352, 1), blob(352, 2)),
        "vessels 2048": (as_drawn(vessel_tree(2048, 1), 1), vessel_tree(2048, 1)),
        "two trees": (vessel_tree(2048, 1), vessel_tree(2048, 2)),
    }
    for name, (mask, truth) in pairs.items():
        tensors = [torch.from_numpy(values)[None, None].float() for values in (mask, truth)]

        def monai_hd95(both: list[torch.Tensor] = tensors) -> float:
            return float(monai.metrics.compute_hausdorff_distance(*both, include_background=True, percentile=95)[0, 0])

        ways: dict[str, Callable[[], float]] = {
            "ours, directed": lambda a=mask, b=truth: surfaces(a, b).hd95(),
            "MONAI, directed": monai_hd95,
            "ours, pooled": lambda a=mask, b=truth: surfaces(a, b).hd95("pooled"),
            "MedPy, pooled": lambda a=mask, b=truth: float(medpy.metric.binary.hd95(a, b)),
        }
        found = milliseconds(ways, repeats if len(mask) > 1000 else 10 * repeats)
        for way, (value, taken) in found.items():
            print(f"{name:13} {way:16} {value:9.4f} px {taken:9.2f} ms")
        for ours, theirs in (("ours, directed", "MONAI, directed"), ("ours, pooled", "MedPy, pooled")):
            print(f"{name:13} {theirs.split(',')[0]:6} / ours = {found[theirs][1] / found[ours][1]:.1f}")


if __name__ == "__main__":
    main()
