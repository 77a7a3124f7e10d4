"""Which films stand in figure 4: the middle one of each cell of the confusion table, by rule and not by eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet
from nbhelpers.interpretability.grad_cam import Maps, find_layer, grad_cam_by_package, kind_of_map
from nbhelpers.interpretability.sampling import FilmSample, Truths, sample_films, truth_of
from nbhelpers.networks.preprocessing import to_tensor
from nbhelpers.networks.trained import Network

CELLS = {
    "true positive": (1, True),
    "false positive": (0, True),
    "false negative": (1, False),
    "true negative": (0, False),
}


@dataclass(frozen=True)
class Examples:
    """Films of figure 4 of one data set, with every arm's map.

    `films` has a row a film: `image_id, label, cell, n_cell`, and `score_<arm>` for every arm. `maps` are by arm,
    `(n, size, size)`, on the scale of the logit, only of networks with a spatial feature map; `without_map` names the
    other backbones and their sizes, `kinds` tells what each arm's map is. `missing` are cells without a film. `rule`
    tells whose score and which threshold made a film a positive. `title` and `titles` are what figures call the data
    set and each arm.
    """

    dataset: str
    title: str
    films: pd.DataFrame
    images: NDArray[np.uint8]
    maps: dict[str, Maps]
    truth: Truths
    missing: list[str]
    without_map: list[str]
    titles: dict[str, str]
    rule: str
    kinds: dict[str, str]


def frozen_threshold(metrics: pd.DataFrame, arm: str) -> float | None:
    """The arm's operating threshold, frozen on synthetic images, from `metrics.csv`; None where it has none."""
    if "threshold" not in metrics:
        return None
    known = metrics.loc[metrics["arm"] == arm, "threshold"].dropna()
    return float(known.iloc[0]) if len(known) else None


def choose_examples(
    predictions: pd.DataFrame, dataset: str, arm: str, threshold: float = 0.5, per_cell: int = 1
) -> tuple[pd.DataFrame, list[str]]:
    """The films in the middle of true and false positives and negatives, by the score of one arm.

    Within a cell films are ordered by score (then by `image_id`), and those nearest to the middle are taken: as many
    films of that cell are surer as are less sure. Nobody picks them.

    A score from `threshold` on is called pneumonia. Each cell gives `per_cell` films, fewer where there are fewer.

    Returns
    -------
    films : DataFrame
        `image_id, label, cell, n_cell` and `score_<arm>` of every arm, in the order of `CELLS`.
    missing : list of str
        Cells without a film.

    Raises
    ------
    UserError
        When there is no prediction of this arm on this data set.
    """
    here = predictions[predictions["dataset"] == dataset]
    decided = here[here["arm"] == arm].sort_values(["score", "image_id"])
    if decided.empty:
        raise UserError(f"no prediction of arm {arm!r} on {dataset!r}", "predictions.csv", "run notebook 04 again")
    chosen, missing = [], []
    for cell, (label, called) in CELLS.items():
        films = decided[(decided["label"] == label) & ((decided["score"] >= threshold) == called)]
        if films.empty:
            missing.append(cell)
            continue
        start = max((len(films) - per_cell) // 2, 0)
        chosen.append(films.iloc[start : start + per_cell].assign(cell=cell, n_cell=len(films)))
    films = pd.concat(chosen)[["image_id", "label", "cell", "n_cell"]]
    scores = here.pivot_table(index="image_id", columns="arm", values="score").add_prefix("score_")
    return films.merge(scores, left_on="image_id", right_index=True, how="left").reset_index(drop=True), missing


def explain_examples(
    chosen: pd.DataFrame, missing: list[str], sample: FilmSample, networks: Mapping[str, Network], rule: str = ""
) -> Examples:
    """Maps of the chosen films by every fine-tuned network: the network's own, or Grad-CAM by its package.

    `chosen, missing` are from `choose_examples`; the sample holds the chosen films in any order. Networks that are not
    fine-tuned are left out: their classifier knows no pneumonia. `rule` says how the films were chosen, for the foot of
    the figure.

    Raises
    ------
    UserError
        When the sample lacks a chosen film.
    """
    place = pd.Series(np.arange(len(sample.films)), index=sample.films["image_id"])
    absent = chosen.loc[~chosen["image_id"].isin(place.index), "image_id"]
    if len(absent):
        raise UserError(f"film {absent.iloc[0]!r} is no longer in the data set", "predictions.csv", "run notebook 04")
    rows = place[chosen["image_id"]].to_numpy()
    arms = [network for network in networks.values() if network.fine_tuned]
    maps, without_map = {}, []
    for network in arms:
        transform = network.description.transform
        layer = find_layer(network.model, transform.channels, transform.size)
        if layer is None:
            without_map.append(f"{network.description.backbone} at {network.size} pixels")
            continue
        maps[network.name] = grad_cam_by_package(
            network.model, to_tensor(sample.images[network.size][rows], transform), layer
        )
    size = max(network.size for network in arms)
    part = FilmSample(
        sample.film_set, sample.films.iloc[rows].reset_index(drop=True), {size: sample.images[size][rows]}, sample.crop
    )
    truth, without_map = truth_of(part, size), list(dict.fromkeys(without_map))
    titles = {network.name: network.title for network in arms}
    told = (missing, without_map, titles, rule, {name: kind_of_map(networks[name].model) for name in maps})
    return Examples(sample.film_set.name, sample.title, chosen, part.images[size], maps, truth, *told)


def explain_sets(
    predictions: pd.DataFrame,
    sets: Mapping[str, FilmSet],
    networks: Mapping[str, Network],
    threshold: float | None = None,
    per_cell: int = 1,
    crop: str = "none",
    metrics: pd.DataFrame | None = None,
) -> list[Examples]:
    """`choose_examples` by the first arm's scores and `explain_examples`, for every data set.

    Without `threshold`, the first arm's frozen one (`frozen_threshold` of `metrics`) decides, else 0.5.
    """
    arm = next(iter(networks))
    frozen = frozen_threshold(metrics, arm) if threshold is None and metrics is not None else None
    cut = frozen if frozen is not None else 0.5 if threshold is None else threshold
    rule = (
        f"true and false, positive and negative: as {networks[arm].title} calls them, p >= {cut:.3g}"
        f"{', its frozen threshold' if frozen is not None else ''}"
    )
    examples = []
    for dataset, film_set in sets.items():
        chosen, missing = choose_examples(predictions, dataset, arm, cut, per_cell)
        sizes = {network.size for network in networks.values()}
        sample = sample_films(film_set, sizes, 0, crop=crop, only=chosen["image_id"])
        examples.append(explain_examples(chosen, missing, sample, networks, rule))
    for note in notes_without_map(examples):
        print(note)
    return examples


def notes_without_map(examples: Sequence[Examples]) -> list[str]:
    """One line for each backbone of which there is no Grad-CAM, and why."""
    named = dict.fromkeys(name for shown in examples for name in shown.without_map)
    return [f"no Grad-CAM for {name}: it has no spatial feature map before its classifier" for name in named]


def examples_table(examples: Sequence[Examples]) -> pd.DataFrame:
    """The films of figure 4: `dataset, cell, n_cell, image_id, label` and `score_<arm>` for every arm."""
    rows = [shown.films.assign(dataset=shown.dataset) for shown in examples]
    table = pd.concat(rows, ignore_index=True)
    first = ["dataset", "cell", "n_cell", "image_id", "label"]
    return table[[*first, *(name for name in table if name not in first)]]
