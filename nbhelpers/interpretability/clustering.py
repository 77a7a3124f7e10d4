"""Do the films fall into two groups by themselves? UMAP and K-means on a network's features, against the labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from nbhelpers.errors import UserError

SPACES = ("umap", "features")
FEWEST_FILMS = 4  # UMAP needs neighbours to speak of
N_NEIGHBOURS = 15
_SPECTRAL_FROM = 20  # below this the eigenvectors that UMAP starts from are not to be had

Neighbours = tuple[NDArray[np.intp], NDArray[np.float32]]


class Clustering(NamedTuple):
    """K-means groups (0 or 1 a film), and how far they are the labels: accuracy under the best matching, and ARI."""

    assignments: NDArray[np.int64]
    accuracy: float
    ari: float


def _table_of_features(features: ArrayLike) -> NDArray[np.float32]:
    values = np.ascontiguousarray(features, dtype=np.float32)
    if values.ndim != 2 or len(values) < FEWEST_FILMS:
        raise UserError(f"features of shape {values.shape} cannot be clustered", "", f"{FEWEST_FILMS} films or more")
    if not np.isfinite(values).all():
        raise UserError("features hold NaN or infinity", "", "the training diverged: train the network again")
    return values


def nearest_neighbours(features: ArrayLike, n_neighbours: int = N_NEIGHBOURS) -> Neighbours:
    """Exact Euclidean neighbours: indices and distances, both `(n, k)`, each film its own first neighbour.

    They do not depend on a seed, so that they are found once for all embeddings of the same features.
    """
    values = _table_of_features(features)
    search = NearestNeighbors(n_neighbors=min(n_neighbours, len(values) - 1), algorithm="brute").fit(values)
    distances, indices = search.kneighbors(values)
    return indices, distances.astype(np.float32)


def embed_umap(features: ArrayLike, seed: int, neighbours: Neighbours | None = None) -> NDArray[np.float32]:
    """Two coordinates a film by UMAP (McInnes et al. 2018), float32 `(n, 2)`, the same for the same seed.

    UMAP's parameters are at its own defaults; there are fewer neighbours when there are fewer films. `neighbours`, from
    `nearest_neighbours` of the same features, save finding them again for another seed.

    Raises
    ------
    UserError
        Fewer than four films, or features that are not finite.
    """
    values = _table_of_features(features)
    indices, distances = neighbours or nearest_neighbours(values)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=ImportWarning)  # no TensorFlow: its part of UMAP is not used
        import umap  # numba compiles for seconds: only who embeds pays

        warnings.filterwarnings("ignore", message="precomputed_knn", module="umap")  # no new films are embedded here
        warnings.filterwarnings("ignore", message="Spectral initiali[sz]ation failed", module="umap")
        reducer = umap.UMAP(
            n_neighbors=indices.shape[1],
            init="spectral" if len(values) >= _SPECTRAL_FROM else "random",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(indices, distances),
        )
        return np.asarray(reducer.fit_transform(values), dtype=np.float32)


def best_matching(labels: ArrayLike, assignments: ArrayLike) -> tuple[dict[int, int], float]:
    """Which cluster stands for which label, so that most films agree, and the share of films that then do.

    The Hungarian algorithm on the contingency table; clusters may carry any integers. With two clusters the share is
    0.5 at least, and with unequal classes one large cluster alone reaches the share of the larger class.
    """
    counts = pd.crosstab(np.asarray(assignments), np.asarray(labels))
    rows, columns = linear_sum_assignment(counts, maximize=True)
    matching = {int(counts.index[row]): int(counts.columns[column]) for row, column in zip(rows, columns, strict=True)}
    return matching, float(counts.to_numpy()[rows, columns].sum() / counts.to_numpy().sum())


def cluster(features: ArrayLike, labels: ArrayLike, seed: int = 0) -> Clustering:
    """K-means with k = 2, and how well its groups are the labels.

    `features` `(n, d)` are penultimate features or their UMAP coordinates; `labels`, 0 or 1, serve for scoring alone;
    `seed` is of the ten starts of K-means.

    Returns
    -------
    Clustering
        `assignments` (n,) renamed by the best matching, so that cluster 1 is the one nearest to label 1; `accuracy`
        under that matching; `ari`, the adjusted Rand index (Hubert and Arabie 1985): 0 for chance, 1 for the labels.

    Raises
    ------
    UserError
        Fewer than four films, features that are not finite, or labels other than 0 and 1.
    """
    values = _table_of_features(features)
    truth = np.asarray(labels)
    if truth.shape != (len(values),) or not np.isin(truth, (0, 1)).all():
        raise UserError(f"labels of shape {truth.shape} do not fit {len(values)} films of label 0 or 1")
    raw = KMeans(n_clusters=2, n_init=10, random_state=seed).fit_predict(values)
    matching, accuracy = best_matching(truth, raw)
    # With one class only, one cluster has no label left: it takes the other number.
    spare = 1 - next(iter(matching.values()))
    assignments = np.array([matching.get(int(name), spare) for name in raw], dtype=np.int64)
    return Clustering(assignments, accuracy, float(adjusted_rand_score(truth, raw)))


def cluster_seeds(features: ArrayLike, labels: ArrayLike, seeds: Sequence[int]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """K-means on the features and on their UMAP coordinates, once for each seed.

    Returns
    -------
    table : DataFrame
        `space` (`umap` or `features`), `seed`, `accuracy`, `ari`: one row is one clustering.
    shown : dict
        Of the first seed, to draw: `coordinates` (n, 2), and the assignments (n,) by `space`.
    """
    values = _table_of_features(features)
    neighbours = nearest_neighbours(values)
    rows: list[dict[str, Any]] = []
    shown: dict[str, Any] = {}
    for seed in seeds:
        coordinates = embed_umap(values, seed, neighbours=neighbours)
        found = {"umap": cluster(coordinates, labels, seed), "features": cluster(values, labels, seed)}
        rows += [{"space": space, "seed": seed, "accuracy": c.accuracy, "ari": c.ari} for space, c in found.items()]
        if not shown:
            shown = {"coordinates": coordinates, **{space: c.assignments for space, c in found.items()}}
    return pd.DataFrame(rows), shown


def summarise_seeds(table: pd.DataFrame, space: str = "umap") -> pd.DataFrame:
    """Mean and spread over the seeds: one row per arm and data set.

    `table` holds `arm, dataset, n, prevalence, space, seed, accuracy, ari`; `space` is `umap` or `features`.

    Returns
    -------
    DataFrame
        `arm, dataset, space, n, prevalence, seeds`, then the mean of `accuracy` and `ari`, with `_sd` (of the sample;
        empty for one seed), `_low` and `_high` (smallest and largest), and `majority`, the accuracy of one big cluster.
    """
    if space not in SPACES:
        raise UserError(f"unknown space {space!r}", "clustering_space", f"one of {', '.join(SPACES)}")
    groups = table[table["space"] == space].groupby(["arm", "dataset"], sort=False)
    rows = []
    for (arm, dataset), group in groups:
        row = {"arm": arm, "dataset": dataset}
        for name in ("accuracy", "ari"):
            values = group[name]
            row |= {name: values.mean(), f"{name}_sd": values.std(ddof=1)}
            row |= {f"{name}_low": values.min(), f"{name}_high": values.max()}
        prevalence = float(group["prevalence"].iloc[0])
        row |= {"space": space, "seeds": len(group), "n": int(group["n"].iloc[0]), "prevalence": prevalence}
        rows.append(row | {"majority": max(prevalence, 1 - prevalence)})
    return pd.DataFrame(rows)


def compare_spaces(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy and ARI over the seeds where K-means is given UMAP's coordinates, or all features.

    `table` is that of `summarise_seeds`; the result has a row per arm and data set, and columns such as `ari_umap`.
    """
    wide = table.pivot_table(index=["arm", "dataset"], columns="space", values=["accuracy", "ari"], sort=False)
    wide.columns = ["_".join(pair) for pair in wide.columns.to_flat_index()]
    return wide.reset_index()
