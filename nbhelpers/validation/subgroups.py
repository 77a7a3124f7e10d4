"""AUROC and AUPR by view, sex and age, and the AUROC that a shortcut through the view cannot buy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbhelpers.errors import UserError
from nbhelpers.metrics import Interval
from nbhelpers.metrics.bootstrap import (
    Ranking,
    checked_labels,
    checked_scores,
    group_codes,
    interval_groups,
    weight_blocks,
)
from nbhelpers.metrics.discrimination import METRICS, intervals_of_each
from nbhelpers.metrics.intervals import percentile_interval
from nbhelpers.validation.rows import COLUMNS, metric_row, side_by_side

AGE_EDGES = (0, 18, 40, 65, 200)  # years, upper end exclusive
AGE_NAMES = ("age 0-17", "age 18-39", "age 40-64", "age 65+")
SEXES = {"F": "female", "M": "male"}
FEW = 10  # films, or patients where they are known, of the rarer class below which an interval would be a pretence

Floats = NDArray[np.float64]


def members(films: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each subgroup of a table of films with its name and which rows it holds: `view AP`, `sex female`, `age 0-17`.

    A trait whose value is the same for all films makes no subgroup. Films where it is unknown are in none.
    """
    ages = pd.to_numeric(films["age"], errors="coerce")
    traits = {
        "view": films["view"].map(lambda value: f"view {value}", na_action="ignore"),
        "sex": films["sex"].map(lambda value: f"sex {SEXES.get(value, value)}", na_action="ignore"),
        "age": pd.Series(pd.cut(ages, AGE_EDGES, right=False, labels=list(AGE_NAMES)), dtype="object"),
    }
    for values in traits.values():
        ordered = (*AGE_NAMES, *sorted(set(values.dropna()) - set(AGE_NAMES)))
        names = [name for name in ordered if (values == name).any()]
        if len(names) > 1 or values.isna().any():
            for name in names:
                yield name, (values == name).to_numpy()


def metrics_table(predictions: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """AUROC and AUPR within each subgroup, in the columns of `metrics.csv`, and the view-adjusted AUROC.

    Intervals are by patients where they are known. A subgroup in which a class has fewer than 10 films, or 10 patients
    where these are known, is listed with its n and without a value (`too_few`), not left out. `view-adjusted` is
    `view_adjusted_auroc`, given where each class has as many of each view.
    """
    rows: list[dict[str, Any]] = []
    for dataset, part in predictions.groupby("dataset", sort=False):
        wide, films = side_by_side(part)
        scores = wide.to_numpy().T
        label = films["label"].to_numpy()
        for name, inside in members(films):
            found, method = _within(films[inside], list(scores[:, inside]), n_resamples, seed)
            for arm, intervals in zip(wide, found, strict=True):
                about = {"arm": arm, "dataset": dataset, "subgroup": name}
                for metric, interval in intervals.items():
                    rows.append(metric_row(about, metric, films[inside], interval, method, primary=True))
        if {"AP", "PA"} <= set(films["view"].dropna()):
            known = films["view"].isin(("AP", "PA")).to_numpy()
            kept = films[known]
            if min(_evidence(kept, ["view", "label"]).reindex(_ALL_VIEWS, fill_value=0)) >= FEW:
                patients, method = interval_groups(kept["patient_id"])
                for arm, score in zip(wide, scores, strict=True):
                    adjusted = view_adjusted_auroc(
                        label[known], score[known], kept["view"], patients, n_resamples, seed
                    )
                    about = {"arm": arm, "dataset": dataset, "subgroup": "view-adjusted"}
                    rows.append(metric_row(about, "auroc", kept, adjusted, method, primary=True))
    return pd.DataFrame(rows, columns=[*COLUMNS, "ci_method", "primary"])


_ALL_VIEWS = pd.MultiIndex.from_product([("AP", "PA"), (0, 1)])


def view_adjusted_auroc(
    y: ArrayLike,
    s: ArrayLike,
    view: ArrayLike,
    groups: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """AUROC with both classes reweighted to the same mix of views, and its 95 % bootstrap interval.

    Each film weighs P(view) / P(view | class), taken anew in every resample: the view then tells nothing of the label,
    and a score that only knows the view gets 0.5. Resamples in which a class lacks a view are left out.

    Raises
    ------
    UserError
        When one class has no film of one of the views.
    """
    labels = checked_labels(y)
    ranking = Ranking.of(labels, checked_scores(s, len(labels), "s"))
    codes = pd.factorize(pd.Series(view).reset_index(drop=True))[0]
    if (codes < 0).any() or len(codes) != len(labels):
        raise UserError("the view of some films is unknown", "view", "leave these films out")
    cells = codes * 2 + labels
    n_views = int(codes.max()) + 1
    shape = np.eye(2 * n_views)[cells]

    def reweighted(weights: NDArray[np.int64]) -> Floats:
        counts = (weights @ shape).reshape(len(weights), n_views, 2)
        whole = (counts > 0).all(axis=(1, 2))
        counts, weights = counts[whole], weights[whole]
        share = counts.sum(axis=2, keepdims=True) / counts.sum(axis=(1, 2), keepdims=True)
        factor = share * counts.sum(axis=1, keepdims=True) / counts
        return ranking.metrics(weights * factor.reshape(len(weights), 2 * n_views).take(cells, axis=1)).auroc

    value = reweighted(np.ones((1, len(labels)), dtype=np.int64))
    if not value.size:
        raise UserError("one class has no film of one of the views", "view", "there is nothing to adjust")
    spread = np.concatenate([reweighted(block) for block in weight_blocks(labels, groups, n_resamples, seed)])
    return Interval(float(value[0]), *percentile_interval(spread))


def _within(
    films: pd.DataFrame, scores: list[Floats], n_resamples: int, seed: int
) -> tuple[Sequence[Mapping[str, Interval]], str]:
    """The intervals of each score in one subgroup, by metric, and how they were made."""
    if min(_evidence(films, ["label"]).reindex((0, 1), fill_value=0)) < FEW:
        return [dict.fromkeys(METRICS, Interval(np.nan, np.nan, np.nan))] * len(scores), "too_few"
    patients, method = interval_groups(films["patient_id"])
    return intervals_of_each(films["label"], scores, patients, method, n_resamples, seed), method


def _evidence(films: pd.DataFrame, by: list[str]) -> pd.Series:
    """Patients in each cell of `by`; a film without one counts alone, so it is films where no patient is known."""
    patients = films.assign(patient=group_codes(films["patient_id"], len(films)))
    return patients.groupby(by)["patient"].nunique()
