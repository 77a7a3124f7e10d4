"""Bootstrap distributions of AUROC and AUPR, by films or by patients, at the speed of one cumulative sum a resample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbhelpers.errors import UserError

# Films times resamples worked on at once: larger arrays leave the processor's cache, smaller ones pay for the calls.
CACHED = 16_384

Floats = NDArray[np.float64]
Weights = NDArray[np.int64]


class Distribution(NamedTuple):
    """Both metrics of every resample: float64 arrays of shape `(n_resamples,)`."""

    auroc: Floats
    aupr: Floats


def checked_labels(y_true: ArrayLike) -> NDArray[np.int64]:
    """Labels as int64 0 or 1, both present; anything else is a `UserError`."""
    labels = np.asarray(y_true)
    if labels.ndim != 1 or labels.size == 0:
        raise UserError(f"labels have shape {labels.shape}", "y_true", "give one label a film, in one dimension")
    try:
        numbers = labels.astype(np.float64)
    except (TypeError, ValueError):
        raise UserError("labels are not numbers", "y_true", "use 0 for normal and 1 for pneumonia") from None
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise UserError("labels other than 0 and 1", "y_true", "use 0 for normal and 1 for pneumonia")
    if numbers.min() == numbers.max():
        raise UserError(f"all {labels.size} films have label {numbers[0]:.0f}", "y_true", "both classes are needed")
    return numbers.astype(np.int64)


def checked_scores(y_score: ArrayLike, n: int, where: str = "y_score") -> Floats:
    """Scores as float64 of shape `(n,)`, all finite; anything else is a `UserError`."""
    try:
        scores = np.asarray(y_score, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError("scores are not numbers", where, "give one number a film") from None
    if scores.shape != (n,):
        raise UserError(f"{n} labels but scores of shape {scores.shape}", where, "give one score a film, in its order")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise UserError(
            f"{bad.size} of {n} scores are NaN or infinite, the first at position {bad[0]}",
            where,
            "score those films again, or leave them out and say so",
        )
    return scores


def group_codes(groups: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Group numbers `0 .. n_groups - 1`, one a film; a film without a group (None, NaN) is a group of its own."""
    if groups is None:
        return np.arange(n)
    names = pd.Series(groups).reset_index(drop=True)
    if len(names) != n:
        raise UserError(f"{n} labels but {len(names)} groups", "groups", "give one patient a film, in its order")
    codes, found = pd.factorize(names)
    alone = codes < 0
    codes[alone] = len(found) + np.arange(int(alone.sum()))
    return codes.astype(np.int64)


@dataclass(frozen=True)
class Ranking:
    """Films in order of falling score, prepared so that a weight a film gives AUROC and AUPR in a single pass.

    Only scores at which a positive film stands enter either metric; `mixed` are those that negatives share.
    """

    order: NDArray[np.int64]
    positive_order: NDArray[np.int64]
    ends: NDArray[np.int64]
    positive_ends: NDArray[np.int64]
    mixed: NDArray[np.int64]
    mixed_starts: NDArray[np.int64]
    distinct: bool

    @classmethod
    def of(cls, labels: NDArray[np.int64], scores: Floats) -> Ranking:
        """Sort once: labels 0/1 and finite scores, both of shape `(n,)`."""
        order = np.argsort(-scores, kind="stable")
        ranked, positive = scores[order], labels[order] == 1
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        starts = np.insert(ends[:-1] + 1, 0, 0)
        positives_until = np.cumsum(positive)
        count = np.diff(positives_until[ends], prepend=0)
        held = count > 0
        mixed = held & (count < ends - starts + 1)
        return cls(
            order=order,
            positive_order=order[positive],
            ends=ends[held],
            positive_ends=np.cumsum(count[held]) - 1,
            mixed=np.flatnonzero(mixed[held]),
            mixed_starts=starts[mixed],
            distinct=bool((count[held] == 1).all()),
        )

    def metrics(self, weights: Weights | Floats) -> Distribution:
        """AUROC and average precision under each row of `weights` `(rows, n)`; both classes must keep weight in each.

        AUROC is the Mann-Whitney statistic with ties counted half; average precision is the sum of precision times
        the step in recall over distinct scores, without interpolation: both as scikit-learn has them.
        """
        total = np.cumsum(weights.take(self.order, axis=1), axis=1)
        until = total.take(self.ends, axis=1)
        gained = weights.take(self.positive_order, axis=1)
        true = np.cumsum(gained, axis=1)
        positives = true[:, -1].astype(np.float64)
        negatives = total[:, -1] - positives
        if not self.distinct:
            true = true.take(self.positive_ends, axis=1)
            gained = np.diff(true, axis=1, prepend=0)
        steps = gained.astype(np.float64)
        # With whole weights these are sums of whole numbers below 2**53: exact in float64.
        above = np.einsum("rg,rg->r", steps, (until - true).astype(np.float64))
        if self.mixed.size:
            first = self.order.take(self.mixed_starts)
            before = total.take(self.mixed_starts, axis=1) - weights.take(first, axis=1)
            held = gained.take(self.mixed, axis=1)
            tied = until.take(self.mixed, axis=1) - before - held
            above -= 0.5 * np.einsum("rg,rg->r", held.astype(np.float64), tied.astype(np.float64))
        # Where nothing has been drawn yet `until` is 0, and so is the step: any divisor will do.
        precision = true / np.maximum(until, 1 if until.dtype.kind == "i" else np.finfo(np.float64).tiny)
        return Distribution(1.0 - above / (positives * negatives), np.einsum("rg,rg->r", steps, precision) / positives)


def resample_weights(
    y_true: ArrayLike, groups: ArrayLike | None = None, n_resamples: int = 2000, seed: int = 0
) -> Iterator[Weights]:
    """The resamples of a plain bootstrap, one by one: how often each film is drawn, int64 `(n,)`.

    Films are drawn with replacement or, with `groups`, whole groups (patients) are, as many as there are; neither is
    stratified by class, so that prevalence varies as it does between samples. A resample that holds one class only
    has no AUROC and is drawn again. `np.repeat(np.arange(n), weights)` gives a resample's films.

    Raises
    ------
    UserError
        For labels other than 0 and 1, one class only, lengths that differ, or one group only.
    """
    for block in weight_blocks(checked_labels(y_true), groups, n_resamples, seed):
        yield from block


def weight_blocks(
    labels: NDArray[np.int64], groups: ArrayLike | None, n_resamples: int, seed: int
) -> Iterator[Weights]:
    """The rows of `resample_weights`, several at a time."""
    codes = group_codes(groups, len(labels))
    n_groups = int(codes.max()) + 1
    if n_resamples < 1:
        raise UserError(f"{n_resamples} resamples", "n_resamples", "2000 are usual")
    if n_groups == 1:
        raise UserError("all films belong to one group", "groups", "at least two patients are needed")
    generator = np.random.Generator(np.random.SFC64(seed))
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    rows = max(1, CACHED // len(labels))
    left = n_resamples
    while left:
        drawn = generator.integers(0, n_groups, size=(min(rows, left), n_groups))
        drawn += n_groups * np.arange(len(drawn))[:, None]
        weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        if groups is not None:
            weights = weights.take(codes, axis=1)
        kept = weights.take(positive, axis=1).any(axis=1) & weights.take(negative, axis=1).any(axis=1)
        if not kept.all():
            weights = weights[kept]
        left -= len(weights)
        yield weights


def interval_groups(patients: pd.Series) -> tuple[pd.Series | None, str]:
    """The patients to resample, and what the interval's method is called.

    `bootstrap_patient` where patients are known; `bootstrap_image`, with None, where none is. Where all films are of
    one patient it is `too_few`: neither that patient nor the films tell how the next patient would do.
    """
    if patients.isna().all():
        return None, "bootstrap_image"
    several = len(np.unique(group_codes(patients, len(patients)))) > 1
    return patients, "bootstrap_patient" if several else "too_few"


def bootstrap_distribution(
    y_true: ArrayLike,
    scores: Sequence[ArrayLike],
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[Distribution]:
    """AUROC and AUPR of several scores on the same resamples, one `Distribution` a score, in order.

    See `resample_weights` for what is drawn and what is refused, and `Ranking.metrics` for the two formulas.
    """
    labels = checked_labels(y_true)
    rankings = [Ranking.of(labels, checked_scores(score, len(labels))) for score in scores]
    found = np.empty((len(rankings), 2, n_resamples))
    done = 0
    for weights in weight_blocks(labels, groups, n_resamples, seed):
        for row, ranking in enumerate(rankings):
            found[row, :, done : done + len(weights)] = ranking.metrics(weights)
        done += len(weights)
    return [Distribution(auroc, aupr) for auroc, aupr in found]


def distributions(
    y_true: ArrayLike, scores: Sequence[ArrayLike], groups: ArrayLike | None, method: str, n_resamples: int, seed: int
) -> list[Distribution]:
    """`bootstrap_distribution` with what `interval_groups` gives; NaN where that is `too_few`."""
    if method == "too_few":
        return [Distribution(np.full(n_resamples, np.nan), np.full(n_resamples, np.nan)) for _ in scores]
    return bootstrap_distribution(y_true, scores, groups, n_resamples, seed)


def metrics_of(y_true: ArrayLike, y_score: ArrayLike) -> tuple[float, float]:
    """AUROC and average precision of one score on all films."""
    labels = checked_labels(y_true)
    ranking = Ranking.of(labels, checked_scores(y_score, len(labels)))
    found = ranking.metrics(np.ones((1, len(labels)), np.int64))
    return float(found.auroc[0]), float(found.aupr[0])


def bootstrap_means(
    values: ArrayLike, groups: Sequence[Any] | pd.Series | None = None, n_resamples: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """Bootstrap distributions of column means: `(n_resamples, columns)`, all columns on the same resamples.

    Of `values` `(n, columns)` NaN does not count; a resample without any value of a column is NaN there. With `groups`
    whole groups (patients) are drawn; a film without one is a group of its own.
    """
    table = np.asarray(values, dtype=np.float64)
    codes = group_codes(groups, len(table))
    n_groups = int(codes.max()) + 1 if len(codes) else 0
    finite = np.isfinite(table)
    sums, counts = np.zeros((n_groups, table.shape[1])), np.zeros((n_groups, table.shape[1]))
    np.add.at(sums, codes, np.where(finite, table, 0.0))
    np.add.at(counts, codes, finite.astype(np.float64))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples).astype(np.float64)
    total = drawn @ counts
    return np.divide(drawn @ sums, total, out=np.full(total.shape, np.nan), where=total > 0)
