"""What choosing the hardest and easiest cases does to a comparison, and the swap test that tells it from robustness.

a is the specialist, b the omnimodel. Cases that tie at the edge of a selection share its remaining places equally, so
that no order of the files decides: a selection is a set of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.metrics.bootstrap import group_codes
from nbhelpers.segmentation.evaluation import COVARIATES, interval_of, wide

Floats = NDArray[np.float64]

A, B, THIRD = "specialist", "omnimodel", "third"
ENDS = {"a": A, "b": B}
# How hard a case is by a selection: low is hard. Each takes both models' Dice.
BY_SCORES = {"specialist": (1.0, 0.0), "omnimodel": (0.0, 1.0), "mean": (0.5, 0.5)}


def selected(ease: Floats, share: float, extreme: str, weights: Floats | None = None) -> Floats:
    """Weights of the hardest (or easiest) `share` of the cases, float64 `(rows, n)`, each row summing to its count.

    Parameters
    ----------
    ease : (rows, n) or (n,)
        Low is hard; NaN is never chosen.
    share : float
        Of the cases, at least one is chosen.
    extreme : str
        `hard` or `easy`.
    weights : (rows, n), optional
        How often each case is there, as in a bootstrap resample.
    """
    key = np.atleast_2d(np.where(extreme == "hard", ease, -np.asarray(ease, dtype=np.float64)))
    there = np.ones_like(key) if weights is None else np.atleast_2d(weights)
    key, there = np.broadcast_arrays(key, there)
    there = np.where(np.isnan(key), 0.0, there)
    count = np.maximum(np.round(share * there.sum(1)), 1.0)[:, None]
    order = np.argsort(key, axis=1, kind="stable")
    ranked = np.cumsum(np.take_along_axis(there, order, 1), axis=1)
    place = np.minimum((ranked < count).sum(1, keepdims=True), key.shape[1] - 1)
    edge = np.take_along_axis(np.take_along_axis(key, order, 1), place, 1)
    surely, tied = (key < edge) * there, (key == edge) * there
    left = count - surely.sum(1, keepdims=True)
    return surely + tied * left / np.maximum(tied.sum(1, keepdims=True), 1e-12)


def means(values: Floats, weights: Floats) -> Floats:
    """Mean of the values `(n,)` or `(rows, n)` under each row of weights."""
    return np.asarray((weights * values).sum(1) / weights.sum(1))


def swap_test(
    a: Floats, b: Floats, by: tuple[float, float] | Floats, share: float, extreme: str, swaps: int, seed: int
) -> tuple[float, float, float]:
    """Observed difference b - a on a selection, what two exchangeable models would show, and p.

    In each of `swaps` rounds the two models' scores are exchanged in every case with probability one half, and the
    cases chosen anew. p is the share of rounds with a difference as large as the observed or larger (one-sided: "b is
    better on these than choosing them explains"), counted with the observed one.

    Parameters
    ----------
    a, b : (n,)
        Both models' Dice of the same cases.
    by : two weights, or (n,)
        How much each model's score counts in the choice; or a covariate, which a swap does not change.
    share, extreme
        As `selected` takes them.
    """
    exchanged = np.random.default_rng([seed, 75]).random((swaps, len(a))) < 0.5
    first, second = np.where(exchanged, b, a), np.where(exchanged, a, b)
    observed = _difference(a[None], b[None], by, share, extreme)[0]
    null = _difference(first, second, by, share, extreme)
    p = (1 + int((null >= observed - 1e-12).sum())) / (1 + swaps)
    return float(observed), float(null.mean()), p


def _ease(a: Floats, b: Floats, by: tuple[float, float] | Floats) -> Floats:
    return by[0] * a + by[1] * b if isinstance(by, tuple) else np.broadcast_to(by, a.shape)


def _difference(a: Floats, b: Floats, by: tuple[float, float] | Floats, share: float, extreme: str) -> Floats:
    weights = selected(_ease(a, b, by), share, extreme)
    return means(b, weights) - means(a, weights)


def group_weights(groups: Sequence[str], n_resamples: int, seed: int) -> Floats:
    """How often each case is drawn when whole groups are, float64 `(n_resamples, n)`."""
    codes = group_codes(groups, len(groups))
    count = int(codes.max()) + 1
    drawn = np.random.default_rng([seed, 73]).multinomial(count, np.full(count, 1 / count), size=n_resamples)
    return drawn[:, codes].astype(np.float64)


def comparison_table(
    scores: pd.DataFrame,
    covariates: pd.DataFrame,
    threshold: int,
    share: float = 0.05,
    swaps: int = 2000,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """`comparison.csv`: the specialist (a) against the omnimodel (b), on all cases and on every selection.

    Intervals come from resamples of whole groups, in each of which the cases are chosen anew. `hd95_a` and `hd95_b`
    are means over the chosen cases.
    """
    rows = []
    for dataset in scores["dataset"].unique():
        table, hd95 = wide(scores, dataset, threshold), wide(scores, dataset, threshold, "hd95")
        groups = scores[scores["dataset"] == dataset].drop_duplicates("case").set_index("case")["group"]
        for name, by in _selections(table, covariates[covariates["dataset"] == dataset]).items():
            kept = np.ones(len(table), bool) if isinstance(by, tuple) else ~np.isnan(by)
            a, b = table.loc[kept, A].to_numpy(), table.loc[kept, B].to_numpy()
            used = by if isinstance(by, tuple) else by[kept]
            drawn = group_weights(groups[table.index[kept]].tolist(), n_resamples, seed)
            for extreme in ("all",) if name == "all" else ("hard", "easy"):
                row, weights = _compared(a, b, used, share, extreme, swaps, seed)
                resampled = drawn if extreme == "all" else selected(_ease(a, b, used), share, extreme, drawn)
                ends = interval_of(means(b, resampled) - means(a, resampled))
                row |= dict(zip(("ci_low", "ci_high"), ends, strict=True))
                row |= {f"hd95_{end}": means(hd95.loc[kept, who].to_numpy(), weights)[0] for end, who in ENDS.items()}
                rows.append({"dataset": dataset, "selection": name, **row})
    return pd.DataFrame(rows)


def _compared(
    a: Floats, b: Floats, by: tuple[float, float] | Floats, share: float, extreme: str, swaps: int, seed: int
) -> tuple[dict[str, object], Floats]:
    """Means of both models on a selection beside its swap test (`all` has none), and the selection's weights."""
    whole = extreme == "all"
    weights = np.ones((1, len(a))) if whole else selected(_ease(a, b, by), share, extreme)
    row: dict[str, object] = {"extreme": extreme, "n": round(weights.sum())}
    row |= {"mean_a": means(a, weights)[0], "mean_b": means(b, weights)[0], "difference": means(b - a, weights)[0]}
    null = (float("nan"),) * 2 if whole else swap_test(a, b, by, share, extreme, swaps, seed)[1:]
    return row | dict(zip(("swap_null", "swap_p"), null, strict=True)), weights


def _selections(table: pd.DataFrame, covariates: pd.DataFrame) -> dict[str, tuple[float, float] | Floats]:
    found: dict[str, tuple[float, float] | Floats] = {"all": (0.5, 0.5), **BY_SCORES}
    if THIRD in table:
        found[THIRD] = table[THIRD].to_numpy()
    own = covariates.set_index("case").reindex(table.index)
    for name, hard in COVARIATES.items():
        if name in own and own[name].min() < own[name].max():
            values = own[name].to_numpy(dtype=np.float64)
            found[name] = values if hard == "low" else -values
    return found


def seeds_table(scores: pd.DataFrame, threshold: int, share: float, swaps: int, seed: int) -> pd.DataFrame:
    """One network against itself: the specialist's first seed as a and each further one as b, chosen by either.

    No model is more robust than itself: what this shows is the selection alone.
    """
    rows = []
    for dataset in scores["dataset"].unique():
        table = wide(scores, dataset, threshold)
        for other in [name for name in table if str(name).startswith(f"{A}_seed_")]:
            a, b = table[A].to_numpy(), table[other].to_numpy()
            for name, by in (("first seed", (1.0, 0.0)), ("other seed", (0.0, 1.0))):
                for extreme in ("hard", "easy"):
                    row = _compared(a, b, by, share, extreme, swaps, seed)[0]
                    rows.append({"dataset": dataset, "other": other, "chosen by": name, **row})
    return pd.DataFrame(rows)


def curve_table(scores: pd.DataFrame, covariates: pd.DataFrame, threshold: int, bins: int = 5) -> pd.DataFrame:
    """The difficulty curve: mean Dice of both models by bins of a covariate, or of the third model's Dice."""
    rows = []
    for dataset in scores["dataset"].unique():
        table = wide(scores, dataset, threshold)
        own = covariates[covariates["dataset"] == dataset].set_index("case").reindex(table.index)
        measures: Mapping[str, pd.Series] = {name: own[name] for name in COVARIATES if name in own}
        if THIRD in table:
            measures = {THIRD: table[THIRD], **measures}
        for name, values in measures.items():
            known = values.dropna()
            if known.nunique() < 2 or (parts := pd.qcut(known, bins, labels=False, duplicates="drop")).nunique() < 2:
                continue
            for part in sorted(set(parts)):
                cases = parts.index[parts == part]
                row = {"dataset": dataset, "covariate": name, "bin": int(part), "n": len(cases)}
                row |= {"centre": float(known[cases].median())}
                rows.append(row | {"mean_a": table.loc[cases, A].mean(), "mean_b": table.loc[cases, B].mean()})
    return pd.DataFrame(rows)
