"""What is wanted of paid services, here and spent: rows against the ledger, the budget, images kept as they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import DEADLINE_S
from nbhelpers.image_models.ledger import FILE, Entry, Ledger, dollars, image_key, mode_of, replay, spent
from nbhelpers.image_models.originals import (
    arrivals,
    describe,
    file_is_whole,
    forget_arrivals,
    keep_original,
    note_arrival,
)
from nbhelpers.image_models.outcomes import REFUSALS, Outcome
from nbhelpers.image_models.prices import Price
from nbhelpers.images.files import SUFFIXES, decode
from nbhelpers.runs.files import inside


@dataclass(kw_only=True)
class Terms:
    """How a service is asked; `backoff_s` is the first wait after a failure, in seconds."""

    concurrency: int = 8  # requests in flight
    requests_per_minute: int = 300  # 0: no limit
    attempts: int = 3  # refused or imageless replies after which a row is given up
    deadline_s: float = DEADLINE_S  # of one request as a whole
    patience_s: float = 900.0  # without any success, after which the run stops
    backoff_s: float = 1.0


@dataclass
class Row:
    """One wanted answer and what this run knows of it; `image` and `mask` (PNG) are what a model is given."""

    image_id: str
    prompt: str
    key: str
    seed: int
    image: bytes | None = None
    mask: bytes | None = None  # transparent where to edit
    more: tuple[bytes, ...] = ()  # further pictures (PNG), for a model that compares
    side: int = 1024  # pixels of the square that is wanted, where a size can be asked for
    refusals: int = 0
    failures: int = 0
    state: str = ""


@dataclass
class Plan:
    """What a design needs from the ledger's point of view: the rows that are here, given up, and still to be bought."""

    rows: list[Row]
    here: list[Row] = field(default_factory=list)
    given_up: list[Row] = field(default_factory=list)
    wanted: list[Row] = field(default_factory=list)


def rows_of(design: pd.DataFrame, model: str, version: str, configuration: Mapping[str, Any]) -> list[Row]:
    """The design's rows with their ledger keys.

    Images of one and the same prompt are told apart by how many of it came before, so that a longer or reordered design
    still finds each image that was bought. The seed is sent with the request, but nothing shows that it is honoured.
    """
    seen: Counter[str] = Counter()
    rows = []
    for image_id, prompt in zip(design["image_id"], design["prompt"], strict=True):
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(f"image {image_id!r} has no prompt", "prompt design", "write one")
        key = image_key(model, version, prompt, configuration, seen[prompt])
        seen[prompt] += 1
        rows.append(Row(str(image_id), prompt, key, int(key[:7], 16)))
    return rows


def plan_rows(rows: list[Row], entries: Mapping[str, Entry], folder: Path, attempts: int) -> Plan:
    """Sort rows into here, given up and wanted; an image counts as here when its file has the size in the ledger."""
    plan = Plan(rows)
    for row in rows:
        entry = entries.get(row.key) or Entry()
        row.refusals = refused(entry)
        if entry.ok and file_is_whole(folder, entry.ok):
            plan.here.append(row)
        elif row.refusals >= attempts:
            row.state = f"given up: {entry.last['outcome'] if entry.last else 'refused'}"
            plan.given_up.append(row)
        else:
            plan.wanted.append(row)
    return plan


def facts_of(row: Row, model: str) -> dict[str, str]:
    """What a request's line says of the image that it asks for."""
    return {"image_id": row.image_id, "model": model, "prompt": row.prompt}


def estimate(rows: list[Row], price: Price, dearest: float = 0.0) -> float:
    """US dollars that rows may cost (`Price.reserve`), each no less than `dearest`."""
    return sum(max(price.reserve(row.prompt, row.side), dearest) for row in rows)


def plan_facts(rows: list[Row], folder: Path, price: Price, attempts: int) -> dict[str, Any]:
    """What rows would cost, as a plan tells it: counts, prices, the folder's spending; nothing is sent or written."""
    entries, events, _ = replay(folder / FILE)
    plan = plan_rows(rows, entries, folder, attempts)
    wanted = [row for row in plan.wanted if not in_jobs(entries.get(row.key))]
    return {
        "images": len(rows),
        "here": len(plan.here),
        "given_up": len(plan.given_up),
        "in_batch_jobs": len(plan.wanted) - len(wanted),
        "still_wanted": len(wanted),
        "usd_per_image": price.usd_per_image,
        "price_list": price.date or "your own price",
        "estimate_usd": round(estimate(wanted, price), 4),
        "spent_usd": round(spent(entries.values(), events), 4),
    }


def refused(entry: Entry) -> int:
    """How often an image was refused, over all runs."""
    return sum(entry.outcomes[kind] for kind in REFUSALS)


def in_jobs(entry: Entry | None) -> bool:
    """Whether a batch job has been asked for this image and has not answered yet."""
    return entry is not None and any(line.get("batch") for line in entry.open.values())


def check_budget(
    images: int, estimate_usd: float, spent_usd: float, budget_usd: float, parameter: str = "gemini_budget_usd"
) -> None:
    """Raise a `UserError` when the estimate for the images still wanted is more than what is left of the budget."""
    left = budget_usd - spent_usd
    if estimate_usd > left:
        raise UserError(
            f"{images} images to be generated, about {estimate_usd:.2f} USD, are over the budget: "
            f"{budget_usd:.2f} USD, of which {max(left, 0):.2f} are left",
            parameter,
            "raise the budget, or request fewer images",
        )


def settle(ledger: Ledger) -> None:
    """Close the requests that an earlier run left without an outcome, as `unknown`, at their estimate.

    They may have been carried out and billed. Those that wait in a batch job stay open: the job has their outcome.
    """
    lines = [
        {"event": "outcome", "request_id": line["request_id"], "key": line["key"], "outcome": "unknown"}
        | {
            "cost_usd": dollars(line.get("estimate_usd")) or 0.0,
            "detail": "the run ended before the reply; counted at the estimate",
        }
        for line in ledger.open_requests()
    ]
    if lines:
        ledger.append(*lines)


def adopt(ledger: Ledger, rows: list[Row], folder: Path) -> None:
    """Note the answers whose file is whole but whose outcome line a kill cut off: they arrived, so they are kept."""
    noted = arrivals(folder)
    for row in rows:
        entry = ledger.entry(row.key)
        if entry.ok or not entry.requests:
            continue
        name = row.key[:32]
        for suffix in (*sorted(set(SUFFIXES.values())), ".bin"):  # words, where a model was asked for them
            path = f"images/{name}{suffix}"
            try:
                data = inside(folder, path).read_bytes()
                if suffix != ".bin" or name not in noted:
                    decode(data)
            except (OSError, UserError):
                continue
            line = {"event": "outcome", "request_id": "", "key": row.key, "outcome": "ok", "cost_usd": 0.0}
            facts = noted.get(name, {})
            facts["detail"] = (
                "found on disk after an interruption; its cost is counted with the request of unknown outcome"
            )
            ledger.append(line | facts | describe(data, path))
            break
    forget_arrivals(folder)


def kept(outcome: Outcome, key: str, folder: Path) -> Outcome:
    """The outcome with its image written to the disk, and `image` telling where, in place of the bytes.

    What came with it, or in its place and cannot be decoded, is kept too (`spare/`): it was paid for.
    """
    if outcome.data is None:
        return outcome
    name = key[:32]
    spare = outcome.more if outcome.kind == "ok" else (outcome.data,)
    image: dict[str, Any] = {}
    if spare:
        image["spare"] = [keep_original(folder, name, data, "spare")["path"] for data in spare]
    if outcome.kind == "ok":
        note_arrival(folder, name, outcome.facts)
        image |= keep_original(folder, name, outcome.data)
    return replace(outcome, data=None, more=(), image=image)


def note_outcome(
    ledger: Ledger, key: str, asked: Mapping[str, Any], outcome: Outcome, price: Price, durable: bool = True
) -> float:
    """Write an outcome's line, after its image is on the disk (`outcome.image`). Gives the cost in US dollars.

    `durable` waits until the line is on the disk too.
    """
    usage, asked_usd = outcome.facts.get("usage") or {}, dollars(asked.get("estimate_usd")) or 0.0
    # How many images it was billed for counts where the usage does not say.
    images = int(outcome.kind in ("ok", "corrupt")) + (
        len(outcome.image.get("spare", ())) if outcome.kind == "ok" else 0
    )
    if outcome.billed is None:
        cost = asked_usd
    elif outcome.billed:
        known = not usage.get("unknown")
        cost = price.cost(usage, images) if known else max(asked_usd, images * price.usd_per_image)
    else:
        cost = 0.0
    facts = {name: value for name, value in outcome.facts.items() if value not in (None, {})}
    line = {"event": "outcome", "request_id": asked["request_id"], "key": key, "outcome": outcome.kind}
    line |= {"cost_usd": round(cost, 8), "detail": outcome.detail, "mode": mode_of(asked), **facts, **outcome.image}
    ledger.append(line, durable=durable)
    return cost
