"""Reporting checklists of a run, CLAIM 2024 and TRIPOD+AI: what the run knows is filled in, the rest is listed as open.

The items are asked in our own words; the published checklists are the authority on what each one means.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment

from nbhelpers.reporting import run_facts, statements
from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.runs.files import write_bytes
from nbhelpers.runs.tables import write_table

CHECKLISTS = {"claim2024": "checklist_claim2024.yaml", "tripod_ai": "checklist_tripod_ai.yaml"}
FILLED, PARTLY, OPEN = "filled", "partly", "open"
FOLDER = "checklists"
_COLUMNS = ["checklist", "item", "section", "asks", "status", "answer", "open"]

_SECTION = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """
{% for name, citation, rows, counts in checklists %}
<section class="checklist">
<h2>{{ name }}</h2>
<p>{{ counts["filled"] }} items filled from the run, {{ counts["partly"] }} in part, {{ counts["open"] }} open.
Items are asked in our own words, after {{ citation }}.</p>
<table>
<thead><tr><th>Item</th><th>Asks</th><th>Status</th><th>What the run knows</th><th>Left to the authors</th></tr></thead>
<tbody>
{% for row in rows %}
<tr class="{{ row.status }}"><td>{{ row.item }}</td><td>{{ row.asks }}</td><td>{{ row.status }}</td>
<td>{{ row.answer or "" }}</td><td>{{ row.open or "" }}</td></tr>
{% endfor %}
</tbody>
</table>
</section>
{% endfor %}
"""
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reporting checklists: {title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ border-bottom: 1px solid #ccc; padding: .35rem .5rem; text-align: left; vertical-align: top; }}
tr.open td:nth-child(3), tr.partly td:nth-child(3) {{ font-weight: 600; }}
tr.open {{ background: #fdf3e7; }}
</style></head><body>
<h1>Reporting checklists: run {title}</h1>
{body}
</body></html>
"""


def read_items(checklist: str) -> dict[str, Any]:
    """A packaged checklist: `name`, `citation`, and `items` (`item, section, asks`, optional `fills` and `open`)."""
    path = Path(__file__).with_name(CHECKLISTS[checklist])
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def fill(run_folder: Path | str) -> pd.DataFrame:
    """Both checklists, filled from what a run has written.

    Returns
    -------
    DataFrame
        One row an item: `checklist, item, section, asks, status, answer, open`. `status` is `filled` (the run answers
        all of it), `partly` (the run answers some; `open` says what is left) or `open` (only the authors can say).

    Raises
    ------
    UserError
        When the folder holds no run.
    """
    return fill_from(run_facts.read(run_folder))


def fill_from(facts: RunFacts) -> pd.DataFrame:
    """As `fill`, for a run that has been read already."""
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


def open_items(table: pd.DataFrame) -> list[str]:
    """What is left to the authors, one line an item: `CLAIM 2024, item 44: funding`."""
    rows = table[table["status"] != FILLED].to_dict("records")
    return [f"{row['checklist']}, item {row['item']}: {row['open']}" for row in rows]


def html_section(table: pd.DataFrame) -> str:
    """The checklists as an HTML fragment, everything in it escaped: a `<section class="checklist">` each."""
    citations = {found["name"]: found["citation"] for found in map(read_items, CHECKLISTS)}
    parts = []
    for name, rows in table.groupby("checklist", sort=False):
        counts = {status: int((rows["status"] == status).sum()) for status in (FILLED, PARTLY, OPEN)}
        shown = rows.astype(object).where(rows.notna(), None).to_dict("records")
        parts.append((name, citations[str(name)], shown, counts))
    return _SECTION.render(checklists=parts)


def write(run_folder: Path | str) -> Path:
    """Write the filled checklists of a run into `outputs/<run>/checklists/`.

    Returns
    -------
    pathlib.Path
        `checklists.html`; beside it lie `claim2024.csv` and `tripod_ai.csv`.
    """
    facts = run_facts.read(run_folder)
    table = fill_from(facts)
    folder = facts.folder / FOLDER
    for checklist in CHECKLISTS:
        rows = table[table["checklist"] == read_items(checklist)["name"]]
        write_table(rows, folder / f"{checklist}.csv")
    page = _PAGE.format(title=facts.name, body=html_section(table))
    write_bytes(folder / "checklists.html", page.encode())
    return folder / "checklists.html"
