"""Source `gemini`: images from Google's image models ("Nano Banana"), each paid for once and kept as it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.image_models.buying import buy, opened
from nbhelpers.image_models.gemini import batch
from nbhelpers.image_models.gemini.online import GeminiService
from nbhelpers.image_models.gemini.settings import Settings
from nbhelpers.image_models.ledger import Ledger
from nbhelpers.image_models.originals import file_is_whole
from nbhelpers.image_models.prices import standing
from nbhelpers.image_models.purchases import Row, in_jobs, plan_facts, plan_rows, refused, rows_of


class GeminiSource:
    """Images drawn by a Gemini image model, online or in batches; a `drawing.Source`.

    Every request and outcome is in `ledger.jsonl` of the source's folder. Killed at any moment and started again, a run
    asks only for what is missing. Spending is counted over the folder's whole life and kept within
    `gemini_budget_usd`: what a request may cost at most is set aside before it is sent. Parameters out of range are a
    `UserError` here; a missing key is found when drawing starts, before anything is sent.
    """

    simulated = False

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self.name = name
        self.settings = Settings.of(parameters)
        self.model = self.settings.request.model

    def _rows(self, design: pd.DataFrame) -> list[Row]:
        request = self.settings.request
        return rows_of(design, request.model, request.api_version, request.configuration)

    def plan(self, design: pd.DataFrame, folder: Path) -> dict[str, Any]:
        """What drawing `design` would cost; nothing is sent, locked or written, and no key is needed."""
        settings = self.settings
        rows = self._rows(design)
        facts = plan_facts(rows, Path(folder), settings.price, settings.attempts)
        return {"model": self.model, "mode": settings.mode, **facts, "budget_usd": settings.budget_usd}

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Buy what `folder` does not hold yet; see `drawing.Source`.

        Columns beside the contract's: `ledger_key, mode` (online, batch), `model_version, response_id, created, format,
        size_asked, as_asked` (whether size and shape are what was asked), `draft` (the reply held nothing better),
        `input_tokens, output_tokens, thought_tokens, cost_usd` (of this image), `spent_usd` (of all its requests),
        `requests`, `c2pa` and `detail`. What is to be known of them as a whole is printed, a line each.

        A `UserError` before anything is paid: no key, another run in the folder, an estimate over what is left of the
        budget, a model that is withdrawn or closed to the key. While running: key, model or request refused (one error
        for all), or a disk that takes no more.
        """
        settings, folder = self.settings, Path(folder)
        rows = self._rows(design)
        with opened(folder, rows) as ledger:
            plan = plan_rows(rows, ledger.entries, folder, settings.attempts)
            if plan.wanted and (said := standing("gemini", self.model)):
                print(said)
            if settings.mode == "batch" or batch.announced(ledger):
                batch.run(ledger, plan, folder, settings)
            if settings.mode == "online":
                service = GeminiService(settings.request, settings.price, settings)
                single = [row for row in rows if not in_jobs(ledger.entry(row.key))]
                buy(ledger, [(service, single)], folder, settings.budget_usd, "gemini_budget_usd")
            request = settings.request
            asked = f"{request.image_size or '1K'} {request.aspect_ratio}"
            table = table_of(rows, ledger, folder, settings.attempts, asked, request.fits)
            print(*notes(table), sep="\n", end="\n" if len(table) else "")
            return table


def notes(table: pd.DataFrame) -> list[str]:
    """What is to be known of the images of `table_of` as a whole, a line each."""
    here = table[table["status"] == "ok"]
    told = here["as_asked"].dropna()
    asked = "".join(here["size_asked"].unique())
    said = [f"size and shape as requested ({asked}): {int(told.sum())} of {len(told)} images"] if len(told) else []
    if drafts := int(here["draft"].sum()):
        said.append(
            f"{drafts} of {len(here)} images are drafts, because their replies held no final image (column draft)"
        )
    if unknown := int(table["usage_unknown"].sum()):
        said.append(f"{unknown} replies with unreadable usage, counted at their estimated cost")
    return said


def table_of(
    rows: list[Row],
    ledger: Ledger,
    folder: Path,
    attempts: int,
    asked: str,
    fits: Callable[[object, object], bool | None],
) -> pd.DataFrame:
    """One row a wanted image, from the ledger: `image_id, path, status` and the provenance columns of `draw`.

    `asked` is the size in words, `fits` tells of a width and height whether they are it.
    """
    records = []
    for row in rows:
        entry = ledger.entry(row.key)
        ok = entry.ok if entry.ok and file_is_whole(folder, entry.ok) else None
        line: Mapping[str, Any] = ok or entry.last or {}
        usage = line["usage"] if isinstance(line.get("usage"), Mapping) else {}
        reason = row.state
        if ok is None and not reason.startswith(("given up", "not yet")):
            kind = line.get("outcome", "not requested")
            reason = f"given up: {kind}" if refused(entry) >= attempts else f"not yet: {kind}"
            reason = "not yet: in a batch job" if in_jobs(entry) else reason
        records.append(
            {
                "image_id": row.image_id,
                "path": ok["path"] if ok else "",
                "status": "ok" if ok else reason,
                "ledger_key": row.key,
                "mode": line.get("mode") or "",
                "model_version": line.get("model_version") or "",
                "response_id": line.get("response_id") or "",
                "created": line.get("time") or "",
                "format": line.get("format") or "",
                "size_asked": asked,
                "as_asked": fits(ok.get("width"), ok.get("height")) if ok else None,
                "draft": bool(line.get("draft")) if ok else False,
                "usage_unknown": bool(usage.get("unknown")),
                "input_tokens": usage.get("promptTokenCount"),
                "output_tokens": usage.get("candidatesTokenCount"),
                "thought_tokens": usage.get("thoughtsTokenCount"),
                "cost_usd": line.get("cost_usd") if ok else None,
                "spent_usd": round(entry.cost_usd, 8),
                "requests": entry.requests,
                "c2pa": line.get("c2pa"),
                "detail": line.get("detail") or "",
            }
        )
    return pd.DataFrame.from_records(records)
