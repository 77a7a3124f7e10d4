"""Notebook 05 at the screen: films by what an arm made of them, with every arm's Grad-CAM under one opacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets as widgets
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.widgets import Pixels, choice, filtered, filters, pages, picture, row, slider, words
from nbhelpers.interpretability.chosen_films import CELLS, Examples, explain_examples, frozen_threshold
from nbhelpers.interpretability.figures import heat
from nbhelpers.interpretability.grad_cam import Maps, resize_maps
from nbhelpers.interpretability.sampling import sample_films
from nbhelpers.networks.trained import Network
from nbhelpers.runs import front_end
from nbhelpers.style import readable

SIDE = 250  # pixels of a film on the screen: three stand beside one another
SUBGROUPS = ("view", "sex", "age in years")


def cells(predictions: pd.DataFrame, arm: str, threshold: float) -> pd.DataFrame:
    """An arm's films with `cell`, one of `CELLS`: a score from `threshold` on is called pneumonia."""
    films = predictions[predictions["arm"] == arm]
    names = {key: name for name, key in CELLS.items()}
    keys = zip(films["label"].astype(int), films["score"] >= threshold, strict=True)
    return films.assign(cell=[names[label, bool(called)] for label, called in keys])


def decades(age: float) -> str | None:
    """The twenty years that an age lies in, `20-39`; None where it is not known."""
    return None if pd.isna(age) else f"{(low := int(age) // 20 * 20):02}-{low + 19}"


def counts(predictions: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """How many films are in each cell, a row a data set and arm: `dataset, arm, threshold`, and the `CELLS`."""
    rows = []
    for arm, cut in thresholds.items():
        for dataset, films in cells(predictions, arm, cut).groupby("dataset", sort=False):
            found = films["cell"].value_counts()
            number = {cell: int(found.get(cell, 0)) for cell in CELLS}
            rows.append({"dataset": dataset, "arm": arm, "threshold": round(cut, 3), **number})
    return pd.DataFrame(rows, columns=["dataset", "arm", "threshold", *CELLS])


def overlaid(film: Pixels, map_: Maps, scale: float, opacity: float) -> Pixels:
    """A film, uint8 `(size, size)`, under a Grad-CAM map that is `scale` at its brightest colour, in RGB."""
    colours = heat()(np.clip(resize_maps(map_[None], film.shape[-1])[0] / scale, 0, 1))
    share = opacity * colours[..., 3:] / 0.75  # of `heat`, the brightest is three quarters opaque
    mixed = film[..., None] * (1 - share) + 255 * colours[..., :3] * share
    return np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)


def browse(
    predictions: pd.DataFrame,
    metrics: pd.DataFrame,
    sets: Mapping[str, FilmSet],
    networks: Mapping[str, Network],
    examples: Sequence[Examples],
    threshold: float | None = None,
    crop: str = "none",
) -> widgets.Widget | Styler:
    """Films by cell of the confusion table, score and subgroup, each with every arm's map under one opacity slider.

    Maps are on the one scale of figure 4 (`examples`), and are computed when a film is looked at. Without `threshold`
    an arm's frozen one of `metrics` decides, else 0.5. Where nobody is at the screen: `counts`.
    """
    arms = {name: network for name, network in networks.items() if network.fine_tuned}
    given = {name: frozen_threshold(metrics, name) if threshold is None else threshold for name in arms}
    cuts = {name: 0.5 if cut is None else cut for name, cut in given.items()}
    if not front_end.live():
        titles = {name: network.title for name, network in arms.items()}
        titles |= {name: found.title for name, found in sets.items()}
        return readable(counts(predictions, cuts), titles)
    scale = max((float(one.max()) for shown in examples for one in shown.maps.values() if one.size), default=1.0) or 1.0
    dataset = choice("films", [(found.title, name) for name, found in sets.items()])
    arm = choice("as called by", [(network.title, name) for name, network in arms.items()])
    cell = choice("which", list(CELLS))
    ages = predictions["age"] if "age" in predictions else pd.Series(np.nan, index=predictions.index)
    predictions = predictions.assign(**{SUBGROUPS[-1]: ages.map(decades)})
    menus = filters(predictions, SUBGROUPS)
    span = widgets.FloatRangeSlider(
        value=(0.0, 1.0), min=0, max=1, step=0.01, description="score", continuous_update=False
    )
    opacity, told = slider("opacity of the maps", 0.6, 0, 1, 0.05), widgets.HTML()
    shown, to_film = picture(SIDE)
    maps = {name: picture(SIDE) for name in arms}
    kept: dict[tuple[str, str], Examples] = {}

    def explained(film: pd.Series) -> Examples:
        key = str(film["dataset"]), str(film["image_id"])
        if key not in kept:
            chosen = film.to_frame().T.assign(n_cell=1)
            sizes = {network.size for network in networks.values()}
            sample = sample_films(sets[key[0]], sizes, 0, crop=crop, workers=1, only=chosen["image_id"])
            kept[key] = explain_examples(chosen, [], sample, networks)
        return kept[key]

    def chosen_films() -> pd.DataFrame:
        films = cells(predictions[predictions["dataset"] == dataset.value], arm.value, cuts[arm.value])
        films = filtered(films[(films["cell"] == cell.value) & films["score"].between(*span.value)], menus)
        return films.sort_values(["score", "image_id"], ascending=[False, True])

    def look(film: pd.Series | None, place: str) -> None:
        if film is None:
            told.value = words("no film of this kind")
            for to in (to_film, *(to for _, to in maps.values())):
                to(None, "")
            return
        example = explained(film)
        to_film(example.images[0], "film")
        scores = predictions[
            (predictions["dataset"] == film["dataset"]) & (predictions["image_id"] == film["image_id"])
        ].set_index("arm")["score"]
        for name, (_, to) in maps.items():
            if name in example.maps:
                pixels = overlaid(example.images[0], example.maps[name][0], scale, opacity.value)
                to(pixels, f"{arms[name].title}: p = {scores[name]:.2f}")
            else:
                to(example.images[0], f"{arms[name].title}: no Grad-CAM")
        truth = ("normal", "pneumonia")[int(film["label"])]
        told.value = words(f"{place}: {escape(str(film['image_id']))}, {truth}")

    at, _ = pages("film", chosen_films, look, dataset, arm, cell, span, *menus.values(), turned=[opacity])
    pictures = row(shown, *(widget for widget, _ in maps.values()))
    return widgets.VBox([row(dataset, arm, cell), row(*menus.values(), span), row(at, opacity), told, pictures])
