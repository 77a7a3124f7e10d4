"""Bootstrap of AUROC and AUPR against the scikit-learn loop: time, and agreement on the same resamples. DeLong: time.

python benchmarks/bench_bootstrap.py [--films 14863] [--resamples 2000] [--compared 100]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from nbhelpers import metrics


def cohort(films: int, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random(films) < 0.4).astype(int)
    scores = 1 / (1 + np.exp(-generator.normal(1.6 * labels - 0.8)))
    return labels, np.round(scores, 2) if ties else scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=14_863)
    parser.add_argument("--resamples", type=int, default=2_000, help="resamples of ours, over all rounds")
    parser.add_argument(
        "--compared", type=int, default=100, help="resamples that scikit-learn repeats, over all rounds"
    )
    parser.add_argument("--rounds", type=int, default=10, help="the two take turns this many times")
    arguments = parser.parse_args()
    worst = 0.0
    for ties in (False, True):
        labels, scores = cohort(arguments.films, ties=ties)
        weights = metrics.resample_weights(labels, n_resamples=arguments.compared)
        films = [np.repeat(np.arange(len(labels)), row) for row in weights]
        share = arguments.resamples // arguments.rounds
        ours, theirs, reference = [], [], []
        for turn in range(arguments.rounds):
            start = time.perf_counter()
            metrics.bootstrap_ci(labels, scores, n_resamples=share, seed=turn)
            ours.append((time.perf_counter() - start) / share)
            mine = films[turn :: arguments.rounds]
            start = time.perf_counter()
            found = [(roc_auc_score(labels[i], scores[i]), average_precision_score(labels[i], scores[i])) for i in mine]
            theirs.append((time.perf_counter() - start) / len(mine))
            reference += list(zip(range(turn, len(films), arguments.rounds), found, strict=True))
        (distribution,) = metrics.bootstrap_distribution(labels, [scores], n_resamples=arguments.compared)
        expected = np.array([pair for _, pair in sorted(reference)])
        worst = max(worst, float(np.abs(np.stack(distribution, axis=1) - expected).max()))
        mine, other = float(np.median(ours)), float(np.median(theirs))
        print(
            f"{arguments.films} films, {'scores in hundredths' if ties else 'distinct scores'}: "
            f"nbhelpers {mine * 1e3:.3f} ms, scikit-learn {other * 1e3:.2f} ms a resample, ratio {other / mine:.0f}x "
            f"(all {arguments.resamples}: {mine * arguments.resamples:.2f} s, {other * arguments.resamples:.1f} s)"
        )
    times = []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        metrics.delong_test(labels, scores, np.roll(scores, 1))
        times.append(time.perf_counter() - start)
    print(f"paired DeLong, {arguments.films} films: {np.median(times) * 1e3:.1f} ms")
    print(f"largest difference on the same resamples: {worst:.1e} {'ok' if worst < 1e-9 else 'WRONG'}")


if __name__ == "__main__":
    main()
