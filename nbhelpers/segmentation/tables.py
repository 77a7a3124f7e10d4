"""What a reader of notebook 07 sees of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from nbhelpers import style
from nbhelpers.metrics.wording import difference, in_words, interval, p_text
from nbhelpers.segmentation.answers import NO_MASK, Answers
from nbhelpers.segmentation.datasets import SegmentationSet
from nbhelpers.segmentation.omnimodel import STAND_IN
from nbhelpers.segmentation.published import PUBLISHED, TITLES


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
    rows = [
        {
            "dataset": name,
            "model": model.name,
            "role": model.role,
            "what": model.title,
            "stand_in": model.title == STAND_IN,
        }
        for name, drawn in answers.items()
        for model in drawn
    ]
    return pd.DataFrame(rows)


def model_titles(answers: Mapping[str, Sequence[Answers]]) -> dict[str, str]:
    """What figures call each model: its role's name, or the stand-in's own."""
    drawn = [model for models in answers.values() for model in models]
    return {model.name: STAND_IN if model.title == STAND_IN else model.name.replace("_", " ") for model in drawn}


def kinds(scores: pd.DataFrame) -> pd.DataFrame:
    """How many of the omnimodel's answers are of each kind, and whether such an answer holds a mask."""
    here = scores[scores["role"] == "omnimodel"].drop_duplicates(["dataset", "case"])
    table = here.groupby(["dataset", "answer_kind"]).size().rename("cases").reset_index()
    return table.assign(mask=~table["answer_kind"].isin(NO_MASK))


def overall(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """All cases, a row a data set and model; differences are to the specialist on the same cases."""
    shown = pd.DataFrame(
        {
            "data": [names[name] for name in table["dataset"]],
            "model": table["model"],
            "n": table["n"],
            "Dice": in_words(interval, table, ("dice", "dice_low", "dice_high")),
            "median": table["median"].map("{:.3f}".format),
            "missed": table["missed"].map("{:.0%}".format),
            "minus specialist": in_words(difference, table, ("difference", "difference_low", "difference_high")),
            "won": ["" if value != value else f"{value:.0%}" for value in table["won"]],
            "with a mask": table["answered"],
            "Dice of those": table["dice_answered"].map("{:.3f}".format),
            "after best shift": table["dice_shifted"].map("{:.3f}".format),
        }
    )
    return shown


def distances(table: pd.DataFrame, names: Mapping[str, str], definition: str) -> pd.DataFrame:
    """HD95 in pixels and as a share of the diagonal, NSD and clDice; the header says which HD95."""
    return pd.DataFrame(
        {
            "data": [names[name] for name in table["dataset"]],
            "model": table["model"],
            f"HD95 {definition}, px": table["hd95"].map("{:.1f}".format),
            "share of diagonal": table["hd95_share"].map("{:.1%}".format),
            "both masks there": [f"{value:.1f} (n = {n})" for value, n in table[["hd95_both", "n_both"]].to_numpy()],
            "NSD": table["nsd"].map("{:.3f}".format),
            "clDice": ["" if value != value else f"{value:.3f}" for value in table["cldice"]],
        }
    )


def comparison(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Selections beside what the swap test expects of two exchangeable models."""
    return pd.DataFrame(
        {
            "data": [names[name] for name in table["dataset"]],
            "chosen by": table["selection"],
            "cases": table["extreme"],
            "n": table["n"],
            "specialist": table["mean_a"].map("{:.3f}".format),
            "omnimodel": table["mean_b"].map("{:.3f}".format),
            "omnimodel - specialist": in_words(difference, table, ("difference", "ci_low", "ci_high")),
            "by selection alone": ["" if value != value else f"{value:+.3f}" for value in table["swap_null"]],
            "swap p": [p_text(value) for value in table["swap_p"]],
        }
    )


def published() -> pd.DataFrame:
    """The study's own tables, for reference: other cases, other models."""
    rows = [
        {"task": TITLES[name], "cases": extreme, "specialist": row.specialist}
        | {"Dice, specialist": row.dice[extreme][0], "Dice, omnimodel": row.dice[extreme][1]}
        | {"HD95, specialist": row.hd95[extreme][0], "HD95, omnimodel": row.hd95[extreme][1]}
        for name, row in PUBLISHED.items()
        for extreme in ("hard", "easy")
    ]
    return pd.DataFrame(rows)
