"""Reporting checklists of a run, CLAIM 2024 and TRIPOD+AI: what the run knows is filled in, the rest is listed as open.

The items are asked in our own words; the published checklists are the authority on what each one means.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nbhelpers.reporting import pages, run_facts, statements
from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.runs.tables import write_table

CHECKLISTS = {"claim2024": "checklist_claim2024.yaml", "tripod_ai": "checklist_tripod_ai.yaml"}
FILLED, PARTLY, OPEN = "filled", "partly", "open"
FOLDER = "checklists"
_COLUMNS = ["checklist", "item", "section", "asks", "status", "answer", "open"]


def read_items(checklist: str) -> dict[str, Any]:
    """A packaged checklist: `name`, `citation`, and `items` (`item, section, asks`, optional `fills` and `open`)."""
    path = Path(__file__).with_name(CHECKLISTS[checklist])
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def fill(facts: RunFacts) -> pd.DataFrame:
    """Both checklists, filled from what a run has written.

    Returns
    -------
    DataFrame
        One row an item: `checklist, item, section, asks, status, answer, open`. `status` is `filled` (the run answers
        all of it), `partly` (the run answers some; `open` says what is left) or `open` (only the authors can say).
    """
    rows = []
    for checklist in CHECKLISTS:
        found = read_items(checklist)
        rows += [{"checklist": found["name"], **_answer(item, facts)} for item in found["items"]]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _answer(item: Mapping[str, Any], facts: RunFacts) -> dict[str, Any]:
    topics = item.get("fills", [])
    told = {topic: statements.state(topic, facts) for topic in topics}
    answers = [statement.text for statement in told.values() if statement is not None]
    left = [item["open"]] if item.get("open") else []
    left += [statement.open for statement in told.values() if statement is not None and statement.open]
    left += [f"{topic.replace('_', ' ')} (this run has not written it)" for topic in topics if told[topic] is None]
    status = OPEN if not answers else PARTLY if left else FILLED
    return {
        **{"item": item["item"], "section": item["section"], "asks": item["asks"], "status": status},
        "answer": " ".join(dict.fromkeys(answers)) or None,
        "open": "; ".join(dict.fromkeys(left)) or None,
    }


def write(run_folder: Path | str) -> Path:
    """Write the filled checklists of a run into its `checklists/`: CSV tables, and the page, whose path is returned."""
    facts = run_facts.read(run_folder)
    table = fill(facts)
    folder = facts.folder / FOLDER
    shown = []
    for checklist in CHECKLISTS:
        found = read_items(checklist)
        rows = table[table["checklist"] == found["name"]]
        write_table(rows, folder / f"{checklist}.csv")
        counts = {status: int((rows["status"] == status).sum()) for status in (FILLED, PARTLY, OPEN)}
        answers = rows.astype(object).where(rows.notna(), None).to_dict("records")
        shown.append((found["name"], found["citation"], answers, counts))
    return pages.write_page(folder / "checklists.html", "checklists.html", run=facts.name, checklists=shown)
