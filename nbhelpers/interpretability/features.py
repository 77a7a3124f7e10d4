"""What a network makes of a film before it decides: its penultimate features, trained and not fine-tuned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.films.registry import FilmSet
from nbhelpers.interpretability.clustering import SPACES, cluster_seeds, compare_spaces, summarise_seeds
from nbhelpers.interpretability.sampling import FilmSample, sample_films
from nbhelpers.networks import checkpoints, models, scoring
from nbhelpers.networks.models import ModelDescription
from nbhelpers.runs import Stage
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.progress import progress
from nbhelpers.style import arm_title

NOT_FINE_TUNED = "not_fine_tuned"
_STARTS = {"imagenet": "ImageNet weights", "random": "random weights"}


@dataclass(frozen=True)
class Network:
    """A network of the run: an arm's, or the backbone as it was before fine-tuning."""

    name: str
    model: nn.Module
    description: ModelDescription
    fine_tuned: bool = True

    @property
    def title(self) -> str:
        """What figures call it."""
        if self.fine_tuned:
            return arm_title(self.name, self.description.simulated)
        return f"not fine-tuned, {_STARTS.get(self.description.init, 'given weights')}"

    @property
    def size(self) -> int:
        """Pixels along a side that it takes."""
        return self.description.transform.size


def load_networks(arms: Iterable[str], stage: Stage) -> dict[str, Network]:
    """Every arm's network, the user's own `checkpoints`, and the same backbone without fine-tuning, by name.

    The latter is built from what the arms' checkpoints say of themselves (backbone, initial weights, seed), so it is
    what their training started from: ImageNet weights, or random ones. Arms that started from different networks
    bring one each.

    Raises
    ------
    UserError
        When an arm is not trained, or has the name that is kept for the network without fine-tuning.
    """
    device = pick_device(stage.parameters.get("device", "auto")).name
    networks: dict[str, Network] = {}
    starts: dict[tuple[str, str, int, int], ModelDescription] = {}
    arms, own = list(arms), stage.parameters.get("checkpoints") or {}
    for arm in (*arms, *own):
        if arm.startswith(NOT_FINE_TUNED):
            raise UserError(f"an arm cannot be called {arm!r}", "arms", "the name is kept for the untrained network")
    for arm, folder in checkpoints.folders(arms, own, stage.run_folder).items():
        for name in checkpoints.FILES:
            stage.input(folder / name)
        model, description = models.load_checkpoint(folder, device)
        networks[arm] = Network(arm, model, description)
        transform = description.transform
        starts.setdefault((description.backbone, description.init, transform.size, transform.channels), description)
    for number, description in enumerate(starts.values()):
        name = NOT_FINE_TUNED if number == 0 else f"{NOT_FINE_TUNED}_{number + 1}"
        networks[name] = Network(name, untrained(description).to(device).eval(), description, fine_tuned=False)
    return networks


def untrained(description: ModelDescription, init: str | None = None, seed: int | None = None) -> nn.Module:
    """The network that a training started from; `init` and `seed` choose another start of the same backbone."""
    return models.build(
        description.backbone,
        description.init if init is None else init,
        description.transform.channels,
        description.seed if seed is None else seed,
        image_size=description.transform.size,
    )


def titles(things: Mapping[str, Any]) -> dict[str, str]:
    """What figures call networks, samples or data sets, by name."""
    return {name: thing.title for name, thing in things.items()}


def take_films(
    sets: Mapping[str, FilmSet], networks: Mapping[str, Network], n: int, seed: int = 0, crop: str = "none"
) -> dict[str, FilmSample]:
    """At most `n` films of every set at the sizes that the networks take, by the set's name; see `sample_films`."""
    sizes = {network.size for network in networks.values()}
    return {name: sample_films(film_set, sizes, n, seed, crop) for name, film_set in sets.items()}


def sample_table(samples: Mapping[str, FilmSample]) -> pd.DataFrame:
    """One row a data set: `dataset, title, simulated, films, taken, prevalence` (of what was taken)."""
    rows = []
    for name, sample in samples.items():
        row = {"dataset": name, "title": sample.title, "simulated": sample.film_set.simulated}
        rows.append(
            row | {"films": len(sample.film_set.kept()), "taken": len(sample.films), "prevalence": sample.labels.mean()}
        )
    return pd.DataFrame(rows)


def network_table(networks: Mapping[str, Network]) -> pd.DataFrame:
    """One row a network: `network, trained_on, crop, simulated, backbone, started_from, size`."""
    rows = []
    for name, network in networks.items():
        made = network.description
        arm = made.arm if network.fine_tuned else {}
        rows.append(
            {
                "network": name,
                "trained_on": arm.get("source", "nothing but its start"),
                "crop": arm.get("crop", ""),
                "simulated": made.simulated if network.fine_tuned else "",
                "backbone": made.backbone,
                "started_from": _STARTS.get(made.init, made.init),
                "size": network.size,
            }
        )
    return pd.DataFrame(rows)


def extract(
    network: Network, sample: FilmSample, device: Device | str = "auto", batch_size: int = 64
) -> NDArray[np.float32]:
    """Penultimate features of a sample's films, `(n, d)` float32: what the classifier is given, pooled."""
    images = sample.images[network.size]
    return scoring.features(network.model, images, network.description.transform, device, batch_size)


class Clusters(NamedTuple):
    """What `cluster_all` found.

    Attributes
    ----------
    seeds : DataFrame
        One row per network, data set, space and seed: `arm, dataset, n, prevalence, space, seed, accuracy, ari`.
    summary : DataFrame
        Mean and spread over the seeds in the chosen space: `clustering.summarise_seeds`.
    spaces : DataFrame
        The means in both spaces side by side: `clustering.compare_spaces`.
    embedding : DataFrame
        One row per network and film, of the first seed: `arm, dataset, image_id, label, umap_1, umap_2, cluster`, the
        cluster being that of K-means in the chosen space, numbered by the label that it matches best.
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
        embeddings.append(
            pd.DataFrame(
                {
                    "arm": network.name,
                    "dataset": dataset,
                    "image_id": sample.films["image_id"],
                    "label": sample.labels,
                    "umap_1": shown["coordinates"][:, 0],
                    "umap_2": shown["coordinates"][:, 1],
                    "cluster": shown[space],
                }
            )
        )
    found = pd.concat(clusterings, ignore_index=True)
    return Clusters(
        found, summarise_seeds(found, space), compare_spaces(found), pd.concat(embeddings, ignore_index=True)
    )
