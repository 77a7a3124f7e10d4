"""Source `gemini`: images from Google's image models ("Nano Banana"), each paid for once and kept as it came."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers import gemini_client
from nbhelpers.c2pa import has_manifest
from nbhelpers.errors import UserError
from nbhelpers.files import inside, write_bytes
from nbhelpers.gemini_client import Request
from nbhelpers.gemini_outcomes import REFUSALS, TRANSIENT, Outcome
from nbhelpers.gemini_prices import Price, price_of
from nbhelpers.images import decode, sniff_format
from nbhelpers.ledger import Entry, Ledger, image_key, replay, spent
from nbhelpers.progress import progress

MODES = ("online", "batch")
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif", "bmp": ".bmp", "tiff": ".tif"}
TRANSIENT_LIMIT = 8  # failures of one image that are its own, in one run
LONGEST_PAUSE_S = 60.0


@dataclass
class Settings:
    """The `gemini_*` parameters, checked; `backoff_s` is the first wait after a failure, in seconds."""

    request: Request
    price: Price
    mode: str = "online"
    concurrency: int = 8
    requests_per_minute: int = 300
    budget_usd: float = 10.0
    attempts: int = 3
    deadline_s: float = 180.0
    patience_s: float = 900.0
    poll_s: float = 30.0
    batch_images: int = 500
    batch_hours: float = 26.0
    batch_cancel: bool = False
    backoff_s: float = 1.0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Settings:
        """Settings from an experiment's parameters; a value out of range, or a model without a price, is an error."""
        given = {name.removeprefix("gemini_"): value for name, value in parameters.items()}
        own = {name: given[name] for name in cls.__dataclass_fields__ if name in given}
        for name in ("request", "price", "backoff_s"):
            own.pop(name, None)
        mode = own.get("mode", cls.mode)
        if mode not in MODES:
            raise UserError(f"gemini_mode = {mode!r}", "parameters", f"use one of {', '.join(MODES)}")
        model = str(given.get("model", "gemini-2.5-flash-image"))
        request = Request(
            model,
            str(given.get("api_version", "v1beta")),
            str(given.get("aspect_ratio", "1:1")),
            given.get("image_size"),
        )
        settings = cls(request, price_of(model, given.get("price_usd"), mode == "batch"), **own)
        for name in ("concurrency", "attempts", "deadline_s", "patience_s", "poll_s", "batch_images", "batch_hours"):
            if getattr(settings, name) <= 0:
                raise UserError(f"gemini_{name} = {getattr(settings, name)}", "parameters", "give a positive number")
        for name in ("requests_per_minute", "budget_usd"):
            if getattr(settings, name) < 0:
                raise UserError(f"gemini_{name} = {getattr(settings, name)}", "parameters", "give zero or more")
        return settings


@dataclass
class Row:
    """One wanted image and what this run knows of it."""

    image_id: str
    prompt: str
    key: str
    seed: int
    refusals: int = 0
    failures: int = 0
    state: str = ""


@dataclass
class Plan:
    """What a design needs from the ledger's point of view: the rows that are here, given up, and still to be bought."""

    rows: list[Row]
    here: dict[str, dict[str, Any]] = field(default_factory=dict)
    given_up: list[Row] = field(default_factory=list)
    wanted: list[Row] = field(default_factory=list)


def rows_of(design: pd.DataFrame, request: Request) -> list[Row]:
    """The design's rows with their ledger keys.

    Images of one and the same prompt are told apart by how many of it came before, so that a longer or reordered design
    still finds each image that was bought. The seed is sent with the request, but nothing shows that it is honoured.
    """
    seen: Counter[str] = Counter()
    rows = []
    for image_id, prompt in zip(design["image_id"], design["prompt"], strict=True):
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(f"image {image_id!r} has no prompt", "prompt design", "write one")
        key = image_key(request.model, request.api_version, prompt, request.configuration, seen[prompt])
        seen[prompt] += 1
        rows.append(Row(str(image_id), prompt, key, int(key[:7], 16)))
    return rows


def plan_rows(rows: list[Row], entries: Mapping[str, Entry], folder: Path, attempts: int) -> Plan:
    """Sort rows into here, given up and wanted; an image counts as here when its file has the size in the ledger."""
    plan = Plan(rows)
    for row in rows:
        entry = entries.get(row.key) or Entry()
        row.refusals = sum(count for kind, count in entry.outcomes.items() if kind in REFUSALS)
        if entry.ok and _file_is_whole(folder, entry.ok):
            plan.here[row.key] = entry.ok
        elif row.refusals >= attempts:
            row.state = f"given up: {entry.last['outcome'] if entry.last else 'refused'}"
            plan.given_up.append(row)
        else:
            plan.wanted.append(row)
    return plan


def _file_is_whole(folder: Path, line: Mapping[str, Any]) -> bool:
    try:
        return inside(folder, line["path"]).stat().st_size == line["bytes"]
    except OSError:
        return False


class GeminiSource:
    """Images drawn by a Gemini image model, online or in batches; a `generation.Source`.

    Every request and outcome is in `ledger.jsonl` of the source's folder. Killed at any moment and started again, a run
    asks only for what is missing. Spending is counted over the folder's whole life and kept within
    `gemini_budget_usd`: what a request may cost at most is set aside before it is sent.

    Raises
    ------
    UserError
        For parameters out of range. A missing key is found when drawing starts, before anything is sent.
    """

    simulated = False

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self.name = name
        self.settings = Settings.of(parameters)
        self.model = self.settings.request.model

    def plan(self, design: pd.DataFrame, folder: Path) -> dict[str, Any]:
        """What drawing `design` would cost; nothing is sent, locked or written, and no key is needed."""
        settings = self.settings
        entries, events, _ = replay(Path(folder) / "ledger.jsonl")
        plan = plan_rows(rows_of(design, settings.request), entries, Path(folder), settings.attempts)
        pending = {key for key, entry in entries.items() if any(line.get("batch") for line in entry.open.values())}
        wanted = [row for row in plan.wanted if row.key not in pending]
        used = spent(entries.values(), events)
        return {
            "model": self.model,
            "mode": settings.mode,
            "images": len(plan.rows),
            "here": len(plan.here),
            "given_up": len(plan.given_up),
            "in_batch_jobs": len(plan.wanted) - len(wanted),
            "still_wanted": len(wanted),
            "usd_per_image": settings.price.usd_per_image,
            "price_list": settings.price.date or "your own price",
            "estimate_usd": round(sum(settings.price.reserve(row.prompt) for row in wanted), 4),
            "spent_usd": round(used, 4),
            "budget_usd": settings.budget_usd,
        }

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Buy what `folder` does not hold yet; see `generation.Source`.

        Columns beside the contract's: `ledger_key, model_version, response_id, created, format, input_tokens,
        output_tokens, cost_usd` (of this image), `spent_usd` (of all its requests), `requests`, `c2pa` and `detail`.

        Raises
        ------
        UserError
            Before anything is sent: no key, another run in the folder, an estimate over what is left of the budget.
            While running: key, model or request refused (one error for all), or a disk that takes no more.
        """
        settings, folder = self.settings, Path(folder)
        with Ledger(folder) as ledger:
            rows = rows_of(design, settings.request)
            settle(ledger, settings)
            adopt(ledger, rows, folder)
            plan = plan_rows(rows, ledger.entries, folder, settings.attempts)
            if settings.mode == "batch" or any(event["event"] == "batch_request" for event in ledger.events):
                from nbhelpers import gemini_batch

                gemini_batch.run(ledger, plan, folder, settings)
                plan = plan_rows(rows, ledger.entries, folder, settings.attempts)
            if settings.mode == "online" and plan.wanted:
                check_budget(ledger, plan.wanted, settings)
                client = gemini_client.make_client(settings.request.api_version, settings.deadline_s)
                _run_in_thread(Run(ledger, plan.wanted, folder, settings, client))
            return table_of(rows, ledger, folder, settings)


def check_budget(ledger: Ledger, wanted: list[Row], settings: Settings) -> None:
    """Raise a `UserError` when the estimate for what is wanted is more than what is left of the budget."""
    estimate = sum(settings.price.reserve(row.prompt) for row in wanted)
    left = settings.budget_usd - ledger.spent()
    if estimate > left:
        raise UserError(
            f"{len(wanted)} images still wanted, about {estimate:.2f} USD, are over the budget: "
            f"{settings.budget_usd:.2f} USD, of which {max(left, 0):.2f} are left",
            "gemini_budget_usd",
            "raise the budget, or ask for fewer images_per_class",
        )


def settle(ledger: Ledger, settings: Settings) -> None:
    """Close the requests that an earlier run left without an outcome, as `unknown`, at their estimate.

    They may have been carried out and billed. Those that wait in a batch job stay open: the job has their outcome.
    """
    lines = [
        {"event": "outcome", "request_id": line["request_id"], "key": key, "outcome": "unknown"}
        | {"cost_usd": line["estimate_usd"], "detail": "the run ended before the reply; counted at the estimate"}
        for key, entry in ledger.entries.items()
        for line in entry.open.values()
        if not line.get("batch")
    ]
    if lines:
        ledger.append(*lines)


def adopt(ledger: Ledger, rows: list[Row], folder: Path) -> None:
    """Note the images whose file is whole but whose outcome line a kill cut off: they arrived, so they are kept."""
    for row in rows:
        entry = ledger.entry(row.key)
        if entry.ok or not entry.requests:
            continue
        for suffix in sorted(set(SUFFIXES.values())):
            path = f"images/{row.key[:32]}{suffix}"
            try:
                data = inside(folder, path).read_bytes()
                decode(data)
            except (OSError, UserError):
                continue
            line = {"event": "outcome", "request_id": "", "key": row.key, "outcome": "ok", "cost_usd": 0.0}
            facts = {"detail": "found on disk after a kill; its cost is counted with the request of unknown outcome"}
            ledger.append(line | facts | describe(data, path))
            break


def describe(data: bytes, path: str) -> dict[str, Any]:
    """What the ledger notes of an image file: `path, format, bytes, sha256, c2pa`."""
    return {
        "path": path,
        "format": sniff_format(data),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "c2pa": has_manifest(data),
    }


def keep_image(folder: Path, key: str, data: bytes) -> dict[str, Any]:
    """Write an image as it came to `images/<key>.<what its bytes are>`; a file that lies there is never replaced."""
    suffix = SUFFIXES[sniff_format(data) or "png"]
    path, tries = f"images/{key[:32]}{suffix}", 0
    while inside(folder, path).exists():
        tries += 1
        path = f"images/{key[:32]}-{tries}{suffix}"
    try:
        write_bytes(inside(folder, path), data)
    except OSError as error:
        raise UserError(
            f"an image cannot be written: {error.strerror}", str(folder / path), "free some disk space and run again"
        ) from None
    return describe(data, path)


def note_outcome(
    ledger: Ledger, row: Row, asked: Mapping[str, Any], outcome: Outcome, folder: Path, price: Price
) -> float:
    """Keep an outcome: the image first, then its line, both on the disk when this returns. Gives the cost in USD."""
    if outcome.billed is None:
        cost = float(asked["estimate_usd"])
    elif outcome.billed:
        cost = price.cost(outcome.facts.get("usage"), images=int(outcome.kind in ("ok", "corrupt")))
    else:
        cost = 0.0
    facts = {name: value for name, value in outcome.facts.items() if value not in (None, {})}
    image = keep_image(folder, row.key, outcome.data) if outcome.kind == "ok" and outcome.data else {}
    line = {"event": "outcome", "request_id": asked["request_id"], "key": row.key, "outcome": outcome.kind}
    ledger.append(line | {"cost_usd": round(cost, 8), "detail": outcome.detail, **facts, **image})
    return cost


class Run:
    """One run of requests against the service: so many in flight, within rate and budget, each outcome kept.

    Everything here lives on one event loop; only disk and decoding go to threads.
    """

    def __init__(self, ledger: Ledger, rows: list[Row], folder: Path, settings: Settings, client: Any) -> None:
        self.ledger, self.rows, self.folder, self.settings, self.client = ledger, rows, folder, settings, client
        self.counts: Counter[str] = Counter()
        self.proven = any(entry.ok for entry in ledger.entries.values())
        self.reserved = 0.0
        self.spent = ledger.spent()
        self.dearest = 0.0
        self.stopped = ""
        self.failure: BaseException | None = None
        self.resume_at = self.next_slot = 0.0
        self.streak: Counter[str] = Counter()
        self.refused_quota = 0
        self.last_good = time.monotonic()
        self._queue: asyncio.Queue[Row] = asyncio.Queue()
        self._awake = asyncio.Event()
        self._settled = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bar: Any = None

    async def work(self) -> None:
        """Draw all rows; returns when each is here, given up, or left because the run stopped."""
        settings = self.settings
        self._bar = progress(total=len(self.rows), desc=f"drawing {settings.request.model}", unit="image")
        for row in self.rows:
            self._queue.put_nowait(row)
        storing = asyncio.Semaphore(2 * settings.concurrency)
        workers = [asyncio.create_task(self._worker(storing)) for _ in range(min(settings.concurrency, len(self.rows)))]
        await self._queue.join()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._bar.close()
        await self.client.aio.aclose()
        if self.failure:
            raise self.failure

    def stop(self, reason: str, failure: BaseException | None = None) -> None:
        """Send no more requests; those in flight are waited for, since they are paid."""
        self.stopped = self.stopped or reason
        self.failure = self.failure or failure
        self._awake.set()
        self._settled.set()

    async def _worker(self, storing: asyncio.Semaphore) -> None:
        while True:
            row = await self._queue.get()
            try:
                await self._wait_for_turn()
                reserve = await self._reserve(row)
                if self.stopped:
                    self._finish(row, f"not yet: {self.stopped}")
                    continue
                asked = self.ledger.request(
                    row.key, reserve, image_id=row.image_id, model=self.settings.request.model, prompt=row.prompt
                )
                # The line is in the file before the request is sent; the disk confirms while the service works.
                self.ledger.append(asked, durable=False)
                self._keep(asyncio.create_task(self._confirm()))
                outcome = await self._ask(row)
                self._heed(outcome)
            except Exception as error:
                self.stop("an error", error)
                self._finish(row, "not yet: stopped by an error")
                continue
            await storing.acquire()
            self._keep(asyncio.create_task(self._store(row, asked, outcome, reserve, storing)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        # The loop itself holds tasks weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _confirm(self) -> None:
        try:
            await asyncio.to_thread(self.ledger.sync)
        except UserError as error:
            self.stop("an error", error)

    async def _reserve(self, row: Row) -> float:
        """Set aside what this request may cost; while others in flight hold the rest of the budget, wait for them."""
        reserve = max(self.settings.price.reserve(row.prompt), self.dearest)
        while not self.stopped and self.spent + self.reserved + reserve > self.settings.budget_usd:
            if self.reserved <= 1e-9:
                self.stop("budget")
                break
            self._settled.clear()
            await self._settled.wait()
        self.reserved += 0.0 if self.stopped else reserve
        return reserve

    async def _ask(self, row: Row) -> Outcome:
        settings = self.settings
        outcome = await gemini_client.generate(self.client, settings.request, row.prompt, row.seed, settings.deadline_s)
        if outcome.kind == "configuration" and not outcome.fatal:
            # The same configuration has brought images: then it is this prompt that is refused.
            return replace(outcome, kind="prompt_blocked") if self.proven else replace(outcome, fatal=True)
        return outcome

    async def _store(
        self, row: Row, asked: Mapping[str, Any], outcome: Outcome, reserve: float, storing: asyncio.Semaphore
    ) -> None:
        try:
            price = self.settings.price
            cost = await asyncio.to_thread(note_outcome, self.ledger, row, asked, outcome, self.folder, price)
            self.reserved -= reserve
            self.spent += cost
            self.dearest = max(self.dearest, cost)
            self._settled.set()
            self._judge(row, outcome)
        except BaseException as error:
            self.stop("an error", error)
            self._finish(row, "not yet: stopped by an error")
        finally:
            storing.release()

    async def _wait_for_turn(self) -> None:
        """Wait while the service asked for a pause, and for the next slot under the rate limit."""
        while not self.stopped:
            delay = self.resume_at - time.monotonic()
            if delay <= 0:
                break
            await self._sleep(delay)
        if self.settings.requests_per_minute and not self.stopped:
            moment = max(time.monotonic(), self.next_slot)
            self.next_slot = moment + 60.0 / self.settings.requests_per_minute
            await self._sleep(moment - time.monotonic())
            if self.resume_at > time.monotonic():
                await self._wait_for_turn()

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            try:
                await asyncio.wait_for(self._awake.wait(), seconds)
            except TimeoutError:
                return

    def _heed(self, outcome: Outcome) -> None:
        """What must hold for the very next request: a stop, or the wait that the service asks for."""
        if outcome.fatal:
            refused = gemini_client.stop_message(outcome, self.settings.request.model)
            self.stop(outcome.kind, refused if outcome.kind == "configuration" else None)
        elif outcome.wait is not None:
            self._pause(outcome.wait * random.uniform(1.0, 1.05))
        elif outcome.kind == "quota_minute":
            self.refused_quota += 1
            self._pause(self._backoff(1 + self.refused_quota // self.settings.concurrency))

    def _judge(self, row: Row, outcome: Outcome) -> None:
        """Decide what becomes of a row: done, asked again (now or later), or given up; and of the run."""
        kind = outcome.kind
        self.counts[kind] += 1
        self._bar.set_postfix(self.counts | {"usd": round(self.spent, 2)}, refresh=False)
        if kind not in TRANSIENT:
            # Any considered answer shows that the service works.
            self.streak.clear()
            self.refused_quota = 0
            self.last_good = time.monotonic()
        if kind == "ok":
            self.proven = True
            self._finish(row, "ok")
        elif outcome.fatal:
            self._finish(row, f"not yet: {kind}")
        elif kind in TRANSIENT:
            self._try_later(row, outcome)
        else:
            row.refusals += 1
            if row.refusals >= self.settings.attempts:
                self._finish(row, f"given up: {kind}")
            else:
                self._queue.put_nowait(row)
                self._queue.task_done()

    def _try_later(self, row: Row, outcome: Outcome) -> None:
        now, settings = time.monotonic(), self.settings
        self.streak[row.key] += 1
        # While others fail too, the fault is the service's: only a failure that stands alone is counted for the row.
        if len(self.streak) == 1:
            row.failures += 1
        delay = self._backoff(self.streak[row.key])
        if outcome.wait is None and len(self.streak) > settings.concurrency:
            self._pause(self._backoff(len(self.streak) // settings.concurrency))
        if row.failures >= TRANSIENT_LIMIT:
            self._finish(row, f"not yet: {outcome.kind}")
            return
        if max(now, self.resume_at) - self.last_good > settings.patience_s:
            self.stop(f"{outcome.kind}, no success within {settings.patience_s:g} s")
        asyncio.get_running_loop().call_later(0 if self.stopped else delay, self._requeue, row)

    def _requeue(self, row: Row) -> None:
        self._queue.put_nowait(row)
        self._queue.task_done()

    def _backoff(self, failures: int) -> float:
        longest = min(LONGEST_PAUSE_S, self.settings.backoff_s * 2.0 ** min(failures - 1, 10))
        return longest * random.uniform(0.5, 1.0)

    def _pause(self, seconds: float) -> None:
        self.resume_at = max(self.resume_at, time.monotonic() + seconds)

    def _finish(self, row: Row, state: str) -> None:
        row.state = state
        self._bar.update(1)
        self._queue.task_done()


def _run_in_thread(run: Run) -> None:
    """Run to the end in a thread of its own, since a notebook's thread has an event loop already.

    An interrupt sends nothing more and waits for what is in flight, which is paid; a second one drops that too.
    """
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="gemini") as pool:
        done: Future[None] = pool.submit(_drive, loop, run)
        try:
            done.result()
        except KeyboardInterrupt:
            print("stopping: waiting for the requests in flight; interrupt again to drop them", file=sys.stderr)
            loop.call_soon_threadsafe(run.stop, "interrupted")
            try:
                done.result()
            except KeyboardInterrupt:
                for task in asyncio.all_tasks(loop):
                    loop.call_soon_threadsafe(task.cancel)
            raise


def _drive(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().set_default_executor(ThreadPoolExecutor(2 * run.settings.concurrency + 2))
        runner.run(run.work())


def table_of(rows: list[Row], ledger: Ledger, folder: Path, settings: Settings) -> pd.DataFrame:
    """One row a wanted image, from the ledger: `image_id, path, status` and the provenance columns of `draw`."""
    records = []
    for row in rows:
        entry = ledger.entry(row.key)
        ok = entry.ok if entry.ok and _file_is_whole(folder, entry.ok) else None
        line: Mapping[str, Any] = ok or entry.last or {}
        usage = line.get("usage") or {}
        refusals = sum(count for kind, count in entry.outcomes.items() if kind in REFUSALS)
        reason = row.state
        if ok is None and not reason.startswith(("given up", "not yet")):
            kind = line.get("outcome", "not asked for")
            reason = f"given up: {kind}" if refusals >= settings.attempts else f"not yet: {kind}"
        records.append(
            {
                "image_id": row.image_id,
                "path": ok["path"] if ok else "",
                "status": "ok" if ok else reason,
                "ledger_key": row.key,
                "model_version": line.get("model_version") or "",
                "response_id": line.get("response_id") or "",
                "created": line.get("time") or "",
                "format": line.get("format") or "",
                "input_tokens": usage.get("promptTokenCount"),
                "output_tokens": usage.get("candidatesTokenCount"),
                "cost_usd": line.get("cost_usd") if ok else None,
                "spent_usd": round(entry.cost_usd, 8),
                "requests": entry.requests,
                "c2pa": line.get("c2pa"),
                "detail": line.get("detail") or "",
            }
        )
    return pd.DataFrame.from_records(records)
