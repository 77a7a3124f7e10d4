"""Where every image and film of a run went: counts from what was wanted to what was trained on and scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.style import named

COLUMNS = ("part", "name", "title", "simulated", "step", "kept", "reason", "n", "n_pneumonia", "n_normal", "negatives")
Row = dict[str, Any]


def flow_counts(facts: RunFacts) -> pd.DataFrame:
    """Counts of images and films at each step of a run, with what was left out and why.

    Returns
    -------
    DataFrame
        In the order of the flow: `part` (`training` or `evaluation`), `name` (arm or data set), `title`, `simulated`,
        `step`, `kept` (True for a step's count, False for what was left out on the way to it), `reason` (of a row that
        was left out), `n`, and by class `n_pneumonia`, `n_normal` (empty where the class is not known), and what
        the latter counts: `negatives`, normal or what the set calls its films without pneumonia.
        Training steps: wanted, drawn, cropped, then train and validation. Evaluation steps: listed, scored.
    """
    rows = [row for name in facts.arms for row in _arm(facts, name)]
    rows += [row for name in facts.titles() for row in _dataset(facts, name)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = dict.fromkeys(("n", "n_pneumonia", "n_normal"), "Int64")
    return table.astype({**whole, "simulated": bool, "kept": bool})


def _arm(facts: RunFacts, name: str) -> Iterator[Row]:
    arm = facts.arms[name]
    source, crop = arm.get("source", ""), arm.get("crop", "")
    common: Row = {
        "part": "training",
        "name": name,
        "title": f"{named(name)}: {named(source)}, crop {crop}",
        "simulated": facts.source_is_simulated(source),
        "negatives": "normal",
    }
    wanted = _joined(facts.images, source)
    if wanted is not None:
        yield from _stage(common, "wanted", wanted, wanted.iloc[:0])
        drawn = wanted["status"] == "ok"
        yield from _stage(common, "drawn", wanted[drawn], wanted[~drawn], wanted.loc[~drawn, "status"])
    cropped = _joined(facts.cropped, source)
    if cropped is not None:
        rows = cropped[cropped["crop"] == crop]
        kept = rows["status"] == "ok"
        yield from _stage(common, "cropped", rows[kept], rows[~kept], rows.loc[~kept, "reason"])
    split = facts.splits.get(name)
    if split is not None:
        for part in ("train", "validation"):
            yield from _stage(common, part, split[split["split"] == part], split.iloc[:0])


def _joined(tables: Mapping[str, pd.DataFrame], source: str) -> pd.DataFrame | None:
    """The tables of an arm's sources, which `+` joins, as one; None when one is not there."""
    names = source.split("+")
    return pd.concat([tables[name] for name in names], ignore_index=True) if set(names) <= set(tables) else None


def _stage(
    common: Row, step: str, kept: pd.DataFrame, lost: pd.DataFrame, reasons: pd.Series | None = None
) -> Iterator[Row]:
    if reasons is not None and len(lost):
        # A reason may go on with what is particular to one image, after a colon.
        grouped = lost.groupby(reasons.fillna("no reason given").astype(str).str.split(":").str[0], sort=False)
        for reason, rows in sorted(grouped, key=lambda item: -len(item[1])):
            yield {**common, "step": step, "kept": False, "reason": reason, **_by_class(rows)}
    yield {**common, "step": step, "kept": True, "reason": None, **_by_class(kept)}


def _by_class(rows: pd.DataFrame) -> Row:
    positive = int(rows["label"].astype(str).isin(("pneumonia", "1", "1.0")).sum())
    return {"n": len(rows), "n_pneumonia": positive, "n_normal": len(rows) - positive}


def _dataset(facts: RunFacts, name: str) -> Iterator[Row]:
    common: Row = {
        "part": "evaluation",
        "name": name,
        "title": facts.title(name),
        "simulated": name in facts.simulated_datasets(),
        "negatives": facts.negatives(name),
    }
    unknown: Row = {"n_pneumonia": None, "n_normal": None}
    table = {str(key): value for key, value in facts.table("datasets").set_index("dataset").loc[name].items()}
    scored = facts.table("predictions", dataset=name)
    scored = scored.drop_duplicates("image_id") if len(scored) else scored
    lost = _left_out(facts, name, int(table.get("excluded", 0) or 0))
    ends = _by_class(scored) if len(scored) else {"n": int(str(table["n"])), **unknown}
    total = ends["n"] + sum(lost.values())
    yield {**common, "step": "listed", "kept": True, "reason": None, "n": total, **unknown}
    for reason, n in lost.items():
        yield {**common, "step": "scored", "kept": False, "reason": reason, "n": n, **unknown}
    yield {**common, "step": "scored", "kept": True, "reason": None, **ends}


def _left_out(facts: RunFacts, name: str, total: int) -> dict[str, int]:
    """Films left out of a data set by reason, the commonest first."""
    rows = facts.table("exclusions", dataset=name).to_dict("records")
    found = {str(row["reason"]): int(row["films"]) for row in rows}
    missing = total - sum(found.values())
    if missing > 0:
        found["reason not written down"] = missing
    return dict(sorted(found.items(), key=lambda item: -item[1]))
