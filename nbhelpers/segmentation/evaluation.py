"""Masks against the truth: a row a case, model and threshold, with floors, covariates, and tables over all cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.metrics.bootstrap import bootstrap_means
from nbhelpers.metrics.intervals import percentile_interval
from nbhelpers.metrics.overlap import cldice, dice, dice_shifted
from nbhelpers.metrics.surface import outline, surfaces
from nbhelpers.runs.progress import progress
from nbhelpers.segmentation.answers import NO_MASK, NOT_ANSWERED, Answers, drawn_ceiling
from nbhelpers.segmentation.datasets import Mask, Pixels, SegmentationSet, to_gray

MISSED = 0.1  # a Dice below this is a miss
PAPER_THRESHOLD = 240  # "grey above 240 is foreground"
COLUMNS = (
    *("dataset", "case", "group", "model", "role", "threshold", "answer_kind", "dice", "iou", "hd95"),
    *("hd95_definition", "hd95_share", "nsd", "dice_shifted", "cldice", "empty_truth", "empty_mask"),
)
FLOORS = ("all foreground", "centred disc")
DISC_RADIUS = 0.3  # of the image's height
# Covariates that no model touched, with the end of each that is hard.
COVARIATES = {
    **{"area": "low", "contrast": "low", "vessel_width": "low", "parts": "high", "edge_contact": "high"},
    "quality": "low",
}


@dataclass(frozen=True)
class Study:
    """What figures, tables and the widget of a run show: sets, answers and scores, under a reader's names."""

    scores: pd.DataFrame
    sets: Mapping[str, SegmentationSet]
    answers: Mapping[str, Sequence[Answers]]
    threshold: int
    names: Mapping[str, str]  # of each set, `tables.titles`
    models: Mapping[str, str]  # of each model, `tables.model_titles`

    def wide(self, dataset: str, value: str = "dice") -> pd.DataFrame:
        """One set's `value`, a row a case and a column a model."""
        return wide(self.scores, dataset, self.threshold, value)

    def masks(self, dataset: str, case: str) -> tuple[Pixels, dict[str, Pixels], dict[str, Mask]]:
        """A case's image, the grey map of each model, and the masks: `truth`, and each model's at the threshold."""
        found = self.sets[dataset]
        record = found.cases.set_index("case", drop=False).loc[case].to_dict()
        truth = found.truth(record)
        maps = {model.name: model.read(case, truth.shape) for model in self.answers[dataset]}
        view = found.view(record, truth.shape)
        masks = {name: (shares > self.threshold) & view for name, shares in maps.items()}
        return found.image(record), maps, {"truth": truth, **masks}


def floor_masks(shape: tuple[int, ...]) -> dict[str, Mask]:
    """What does not look at the image: all of it, and a disc in its middle; bool `(h, w)` by the names of `FLOORS`."""
    height, width = shape[:2]
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2)
    return dict(zip(FLOORS, (np.ones((height, width), bool), distance <= DISC_RADIUS * height), strict=True))


def tolerance(found: SegmentationSet, shape: tuple[int, ...]) -> float:
    """Pixels of the truth within which an outline counts as met: 2 at DRIVE's 565 for vessels, else 1 % of the
    diagonal."""
    return 2 * shape[1] / 565 if found.thin else 0.01 * math.hypot(*shape[:2])


def score_table(
    sets: Mapping[str, SegmentationSet],
    answers: Mapping[str, Sequence[Answers]],
    thresholds: Sequence[int],
    threshold: int = 127,
    hd95_definition: str = "directed",
) -> pd.DataFrame:
    """`scores.csv`: one row a case, model and threshold.

    Dice and IoU stand at all `thresholds`; what is slow (HD95, NSD, clDice, Dice after the best shift) at `threshold`,
    and for the omnimodel at the paper's 240 too. A mask that is missing scores 0 and the diagonal, even where the
    truth is empty: no answer is not the answer "nothing". HD95 of one empty mask is the diagonal, of two 0.
    """
    rows: list[dict[str, Any]] = []
    every = [(name, found, case) for name, found in sets.items() for case in found.part("test")]
    for name, found, case in progress(every, desc="scoring", total=len(every), unit="case"):
        truth = found.truth(case)
        view = found.view(case, truth.shape)
        same = {"dataset": name, "case": case["case"], "group": case["group"]}
        for model in answers[name]:
            kind = model.kinds.get(case["case"], "missing")
            if kind == "missing" and model.role == "third":
                continue  # a third model that was brought for a part of the cases alone
            shares = None if kind in NO_MASK else model.read(case["case"], truth.shape)
            full = {threshold} | ({PAPER_THRESHOLD} if model.role == "omnimodel" else set())
            for level in sorted({*thresholds, *full} if model.swept else {threshold}):
                mask = None if shares is None else (shares > level) & view
                row = same | {"model": model.name, "role": model.role, "threshold": level, "answer_kind": kind}
                rows.append(row | _measures(mask, truth, found, level in full, hd95_definition))
        for floor, mask in floor_masks(truth.shape).items():
            row = same | {"model": floor, "role": "floor", "threshold": threshold, "answer_kind": "mask"}
            rows.append(row | _measures(mask & view, truth, found, True, hd95_definition))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _measures(drawn: Mask | None, truth: Mask, found: SegmentationSet, full: bool, definition: str) -> dict[str, Any]:
    mask = np.zeros_like(truth) if drawn is None else drawn
    diagonal, overlap = math.hypot(*truth.shape), dice(mask, truth)
    row: dict[str, Any] = {"dice": overlap, "iou": overlap / (2 - overlap)}
    if full:
        distances = surfaces(mask, truth)
        row |= {"hd95": distances.hd95(definition), "nsd": distances.nsd(tolerance(found, truth.shape))}
        row |= {"dice_shifted": dice_shifted(mask, truth)} | ({"cldice": cldice(mask, truth)} if found.thin else {})
    if drawn is None:
        row = dict.fromkeys(row, 0.0) | ({"hd95": diagonal} if full else {})
    row |= {"hd95_definition": definition, "hd95_share": row["hd95"] / diagonal} if full else {}
    return row | {"empty_truth": not truth.any(), "empty_mask": not mask.any()}


def covariate_table(sets: Mapping[str, SegmentationSet]) -> pd.DataFrame:
    """What makes a case hard that no model touched: a row a case with a truth that is not empty.

    `area` (share of the image), `contrast` (grey levels between the object and a ring around it), `parts`,
    `edge_contact` (share of the outline on the image's edge), `vessel_width` (pixels, of vessels), `quality`.
    """
    rows = []
    for name, found in sets.items():
        for case in found.part("test"):
            truth = found.truth(case)
            if truth.any():
                row = {"dataset": name, "case": case["case"]} | _covariates(found.image(case), truth, found.thin)
                rows.append(row | ({"quality": case["quality"]} if "quality" in case else {}))
    return pd.DataFrame(rows, columns=None if rows else ["dataset", "case"])


def _covariates(image: Pixels, truth: Mask, thin: bool) -> dict[str, float]:
    gray = to_gray(image)
    reach = max(3, round(0.03 * math.hypot(*truth.shape))) | 1
    ring = cv2.dilate(truth.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool) & ~truth
    edge = outline(truth)
    border = np.zeros_like(truth)
    border[[0, -1]] = border[:, [0, -1]] = True
    inside = cv2.distanceTransform(np.pad(truth, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row = {
        "area": float(truth.mean()),
        "contrast": abs(float(gray[truth].mean()) - float(gray[ring].mean())) if ring.any() else 0.0,
        "parts": float(cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)[0] - 1),
        "edge_contact": float((edge & border).sum() / edge.sum()),
    }
    # Along a vessel the distance to the outside averages a quarter of its width.
    return row | ({"vessel_width": 4 * float(inside[truth].mean())} if thin else {})


def wide(scores: pd.DataFrame, dataset: str, threshold: int, value: str = "dice") -> pd.DataFrame:
    """One data set's `value` at a threshold, a row a case and a column a model."""
    here = scores[scores["threshold"] == threshold]
    return here[here["dataset"] == dataset].pivot_table(index="case", columns="model", values=value)


def interval_of(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of a bootstrap distribution; NaN where its resamples do not differ, as with one group alone.

    An interval without width would say that the next case is known.
    """
    low, high = percentile_interval(resampled)
    return (low, high) if high - low > 1e-9 else (math.nan, math.nan)


def overall_table(scores: pd.DataFrame, threshold: int, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """All cases: a row a data set and model, each paired with the specialist.

    `dice` and its interval by groups; `answered` (cases with a mask that is no draft), `dice_answered` over those;
    `difference` to the specialist with its interval, `median_difference`, `won` (share of cases over the specialist's);
    `missed` (share with Dice under 0.1); `hd95` over all cases, and `hd95_both` over the `n_both` with two masks.
    """
    here = scores[scores["threshold"] == threshold]
    rows = []
    for (name, model), cases in here.groupby(["dataset", "model"], sort=False):
        cases = cases.set_index("case")
        base = here[(here["dataset"] == name) & (here["model"] == "specialist")].set_index("case")["dice"]
        paired = model != "specialist" and cases.index.isin(base.index).all()
        values = cases["dice"]
        change = values - base.reindex(cases.index) if paired else values * float("nan")
        spread = bootstrap_means(np.column_stack([values, change]), cases["group"].tolist(), n_resamples, seed)
        answered = ~cases["answer_kind"].isin(NOT_ANSWERED)
        both = cases[~(cases["empty_truth"].astype(bool) | cases["empty_mask"].astype(bool))]
        row = {"dataset": name, "model": model, "role": cases["role"].iloc[0], "n": len(cases)}
        measures = ["dice", "dice_shifted", "iou", "nsd", "cldice", "hd95", "hd95_share"]
        row |= {measure: cases[measure].mean() for measure in measures}
        row |= {"median": values.median(), "missed": (values < MISSED).mean(), "answered": answered.sum()}
        row |= {"dice_answered": values[answered].mean(), "hd95_both": both["hd95"].mean(), "n_both": len(both)}
        row |= {"difference": change.mean(), "median_difference": change.median()}
        row |= {"won": (change > 0).mean() if paired else float("nan")}
        for title, drawn in zip(("dice", "difference"), spread.T, strict=True):
            row |= dict(zip((f"{title}_low", f"{title}_high"), interval_of(drawn), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def sweep_table(scores: pd.DataFrame, sets: Mapping[str, SegmentationSet], most: int = 30) -> pd.DataFrame:
    """Mean Dice by threshold of each model, beside what the true mask reaches when drawn as a model draws.

    Rows `drawn truth, PNG` and `drawn truth, JPEG 75` are the ceiling of the format: the truth of up to `most` cases
    at 1,024 pixels, unblurred, and blurred by 1.5 pixels and coded; no model stands behind them.
    """
    table = scores[scores["role"] != "floor"].groupby(["dataset", "model", "threshold"], sort=False)["dice"]
    rows: list[dict[Any, Any]] = table.agg(dice="mean", n="size").reset_index().to_dict("records")
    levels = sorted(scores["threshold"].unique())
    for name, found in sets.items():
        for title, quality, blur in (("drawn truth, PNG", None, 0.0), ("drawn truth, JPEG 75", 75, 1.5)):
            truths = [found.truth(case) for case in found.part("test")[:: max(1, len(found.part("test")) // most)]]
            pairs = [(drawn_ceiling(truth, quality, blur), truth) for truth in truths if truth.any()]
            for level in levels:
                values = [dice(shares > level, truth) for shares, truth in pairs]
                row = {"dataset": name, "model": title, "threshold": level, "n": len(values)}
                rows.append(row | {"dice": float(np.mean(values)) if values else float("nan")})
    return pd.DataFrame(rows)
