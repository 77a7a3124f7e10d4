"""Notebook 04 at the screen: what any threshold decides, beside the one that was frozen, at any prevalence."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import ipywidgets as widgets
import pandas as pd
from pandas.io.formats.style import Styler

from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.widgets import choice, row, slider, watch
from nbhelpers.metrics.decisions import RATES, at_prevalence, confusion, rates
from nbhelpers.runs import front_end
from nbhelpers.style import readable

IN_WORDS = {"tp": "true +", "fn": "false −", "fp": "false +", "tn": "true −"}
IN_WORDS |= {"ppv_elsewhere": "PPV at 10 %", "npv_elsewhere": "NPV at 10 %"}
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
        return readable(frozen.reset_index().rename(columns=IN_WORDS), known)
    arm = choice("arm", [(titles[name], name) for name in predictions["arm"].unique()])
    dataset = choice("films", [(found.title, name) for name, found in sets.items()])
    turned = slider("threshold", 0.5, 0, 1, 0.005, readout_format=".3f")
    own = slider("prevalence elsewhere", ELSEWHERE, 0.005, 0.995, 0.005, readout_format=".3f")
    reset = widgets.Button(description="back to the frozen one")
    told = widgets.HTML()

    def change() -> None:
        films = predictions[(predictions["arm"] == arm.value) & (predictions["dataset"] == dataset.value)]
        point = float(frozen.loc[(arm.value, dataset.value), "threshold"])
        name = "frozen" if arm.value in set(thresholds["arm"]) else "0.5 (none is frozen)"
        rows = {name: decided(films, point, own.value), "turned": decided(films, turned.value, own.value)}
        told.value = table_of(rows, float(films["label"].mean()), own.value)

    def to_frozen(_: Any = None) -> None:
        turned.value = float(frozen.loc[(arm.value, dataset.value), "threshold"])

    reset.on_click(to_frozen)
    arm.observe(to_frozen, "value")
    to_frozen()
    watch(change, arm, dataset, turned, own)
    return widgets.VBox([row(arm, dataset), row(turned, reset), own, told])


def table_of(rows: Mapping[str, Mapping[str, Any]], here: float, elsewhere: float) -> str:
    """Points as an HTML table: each its confusion matrix, its rates, PPV and NPV here and at another prevalence."""
    cell = '<td style="padding:2px 10px;text-align:right">'
    heads = ("threshold", *list(IN_WORDS.values())[:4], "sensitivity", "specificity")
    heads += tuple(f"{name} at {share:.1%}" for share in (here, elsewhere) for name in ("PPV", "NPV"))
    lines = []
    for name, point in rows.items():
        counts = [f"{point[key]:,}" for key in ("tp", "fn", "fp", "tn")]
        values = [point[key] for key in (*RATES, "ppv_elsewhere", "npv_elsewhere")]
        shares = ["none called" if value != value else f"{value:.3f}" for value in values]
        line = "".join(f"{cell}{text}</td>" for text in (f"{point['threshold']:.3f}", *counts, *shares))
        lines.append(f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>{line}</tr>')
    head = "".join(f'<th scope="col" style="padding:2px 10px;text-align:right">{text}</th>' for text in heads)
    return f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
