"""What drawing will cost, what it did cost, and what is still missing: for every source, before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import api_key, endpoint
from nbhelpers.image_models.ledger import FILE, NOT_YET, dollars, replay
from nbhelpers.image_models.outcomes import OUTCOMES
from nbhelpers.image_models.purchases import check_budget
from nbhelpers.prompting.drawing import make_source, sources_of


def expected_cost(
    arms: Mapping[str, Mapping[str, str]], design: pd.DataFrame, parameters: Mapping[str, Any], folder: Path
) -> pd.DataFrame:
    """What each source that the arms need would still draw, and for how much, one row a source; nothing is sent.

    The columns are those below; sources that cost nothing have empty prices.
    """
    rows = []
    for name in sources_of(arms):
        source = make_source(name, parameters)
        plan: Mapping[str, Any] = {"model": source.model, "images": len(design)}
        if hasattr(source, "plan"):
            plan = source.plan(design, folder / name)
        elif hasattr(source, "design"):
            plan = {"model": source.model, "images": len(source.design())}
        rows.append({"source": name, **plan})
    columns = ["source", "model", "images", "here", "given_up", "in_batch_jobs", "still_wanted", "usd_per_image"]
    columns += ["estimate_usd", "spent_usd", "budget_usd", "price_list"]
    return pd.DataFrame(rows).reindex(columns=columns)


def check_affordable(plan: pd.DataFrame) -> str:
    """`affordable: ok` and for how much, before anything is sent, and before any other source spends time.

    A `UserError` when an estimate is more than what is left of its budget, or when a paid source has no key.
    """
    paid = plan[plan["still_wanted"].fillna(0) + plan["in_batch_jobs"].fillna(0) > 0]
    for row in paid.to_dict("records"):
        check_budget(int(row["still_wanted"]), row["estimate_usd"], row["spent_usd"], row["budget_usd"])
        api_key(row["source"])
        endpoint(row["source"])
    return f"affordable: ok (about {paid['estimate_usd'].sum():.2f} USD for {int(paid['still_wanted'].sum())} images)"


def request_outcomes(images: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """What the requests of each source came to: `source, simulated, outcome, requests, usd, meaning`.

    From the ledger where a source keeps one (all its requests, of earlier runs too), else from the table's statuses.
    """
    rows = []
    for source, table in images.groupby("source", sort=False):
        entries, events, _ = replay(folder / str(source) / FILE)
        if not entries:
            for status, count in table["status"].value_counts().items():
                rows.append((source, status, int(count), 0.0))
            continue
        counts: Counter[str] = Counter()
        costs: dict[str, float] = dict.fromkeys(OUTCOMES, 0.0)
        for entry in entries.values():
            counts.update(entry.outcomes)
            for kind, usd in entry.costs.items():
                costs[kind] = costs.get(kind, 0.0) + usd
        rows += [(source, kind, counts[kind], costs[kind]) for kind in costs if kind in counts]
        waiting = sum(len(entry.open) for entry in entries.values())
        extra = sum(dollars(event.get("cost_usd")) or 0.0 for event in events)
        rows += [(source, "waiting", waiting, 0.0)] if waiting else []
        rows += [(source, "extra", 0, extra)] if extra else []
    outcomes = pd.DataFrame(rows, columns=["source", "outcome", "requests", "usd"])
    outcomes.insert(1, "simulated", outcomes["source"].map(images.groupby("source")["simulated"].first()))
    meaning = OUTCOMES | {"waiting": "in a batch job", "extra": "more images than requested, billed"}
    return outcomes.assign(usd=outcomes["usd"].round(4), meaning=outcomes["outcome"].map(meaning).fillna(""))


def check_complete(images: pd.DataFrame, partial: bool = False) -> str:
    """`complete: ok`, or what is missing of the images of `drawing.draw_all`.

    A `UserError` when images may still come with a later run, unless `partial` says to go on without them. Images that
    were given up are told and stop nothing.
    """
    missing = images[images["status"] != "ok"]
    told = "; ".join(f"{count} x {status}" for status, count in missing["status"].value_counts().items())
    if missing["status"].str.startswith(NOT_YET).any() and not partial:
        raise UserError(
            f"{len(missing)} of {len(images)} images are missing: {told}",
            "01_prompting",
            "run again, which requests only the missing ones; or set gemini_partial: true to continue without them",
        )
    return f"complete: ok ({len(images)} images)" if missing.empty else f"missing: {len(missing)} images ({told})"
