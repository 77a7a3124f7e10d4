"""Notebook 04 at the screen: what any threshold decides, beside the one that was frozen, at any prevalence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets
import pandas as pd
from pandas.io.formats.style import Styler

from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.widgets import choice, row, slider, watch
from nbhelpers.metrics.decisions import RATES, at_prevalence, confusion, rates
from nbhelpers.runs import front_end
from nbhelpers.style import named, readable

# Rows are read as a confusion matrix is: what a film shows, and what it is called.
IN_WORDS = {
    "tp": "true positives",
    "fn": "false negatives",
    "fp": "false positives",
    "tn": "true negatives",
}
ELSEWHERE = 0.1  # the prevalence that PPV and NPV are also given at, unless another is chosen


def decided(films: pd.DataFrame, threshold: float, prevalence: float = ELSEWHERE) -> dict[str, Any]:
    """One arm's films on one set at a threshold: counts, rates, and PPV and NPV at another prevalence.

    `films` has `label` and `score`. Gives `threshold, tp, fn, fp, tn`, the `RATES`, `ppv_elsewhere, npv_elsewhere`.
    """
    found = rates(films["label"], films["score"], threshold)
    other = at_prevalence(found["sensitivity"], found["specificity"], prevalence)
    counts = confusion(films["label"], films["score"], threshold)
    return {"threshold": threshold, **counts, **found, **{f"{name}_elsewhere": value for name, value in other.items()}}


def frozen_points(predictions: pd.DataFrame, thresholds: pd.DataFrame, prevalence: float = ELSEWHERE) -> pd.DataFrame:
    """`decided` at each arm's frozen threshold (0.5 where it has none), a row an arm and set: `arm, dataset, ...`."""
    at = dict(zip(thresholds["arm"], thresholds["threshold"], strict=True))
    rows = [
        {"arm": arm, "dataset": dataset, **decided(films, float(at.get(arm, 0.5)), prevalence)}
        for (dataset, arm), films in predictions.groupby(["dataset", "arm"], sort=False)
    ]
    return pd.DataFrame(rows)


def threshold(
    predictions: pd.DataFrame, thresholds: pd.DataFrame, sets: Mapping[str, FilmSet], titles: Mapping[str, str]
) -> widgets.Widget | Styler:
    """A threshold to turn: confusion matrix and rates, at the set's prevalence and at one's own, beside the frozen one.

    It changes nothing: the frozen threshold was chosen without these films, and one that is chosen here was not. Where
    nobody is at the screen: `frozen_points`.
    """
    frozen = frozen_points(predictions, thresholds).set_index(["arm", "dataset"])
    if not front_end.live():
        known = {**titles, **{name: found.title for name, found in sets.items()}}
        end = f" at {ELSEWHERE:.0%}"
        elsewhere = {f"{name}_elsewhere": f"{name.upper()}{end}" for name in ("ppv", "npv")}
        return readable(frozen.reset_index().rename(columns=IN_WORDS | elsewhere), known)
    arm = choice("arm", [(titles[name], name) for name in predictions["arm"].unique()])
    dataset = choice("films", [(found.title, name) for name, found in sets.items()])
    turned = slider("threshold", 0.5, 0, 1, 0.001, readout_format=".3f")
    own = slider("prevalence elsewhere", ELSEWHERE, 0.005, 0.995, 0.005, readout_format=".3f")
    reset = widgets.Button(description="reset to the frozen threshold", layout=widgets.Layout(width="auto"))
    told = widgets.HTML()

    def change() -> None:
        films = predictions[(predictions["arm"] == arm.value) & (predictions["dataset"] == dataset.value)]
        point = float(frozen.loc[(arm.value, dataset.value), "threshold"])
        name = "frozen" if arm.value in set(thresholds["arm"]) else "none is frozen"
        points = {name: decided(films, point, own.value), "turned": decided(films, turned.value, own.value)}
        told.value = table_of(points, float(films["label"].mean()), own.value)

    def to_frozen(_: Any = None) -> None:
        turned.value = float(frozen.loc[(arm.value, dataset.value), "threshold"])

    reset.on_click(to_frozen)
    arm.observe(to_frozen, "value")
    to_frozen()
    watch(change, arm, dataset, turned, own)
    return widgets.VBox([row(arm, dataset), row(turned, reset), own, told])


def table_of(points: Mapping[str, Mapping[str, Any]], here: float, elsewhere: float) -> str:
    """Points as an HTML table, a column each: confusion matrix, rates, PPV and NPV here and at another prevalence."""
    words = {"threshold": "threshold", **IN_WORDS, **{name: named(name) for name in RATES}}
    words |= {
        f"{name}{end}": f"{named(name)} at a prevalence of {share:.1%}"
        for name in ("ppv", "npv")
        for end, share in (("", here), ("_elsewhere", elsewhere))
    }
    columns = {name: [_told(point[key]) for key in words] for name, point in points.items()}
    return readable(pd.DataFrame({"measure": list(words.values())} | columns)).to_html()


def _told(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return "not defined" if value != value else f"{value:.3f}"
