"""What a reader of notebook 07 sees of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nbhelpers import style
from nbhelpers.metrics.wording import difference, in_words, interval, p_text
from nbhelpers.segmentation.answers import NO_MASK, Answers
from nbhelpers.segmentation.datasets import SegmentationSet
from nbhelpers.segmentation.evaluation import Study
from nbhelpers.segmentation.omnimodel import STAND_IN


def titles(sets: Mapping[str, SegmentationSet]) -> dict[str, str]:
    """What figures and tables call each set; what is simulated says so."""
    return {name: style.marked(found.title, found.simulated) for name, found in sets.items()}


def data_sets(sets: Mapping[str, SegmentationSet]) -> pd.DataFrame:
    """What there is: a row a data set."""
    rows = []
    for found in sets.values():
        test = found.part("test")
        row = {"dataset": found.name, "title": found.title, "target": found.target, "simulated": found.simulated}
        row |= {"training_cases": len(found.part("train")), "test_cases": len(test)}
        row["test_groups"] = len({case["group"] for case in test})
        row["empty_truths"] = sum(not found.truth(case).any() for case in test)
        rows.append(row | {"notes": "; ".join(found.notes)})
    return pd.DataFrame(rows)


def models(answers: Mapping[str, Sequence[Answers]]) -> pd.DataFrame:
    """Who draws: a row a data set and model, with its role and what stands behind it."""
    drawn = [(name, model) for name, models in answers.items() for model in models]
    rows = [(name, model.name, model.role, model.title, model.title == STAND_IN) for name, model in drawn]
    return pd.DataFrame(rows, columns=["dataset", "model", "role", "what", "stand_in"])


def model_titles(answers: Mapping[str, Sequence[Answers]]) -> dict[str, str]:
    """What figures call each model: its role's name, or the stand-in's own."""
    drawn = [model for models in answers.values() for model in models]
    return {model.name: STAND_IN if model.title == STAND_IN else model.name.replace("_", " ") for model in drawn}


def kinds(scores: pd.DataFrame) -> pd.DataFrame:
    """How many of the omnimodel's answers are of each kind, and whether such an answer holds a mask."""
    here = scores[scores["role"] == "omnimodel"].drop_duplicates(["dataset", "case"])
    table = here.groupby(["dataset", "answer_kind"]).size().rename("cases").reset_index()
    return table.assign(mask=~table["answer_kind"].isin(NO_MASK))


def _told(column: pd.Series, form: str) -> list[str]:
    return ["" if value != value else form.format(value) for value in column]


def _rows(table: pd.DataFrame, study: Study) -> dict[str, Any]:
    return {"data": table["dataset"].map(study.names), "model": [study.models.get(n, n) for n in table["model"]]}


def overall(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """All cases, a row a data set and model; differences are to the specialist on the same cases."""
    dice = in_words(interval, table, ("dice", "dice_low", "dice_high"))
    gap = in_words(difference, table, ("difference", "difference_low", "difference_high"))
    shown = _rows(table, study) | {"cases": table["n"], "Dice": dice}
    shown |= {"median": _told(table["median"], "{:.3f}"), "missed": _told(table["missed"], "{:.0%}")}
    shown |= {"difference from specialist": gap, "won": _told(table["won"], "{:.0%}")}
    shown |= {"answers with a mask": table["answered"], "Dice of these": _told(table["dice_answered"], "{:.3f}")}
    return pd.DataFrame(shown | {"Dice after best shift": _told(table["dice_shifted"], "{:.3f}")})


def distances(table: pd.DataFrame, study: Study, definition: str) -> pd.DataFrame:
    """HD95 in pixels and as a share of the diagonal, NSD and clDice; the header says which HD95."""
    both = [f"{value:.1f} (n = {n:.0f})" if n else "none" for value, n in table[["hd95_both", "n_both"]].to_numpy()]
    shown = _rows(table, study) | {f"HD95 {definition}, px": _told(table["hd95"], "{:.1f}")}
    shown |= {"HD95 / diagonal": _told(table["hd95_share"], "{:.1%}"), "HD95, px, both masks non-empty": both}
    return pd.DataFrame(shown | {"NSD": _told(table["nsd"], "{:.3f}"), "clDice": _told(table["cldice"], "{:.3f}")})


def comparison(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Selections beside what the swap test expects of two exchangeable models."""
    shown: dict[str, Any] = {"data": table["dataset"].map(study.names), "selected by": table["selection"]}
    shown |= {"extreme": table["extreme"], "cases": table["n"], "specialist": _told(table["mean_a"], "{:.3f}")}
    shown |= {study.models["omnimodel"]: _told(table["mean_b"], "{:.3f}")}
    shown |= {"difference": in_words(difference, table, ("difference", "ci_low", "ci_high"))}
    shown |= {"expected from selection alone": _told(table["swap_null"], "{:+.3f}")}
    return pd.DataFrame(shown | {"swap p": [p_text(value) for value in table["swap_p"]]})
