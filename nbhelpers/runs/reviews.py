"""Reviewers' decisions on drawn images: one table of the run, written in notebook 01 and read by notebook 02."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.runs.cells import read_cells
from nbhelpers.runs.tables import check_table, write_table

FILE = "reviews.csv"  # in the run's folder, where no stage that is run again takes it away
COLUMNS = ("source", "image_id", "decision", "reviewer", "reason", "time")


def read(run_folder: Path) -> pd.DataFrame:
    """All decisions, `COLUMNS`, one row a reviewer and image; no row where nobody has reviewed anything.

    A table written by hand may come out of a spreadsheet (`runs.cells`), and lack `reason` and `time`.

    Raises
    ------
    UserError
        When it cannot be read, lacks a column, or holds another decision, nobody's, or two of one reviewer on an image.
    """
    path = run_folder / FILE
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS), dtype="str")
    table = read_cells(path, COLUMNS[:4]).reset_index(drop=True)
    for name in COLUMNS[4:]:
        if name not in table:
            table[name] = pd.Series(None, table.index, dtype="str")
    return check_table(table.assign(decision=table["decision"].str.lower()), "reviews", str(path))


def decide(run_folder: Path, source: str, image_id: str, decision: str, reviewer: str, reason: str = "") -> None:
    """Write one reviewer's decision, `keep` or `reject`, in place of an earlier one of theirs on this image.

    The table is whole at any moment, and two reviewers at once lose nothing.

    Raises
    ------
    UserError
        Without a reviewer, or for a rejection without a reason.
    """
    reviewer, reason = reviewer.strip(), reason.strip()
    if not reviewer:
        raise UserError("no reviewer", FILE, "enter your name")
    if decision == "reject" and not reason:
        raise UserError("a rejection without a reason", FILE, "enter a reason")
    with open(run_folder / f".{FILE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table = read(run_folder)
        theirs = (table["source"] == source) & (table["image_id"] == image_id) & (table["reviewer"] == reviewer)
        time = datetime.now(UTC).isoformat(timespec="seconds")
        row = dict(zip(COLUMNS, (source, image_id, decision, reviewer, reason, time), strict=True))
        write_table(pd.concat([table[~theirs], pd.DataFrame([row])], ignore_index=True), run_folder / FILE, "reviews")


def rejected(table: pd.DataFrame, source: str) -> dict[str, str]:
    """Who rejected an image of a source and why, by identifier: `A. Reader: two hearts`; one rejection is enough."""
    out = table[(table["source"] == source) & (table["decision"] == "reject")]
    told: dict[str, list[str]] = {}
    reasons = out["reason"].fillna("no reason given")
    for image_id, reviewer, reason in zip(out["image_id"], out["reviewer"], reasons, strict=True):
        told.setdefault(str(image_id), []).append(f"{reviewer}: {reason}")
    return {image_id: "; ".join(all_) for image_id, all_ in told.items()}
