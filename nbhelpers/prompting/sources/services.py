"""Sources `openai`, `ark` and `bfl`: images from other services, by the same prompts and with the same ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.image_models.buying import buy, opened
from nbhelpers.image_models.editors.edits import settings_of
from nbhelpers.image_models.prices import standing
from nbhelpers.image_models.purchases import Row, plan_facts, rows_of
from nbhelpers.image_models.services.registry import deciding, make_service, options_of
from nbhelpers.prompting.sources.gemini import notes, table_of

SIDE = 1024  # pixels a side, where no size is set


class ServiceSource:
    """Images drawn by a model of OpenAI, Ark or Black Forest Labs; a `drawing.Source`.

    `image_models: {openai: {model: ..., quality: ...}}` has the settings, as an editor of notebook 06 has them, and
    `image_budget_usd` is what the source's folder may ever spend. All else is as for `GeminiSource`.
    """

    simulated = False

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self.name = name
        given = (parameters.get("image_models") or {}).get(name) or {}
        self.own = settings_of(name, given, options_of(name), "image_models")
        self.asked = make_service(name, self.own)
        self.model, self.budget_usd = self.asked.model, float(parameters.get("image_budget_usd", 10.0))

    def _rows(self, design: pd.DataFrame) -> list[Row]:
        rows = rows_of(design, self.model, self.name, deciding(self.own))
        for row in rows:
            row.side = self.asked.side(self.own["size"] or SIDE)
        return rows

    def plan(self, design: pd.DataFrame, folder: Path) -> dict[str, Any]:
        """What drawing `design` would cost; nothing is sent, locked or written, and no key is needed."""
        facts = plan_facts(self._rows(design), Path(folder), self.asked.price, self.asked.terms.attempts)
        return {"model": self.model, "mode": "online", **facts, "budget_usd": self.budget_usd}

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Buy what `folder` does not hold yet; columns and errors as of `GeminiSource.draw`."""
        folder, rows = Path(folder), self._rows(design)
        if said := standing(self.name, self.model):
            print(said)
        with opened(folder, rows) as ledger:
            buy(ledger, [(self.asked, rows)], folder, self.budget_usd, "image_budget_usd")
            side = self.asked.side(self.own["size"] or SIDE)
            table = table_of(
                *(rows, ledger, folder, self.asked.terms.attempts, f"{side} x {side}"),
                lambda width, height: None if width is None else width == height == side,
            )
        print(*notes(table), sep="\n", end="\n" if len(table) else "")
        return table
