"""Means with intervals, paired differences, and what a reader of notebook 06 sees of its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import permutation_test

from nbhelpers.metrics import holm
from nbhelpers.metrics.bootstrap import bootstrap_means
from nbhelpers.metrics.intervals import percentile_interval
from nbhelpers.metrics.wording import difference, in_words, interval, p_text

MEASURES = (
    *("error_inside", "error_inside_all", "error_outside", "error_outside_aligned", "ssim_outside", "change_iou"),
    *("share_outside", "shift_px", "zoom", "gain", "lesion_change", "lung_dice", "embedding_similarity", "seconds"),
)
# What a reader sees of them, with its title and digits; of what is optional a table may have nothing.
SHOWN = {
    "inside": {
        "error_inside": ("error inside (grey levels)", 1),
        "error_inside_all": ("missing as unchanged", 1),
        "lesion_change": ("share of the lesion's change", 2),
        "change_iou": ("IoU of the change", 2),
    },
    "outside": {
        "error_outside": ("error outside (grey levels)", 1),
        "error_outside_aligned": ("after alignment", 1),
        "ssim_outside": ("SSIM outside", 3),
        "share_outside": ("share of the change outside", 2),
        "zoom": ("zoom", 3),
        "gain": ("gain", 3),
        "shift_px": ("shift, px", 1),
    },
    "anatomy": {
        "lung_dice": ("lung Dice", 3),
        "embedding_similarity": ("embedding similarity (cosine)", 3),
        "seconds": ("seconds", 2),
    },
    "optional": {
        "lpips": ("LPIPS to the input", 3),
        "clip_image": ("CLIP, input and answer", 3),
        "clip_text": ("CLIP, answer and caption", 3),
        "judge_consistency": ("judge: instruction, rest kept", 1),
        "judge_quality": ("judge: quality", 1),
        "judge_overall": ("judge: overall", 1),
    },
}
OPTIONAL = SHOWN["optional"]
COMPARED = ("error_inside_all", "error_outside")
CAME = ("edited", "unchanged", "draft_only")  # kinds of answers that hold a picture
EXCHANGES = 4096  # of signs: all of them up to twelve pictures, else so many at random


def with_errors(edits: pd.DataFrame) -> pd.DataFrame:
    """The table of edits with errors in grey levels, of which means can be taken where a PSNR may be `inf`.

    `error_outside` and `error_outside_aligned` are the root mean squares of the two PSNRs; `error_inside_all` is
    `error_inside`, or for an answer without a picture that of the picture left as it was; it is empty where nobody was
    asked (`no_answer`).
    """
    outside = {f"error_{name}": 255 * 10 ** (-edits[f"psnr_{name}"] / 20) for name in ("outside", "outside_aligned")}
    whole = edits["error_inside"].where(edits["psnr_outside"].notna(), edits["error_untouched"])
    return edits.assign(**outside, error_inside_all=whole.where(edits["answer_kind"] != "no_answer"))


def measures_in(table: pd.DataFrame) -> list[str]:
    """The measures that a table of edits has, those that are optional last."""
    return [*MEASURES, *(name for name in OPTIONAL if name in table)]


def _groups(edits: pd.DataFrame) -> list[tuple[str, str]]:
    """Kind and task of what is averaged: each task, each kind over its tasks, and everything."""
    tasks = list(dict.fromkeys(zip(edits["kind"], edits["task"], strict=True)))
    kinds = list(dict.fromkeys(edits["kind"]))
    return [*tasks, *((kind, "all") for kind in kinds), ("all", "all")]


def _of(edits: pd.DataFrame, kind: str, task: str = "all") -> pd.DataFrame:
    part = edits if kind == "all" else edits[edits["kind"] == kind]
    return part if task == "all" else part[part["task"] == task]


def overall_table(edits: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """Means of each editor's edits by task, by kind of task (`task` is `all`) and over everything, with 95 % bootstrap
    intervals over pictures.

    `n` edits were asked for, `n_came` came as a picture; each measure is the mean of those of which it is known, whose
    number is `<measure>_n`; of a single picture there is no interval. `cost_usd` is the sum.
    """
    table, rows, names = with_errors(edits), [], measures_in(edits)
    for (kind, task), editor in product(_groups(edits), dict.fromkeys(edits["editor"])):
        part = _of(table, kind, task)
        part = part[part["editor"] == editor]
        values = part[names].to_numpy(dtype=float)
        pictures = len(set(part["image_id"]))
        spread = bootstrap_means(values, part["image_id"], n_resamples, seed) if pictures > 1 else None
        row: dict[str, Any] = {"editor": editor, "kind": kind, "task": task, "n": len(part), "pictures": pictures}
        row["n_came"] = int(part["answer_kind"].isin(CAME).sum())
        row["cost_usd"] = part["cost_usd"].sum(min_count=1)
        for column, name in enumerate(names):
            finite = np.isfinite(values[:, column])
            known = values[finite, column]
            several = len(set(part["image_id"][finite])) > 1
            low, high = percentile_interval(spread[:, column]) if several and spread is not None else (np.nan, np.nan)
            row |= {name: known.mean() if known.size else np.nan, f"{name}_n": known.size}
            row |= {f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def differences_table(edits: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """Every two editors on the same edits: mean difference a - b of `COMPARED`, its interval and p, by kind of task.

    Pairs count of which both are known, `n` of them on `pictures` pictures. Intervals are by bootstrap over pictures; p
    is that of exchanging the two editors at random, picture by picture, and `p_holm` is adjusted for the whole table.
    """
    table, rows = with_errors(edits), []
    editors = list(dict.fromkeys(edits["editor"]))
    for kind, name in product([*dict.fromkeys(edits["kind"]), "all"], COMPARED):
        wide = _of(table, kind).pivot_table(
            index=["task", "image_id"], columns="editor", values=name, aggfunc="first", dropna=False
        )
        for a, b in combinations(editors, 2):
            gap = (wide[a] - wide[b]).dropna()
            images = gap.index.get_level_values("image_id")
            row: dict[str, Any] = {"kind": kind, "measure": name, "a": a, "b": b}
            row |= {"n": len(gap), "pictures": images.nunique()}
            ends = (np.nan, np.nan)
            if row["pictures"] > 1:
                ends = percentile_interval(
                    bootstrap_means(gap.to_numpy()[:, None], images.to_series(), n_resamples, seed)
                )
            row |= {"difference": gap.mean(), "ci_low": ends[0], "ci_high": ends[1]}
            rows.append(row | {"p": _exchange_p(gap.groupby(images).sum().to_numpy(), seed)})
    columns = ["kind", "measure", "a", "b", "n", "pictures", "difference", "ci_low", "ci_high", "p"]
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(p_holm=holm(found["p"]))


def _exchange_p(sums: NDArray[np.float64], seed: int) -> float:
    """Two-sided p of the sum of differences under every exchange of signs, or under 4,096 at random; NaN for none."""
    if len(sums) < 2:  # of one image, either sign is as far from 0; scipy refuses to ask
        return 1.0 if len(sums) else float("nan")
    found = permutation_test(
        (sums,), lambda values, axis: np.abs(values.sum(axis=axis)), permutation_type="samples", alternative="greater",
        n_resamples=EXCHANGES, rng=seed, vectorized=True,
    )  # fmt: skip
    return float(found.pvalue)


def answers_table(edits: pd.DataFrame) -> pd.DataFrame:
    """How many answers of each editor are of each kind, with an example of the reason where one is given."""
    groups = edits.groupby(["editor", "answer_kind"], sort=False)
    return groups.agg(edits=("edit_id", "size"), reason=("detail", _first)).reset_index()


def _first(column: pd.Series) -> str:
    return next((text for text in column if isinstance(text, str) and text), "")


def pictures_asked(listed: pd.DataFrame) -> pd.DataFrame:
    """How many pictures each task has, and what editors are told."""
    shown = listed.assign(task=listed["task"].str.replace("_", " "))
    return shown.groupby(["task", "kind", "simulated", "instruction"], sort=False).size().rename("images").reset_index()


def asked(planned: pd.DataFrame) -> pd.DataFrame:
    """What is asked of each editor, and what it may cost."""
    money = ["none" if pd.isna(cost) else f"{cost:.2f} USD at most" for cost in planned["estimate_usd"].astype(float)]
    return planned[["editor", "provider", "model", "edits"]].assign(cost=money)


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """Answers by kind, as a reader sees them."""
    return table.assign(answer_kind=table["answer_kind"].str.replace("_", " ")).rename(
        columns={"answer_kind": "answer"}
    )


def _counted(table: pd.DataFrame, name: str, digits: int) -> list[str]:
    """The mean with its interval; how many it is of, where not of all."""
    cells = []
    for row in table.to_dict("records"):
        of = int(row[f"{name}_n"])
        told = interval(row[name], row[f"{name}_low"], row[f"{name}_high"], digits) if of else ""
        cells.append(told + (f", n = {of}" if 0 < of < row["n"] else ""))
    return cells


def by_task(table: pd.DataFrame, name: str = "error_inside", digits: int = 1) -> pd.DataFrame:
    """One measure, a row a task and a column an editor; tasks of which it is not known are left out."""
    shown = table[table["task"] != "all"]
    shown = shown.assign(told=_counted(shown, name, digits), task=shown["task"].str.replace("_", " "))
    wide = shown.pivot_table(index="task", columns="editor", values="told", aggfunc="first", sort=False)
    return wide[(wide != "").any(axis=1)].rename_axis(columns=None).reset_index()


def shown(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """Measures of `SHOWN` by kind of task: `inside` the mask, `outside` of it, of `anatomy`, and `optional` ones.

    Those of anatomy, with the costs, are over all kinds; a task that leaves all as it is has no inside.
    """
    table = table[table["task"] == "all"]
    if what == "anatomy":
        table = table[table["kind"] == "all"]
        table = table.assign(cost=["none" if pd.isna(cost) else f"{cost:.2f} USD" for cost in table["cost_usd"]])
    table = table[(table["kind"] != "keep") | (what != "inside")].reset_index(drop=True)
    facts: dict[str, Any] = {"task": table["kind"], "editor": table["editor"]}
    facts["images received"] = [f"{came} of {n}" for came, n in table[["n_came", "n"]].to_numpy()]
    facts |= {told: _counted(table, name, digits) for name, (told, digits) in SHOWN[what].items() if name in table}
    return pd.DataFrame(facts | ({"cost": table["cost"]} if "cost" in table else {}))


def differences(table: pd.DataFrame, kinds: Iterable[str] = ("all",)) -> pd.DataFrame:
    """Differences between editors over all tasks, as a reader sees them; those of no common edit are left out."""
    shown = table[table["kind"].isin(list(kinds)) & (table["n"] > 0)].reset_index(drop=True)
    words = {"error_inside_all": "error inside", "error_outside": "error outside"}
    return pd.DataFrame(
        {
            "measure": shown["measure"].map(words),
            "a": shown["a"],
            "b": shown["b"],
            "edits": shown["n"],
            "a - b (grey levels)": in_words(difference, shown, ("difference", "ci_low", "ci_high")),
            "p": [p_text(value) for value in shown["p"]],
            "p (Holm)": [p_text(value) for value in shown["p_holm"]],
        }
    )


def cost_usd(*found: pd.DataFrame) -> float:
    """All that was paid, US dollars: for edits, chains and judging."""
    return float(sum(table[name].sum() for table in found for name in ("cost_usd", "judge_usd") if name in table))


def chain_end(chain: pd.DataFrame) -> pd.DataFrame:
    """What is left of the film after the fifth edit, a row an editor; means over the films."""
    if chain.empty:
        return chain
    last = chain[chain["step"] == chain["step"].max()]
    names = ["error", "error_outside", "brightness", "sharpness", "zoom", "shift_px", "embedding_similarity"]
    found = last.groupby("editor", sort=False)[names].mean().round(3).reset_index()
    came = chain.groupby("editor", sort=False)["answer_kind"].agg(
        lambda kinds: f"{kinds.isin(CAME).sum()} of {len(kinds)}"
    )
    return found.assign(**{"images received": found["editor"].map(came)}).rename(
        columns=lambda name: name.replace("_", " ")
    )


def checks(edits: pd.DataFrame, editors: Sequence[str]) -> list[str]:
    """What must hold before anything is compared, a line each; what does not stops the run."""
    sizes = edits.groupby("editor")["edit_id"].apply(set)
    same = all(sizes[editor] == sizes[editors[0]] for editor in editors)
    assert same, "editors were given different edits"
    return [f"all {len(editors)} editors were given the same {len(sizes[editors[0]])} edits: ok"]
