"""Gemini online: so many requests in flight, within rate, budget and deadline, and every outcome kept."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from google import genai

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini import client
from nbhelpers.image_models.gemini.outcomes import REFUSALS, TRANSIENT, Outcome
from nbhelpers.image_models.gemini.purchases import Row, Settings, facts_of, kept, note_outcome
from nbhelpers.image_models.ledger import Ledger
from nbhelpers.runs.progress import progress

TRANSIENT_LIMIT = 8  # failures of one image that are its own, in one run
LOST_LIMIT = 10  # requests in a row without a reply, or twice those in flight if that is more
DOUBTS = 3  # images refused by a configuration that has brought none, before it counts as wrong
LONGEST_PAUSE_S = 60.0
STORING = 6  # threads that decode images and write them


class Run:
    """One run of requests against the service: so many in flight, within rate and budget, each outcome kept.

    Everything here lives on one event loop; only disk and decoding go to threads. That carries more than a model gives
    to sixteen requests in flight, at seconds a reply (`benchmarks/bench_gemini.py`).
    """

    def __init__(self, ledger: Ledger, rows: list[Row], folder: Path, settings: Settings, proven: bool = False) -> None:
        self.ledger, self.rows, self.folder, self.settings = ledger, rows, folder, settings
        self.counts: Counter[str] = Counter()
        self.proven = proven  # the service takes this very configuration
        self.doubted: set[str] = set()  # rows refused while it has not
        self.lost = 0  # requests without a reply since the last one that had one: each may have been billed
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
        self._dirty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bar: Any = None

    async def work(self) -> None:
        """Draw all rows; returns when each is here, given up, or left because the run stopped."""
        settings = self.settings
        service = client.make_client(settings.request.api_version, settings.deadline_s)
        self._bar = progress(total=len(self.rows), desc=f"drawing {settings.request.model}", unit="image")
        for row in self.rows:
            self._queue.put_nowait(row)
        keeping = asyncio.Semaphore(2 * settings.concurrency)
        many = min(settings.concurrency, len(self.rows))
        workers = [asyncio.create_task(self._worker(service, keeping)) for _ in range(many)]
        workers.append(asyncio.create_task(self._flush()))
        await self._queue.join()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        self._bar.close()
        self.ledger.sync()
        await service.aio.aclose()
        if self.failure:
            raise self.failure

    def stop(self, reason: str, failure: BaseException | None = None) -> None:
        """Send no more requests; those in flight are waited for, since they are paid."""
        self.stopped = self.stopped or reason
        self.failure = self.failure or failure
        self._awake.set()
        self._settled.set()

    async def _worker(self, service: genai.Client, keeping: asyncio.Semaphore) -> None:
        request = self.settings.request
        while True:
            row = await self._queue.get()
            try:
                reserve = await self._reserve(row)
                # Last, so that no request goes out between a wait that the service asks for and its end.
                await self._wait_for_turn()
                if self.stopped:
                    self._finish(row, f"not yet: {self.stopped}")
                    continue
                asked = self.ledger.request(row.key, reserve, **facts_of(row, request))
                # The line is in the file before the request is sent; the disk confirms while the service works.
                self.ledger.append(asked, durable=False)
                self._dirty.set()
                answer = await client.ask(service, request, row.prompt, row.seed, self.settings.deadline_s, row.image)
                if isinstance(answer, Outcome):
                    # What stops or slows the run must be known before the next request.
                    answer = self._weigh(row, answer)
                    self._heed(answer)
            except Exception as error:
                self.stop("an error", error)
                self._finish(row, "not yet: stopped by an error")
                continue
            # The reply is here: the next request goes out while this one is decoded and written.
            await keeping.acquire()
            task = asyncio.create_task(self._note(row, asked, answer, reserve, keeping))
            # The loop itself holds tasks weakly.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _flush(self) -> None:
        """Bring the ledger's lines to the disk as they come; one flush serves all that were written meanwhile."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
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

    def _weigh(self, row: Row, outcome: Outcome) -> Outcome:
        if outcome.kind != "configuration" or outcome.fatal:
            return outcome
        if self.proven:
            # The same configuration has brought images: then it is this prompt that is refused.
            return replace(outcome, kind="prompt_blocked")
        # One prompt may be at fault; when others are refused too, it is the configuration.
        self.doubted.add(row.key)
        return replace(outcome, fatal=len(self.doubted) >= min(DOUBTS, len(self.rows)))

    async def _note(
        self, row: Row, asked: Mapping[str, Any], answer: str | Outcome, reserve: float, keeping: asyncio.Semaphore
    ) -> None:
        """Write down what became of a request, its image before its line; `answer` is a body that nobody read yet."""
        try:
            if isinstance(answer, Outcome):
                outcome = answer
            else:
                outcome = self._weigh(row, await asyncio.to_thread(self._keep, answer, row.key))
                self._heed(outcome)
            cost = note_outcome(self.ledger, row.key, asked, outcome, self.settings.price, durable=False)
            self._dirty.set()
            self.reserved -= reserve
            self.spent += cost
            self.dearest = max(self.dearest, cost)
            self._settled.set()
            self._judge(row, outcome)
        except BaseException as error:
            self.stop("an error", error)
            self._finish(row, "not yet: stopped by an error")
        finally:
            keeping.release()

    def _keep(self, body: str, key: str) -> Outcome:
        return kept(client.read_body(body, self.settings.request.as_text), key, self.folder)

    async def _wait_for_turn(self) -> None:
        """Wait while the service asked for a pause, and for the next slot under the rate limit."""
        while not self.stopped and (delay := self.resume_at - time.monotonic()) > 0:
            await self._sleep(delay)
        if self.settings.requests_per_minute and not self.stopped:
            moment = max(time.monotonic(), self.next_slot)
            self.next_slot = moment + 60.0 / self.settings.requests_per_minute
            await self._sleep(moment - time.monotonic())
            if self.resume_at > time.monotonic():
                await self._wait_for_turn()

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), seconds)

    def _heed(self, outcome: Outcome) -> None:
        """What must hold for the very next request: a stop, or the wait that the service asks for."""
        if outcome.fatal:
            refused = client.stop_message(outcome, self.settings.request.model)
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
        self._count_lost(outcome)
        self._bar.set_postfix(self.counts | {"usd": round(self.spent, 2)}, refresh=False)
        if kind not in TRANSIENT:
            # Any considered answer shows that the service works.
            self.streak.clear()
            self.refused_quota = 0
            self.last_good = time.monotonic()
        # An answer of any kind shows that the configuration is taken.
        self.proven = self.proven or kind == "ok" or kind in REFUSALS
        if kind == "ok":
            self._finish(row, "ok")
        elif outcome.fatal:
            self._finish(row, f"not yet: {kind}")
        elif kind in TRANSIENT:
            self._try_later(row, outcome)
        elif kind == "configuration":
            # In doubt: others are asked for first.
            row.failures += 1
            if row.failures >= TRANSIENT_LIMIT:
                self._finish(row, f"not yet: {kind}")
            else:
                asyncio.get_running_loop().call_later(self._backoff(1), self._requeue, row)
        else:
            row.refusals += 1
            if row.refusals >= self.settings.attempts:
                self._finish(row, f"given up: {kind}")
            else:
                self._requeue(row)

    def _count_lost(self, outcome: Outcome) -> None:
        """Stop when requests that may have been billed go without any reply, one after another."""
        if outcome.kind != "transport":
            self.lost = 0
        elif outcome.billed is None:
            self.lost += 1
        if self.lost >= max(2 * self.settings.concurrency, LOST_LIMIT):
            self.stop(f"{self.lost} requests in a row had no reply and may be billed; see gemini_deadline_s")

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


def run_in_thread(run: Run) -> None:
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
        # Few threads: they wait for the disk and decode, and each one more is a rival of the loop for Python's lock.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(STORING))
        runner.run(run.work())
