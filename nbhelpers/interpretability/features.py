"""What a network makes of a film before it decides: its penultimate features, trained and not fine-tuned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet
from nbhelpers.interpretability.clustering import SPACES, cluster_seeds, compare_spaces, summarise_seeds
from nbhelpers.interpretability.sampling import FilmSample, sample_films
from nbhelpers.networks.features import embed
from nbhelpers.networks.trained import Network
from nbhelpers.runs.devices import Device
from nbhelpers.runs.progress import progress


def take_films(
    sets: Mapping[str, FilmSet], networks: Mapping[str, Network], n: int, seed: int = 0, crop: str = "none"
) -> dict[str, FilmSample]:
    """At most `n` films of every set at the sizes that the networks take, by the set's name; see `sample_films`."""
    sizes = {network.size for network in networks.values()}
    return {name: sample_films(film_set, sizes, n, seed, crop) for name, film_set in sets.items()}


def sample_table(samples: Mapping[str, FilmSample]) -> pd.DataFrame:
    """One row a data set: `dataset, title, simulated, films, taken, prevalence` (of what was taken)."""
    rows = [
        {
            "dataset": name,
            "title": sample.title,
            "simulated": sample.film_set.simulated,
            "films": len(sample.film_set.kept()),
            "taken": len(sample.films),
            "prevalence": sample.labels.mean(),
        }
        for name, sample in samples.items()
    ]
    return pd.DataFrame(rows)


def extract(
    network: Network, sample: FilmSample, device: Device | str = "auto", batch_size: int = 64
) -> NDArray[np.float32]:
    """Penultimate features of a sample's films, `(n, d)` float32: what the classifier is given, pooled."""
    images = sample.images[network.size]
    return embed(network.model, images, network.description.transform, device, batch_size)


class Clusters(NamedTuple):
    """What `cluster_all` found.

    `seeds` has a row per network, data set, space and seed: `arm, dataset, n, prevalence, space, seed, accuracy, ari`;
    `summary` is `clustering.summarise_seeds` of it in the chosen space, `spaces` its `clustering.compare_spaces`.
    `embedding` has a row per network and film, of the first seed: `arm, dataset, image_id, label, umap_1, umap_2,
    cluster`, the cluster being that of K-means in the chosen space, numbered by the label that it matches best.
    """

    seeds: pd.DataFrame
    summary: pd.DataFrame
    spaces: pd.DataFrame
    embedding: pd.DataFrame


def cluster_all(
    networks: Mapping[str, Network],
    samples: Mapping[str, FilmSample],
    seeds: Iterable[int],
    space: str = "umap",
    device: Device | str = "auto",
    batch_size: int = 64,
) -> Clusters:
    """UMAP and K-means of every network's features on every data set, over several seeds.

    Raises
    ------
    UserError
        For no seed, an unknown space, or fewer than four films.
    """
    seeds = list(seeds)
    if not seeds:
        raise UserError("no seed to cluster with", "clustering_seeds", "use 1 or more; 5 show the spread")
    if space not in SPACES:
        raise UserError(f"unknown space {space!r}", "clustering_space", f"one of {', '.join(SPACES)}")
    clusterings, embeddings = [], []
    pairs = [(network, name) for name in samples for network in networks.values()]
    for network, dataset in progress(pairs, desc="features, UMAP, K-means", unit="network"):
        sample = samples[dataset]
        values = extract(network, sample, device, batch_size)
        table, shown = cluster_seeds(values, sample.labels, seeds)
        about = {"arm": network.name, "dataset": dataset, "n": len(values), "prevalence": sample.labels.mean()}
        clusterings.append(pd.DataFrame(about, index=table.index).join(table))
        umap_1, umap_2 = shown["coordinates"].T
        films = {"arm": network.name, "dataset": dataset, "image_id": sample.films["image_id"], "label": sample.labels}
        embeddings.append(pd.DataFrame({**films, "umap_1": umap_1, "umap_2": umap_2, "cluster": shown[space]}))
    found = pd.concat(clusterings, ignore_index=True)
    return Clusters(
        found, summarise_seeds(found, space), compare_spaces(found), pd.concat(embeddings, ignore_index=True)
    )
