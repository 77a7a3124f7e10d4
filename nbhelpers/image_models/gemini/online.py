"""Gemini online: so many requests in flight, within rate, budget and deadline, and every outcome kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from google import genai

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini import client
from nbhelpers.image_models.gemini.outcomes import REFUSALS, TRANSIENT, Outcome
from nbhelpers.image_models.gemini.purchases import Row, Settings, facts_of, kept, note_outcome
from nbhelpers.image_models.ledger import NOT_YET, Ledger, dearest
from nbhelpers.runs.files import DiskRefused
from nbhelpers.runs.progress import progress

TRANSIENT_LIMIT = 8  # failures of one image that are its own, in one run
LOST_LIMIT = 10  # requests in a row without a reply, or twice those in flight if that is more
DOUBTS = 3  # images refused by a configuration that has brought none, before it counts as wrong
LONGEST_PAUSE_S = 60.0
STORING = 6  # threads that decode images and write them
SAME_S = 1.0  # within which two signals are one
DISK_WAIT_S, DISK_PAUSE_S = (
    60.0,
    1.0,
)  # how long images that arrived wait in memory for a full disk, and between two tries


class Run:
    """One run of requests against the service: so many in flight, within rate and budget, each outcome kept.

    Everything here lives on one event loop; only disk and decoding go to threads. That carries more than a model gives
    to sixteen requests in flight, at seconds a reply (`benchmarks/bench_gemini.py`).

    The budget holds as long as no reply is dearer than the dearest that this folder's ledger knows of the model (and
    than `Price.reserve`): that much is set aside for each request in flight. A reply that is dearer still is seen when
    it arrives, so the budget can be passed by no more than what those in flight then cost above what was set aside.
    """

    def __init__(self, ledger: Ledger, rows: list[Row], folder: Path, settings: Settings, proven: bool = False) -> None:
        self.ledger, self.rows, self.folder, self.settings = ledger, rows, folder, settings
        self.counts: Counter[str] = Counter()
        self.proven = proven  # the service takes this very configuration
        self.doubted: set[str] = set()  # rows refused while it has not
        self.lost = 0  # requests without a reply since the last one that had one: each may have been billed
        self.in_flight: dict[str, float] = {}  # what each request set aside, by its key
        self.spent = ledger.spent()
        self.dearest = dearest(ledger.entries.values(), settings.request.model, "online")
        self.stopped = ""
        self.failure: BaseException | None = None
        self.dropped = False  # a second interrupt: what is in flight is not waited for
        self.no_space_until = 0.0  # how long what arrived may wait for the disk; set when it first refuses
        self.unwritten = 0  # images that arrived and that the disk did not take
        self.resume_at = self.next_slot = 0.0
        self.streak: Counter[str] = Counter()
        self.refused_quota = 0
        self.last_good = time.monotonic()
        self._queue: asyncio.Queue[Row] = asyncio.Queue()
        self._awake = asyncio.Event()
        self._settled = asyncio.Event()
        self._dirty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: dict[str, tuple[asyncio.TimerHandle, Row]] = {}
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
        try:
            self.ledger.sync()
        except DiskRefused as error:
            self.failure = self.failure or error
        await service.aio.aclose()
        if isinstance(self.failure, DiskRefused):
            raise self._told_of_disk(self.failure)
        if self.failure:
            raise self.failure

    def _told_of_disk(self, refused: DiskRefused) -> DiskRefused:
        """The one error of a disk that took no more: what is safe, and what is not."""
        here = sum(row.state == "ok" for row in self.rows)
        lost = f"{self.unwritten} images that arrived could not be written and count as spent"
        lost = lost if self.unwritten else "none that arrived is lost"
        said = f"{refused.what}; {here} images of this run are safe, {lost}"
        return DiskRefused(said, refused.where, "free some disk space and run again: it asks only for what is missing")

    def stop(self, reason: str, failure: BaseException | None = None) -> None:
        """Send no more requests; those in flight are waited for, since they are paid."""
        self.stopped = self.stopped or reason
        self.failure = self.failure or failure
        self._awake.set()
        self._settled.set()
        # Who waits to be asked again later need not be waited for.
        for handle, row in list(self._later.values()):
            handle.cancel()
            self._requeue(row)

    def interrupt(self) -> None:
        """Stop since somebody asked for it."""
        self.stop("interrupted")

    async def _worker(self, service: genai.Client, keeping: asyncio.Semaphore) -> None:
        request = self.settings.request
        while True:
            row = await self._queue.get()
            try:
                if not self.stopped:
                    await self._reserve(row)
                # Last, so that no request goes out between a wait that the service asks for and its end.
                await self._wait_for_turn()
                if self.stopped:
                    self.in_flight.pop(row.key, None)
                    self._finish(row, f"not yet: {self.stopped}")
                    continue
                asked = self.ledger.request(row.key, self.in_flight[row.key], **facts_of(row, request))
                # The line is in the file before the request is sent; the disk confirms while the service works.
                self.ledger.append(asked, durable=False)
                self._dirty.set()
                answer = await client.ask(service, request, row.prompt, row.seed, self.settings.deadline_s, row.image)
                if isinstance(answer, Outcome):
                    # What stops or slows the run must be known before the next request.
                    answer = self._weigh(row, answer)
                    self._heed(answer)
            except Exception as error:
                self.in_flight.pop(row.key, None)
                self.stop("an error", error)
                self._finish(row, "not yet: stopped by an error")
                continue
            # The reply is here: the next request goes out while this one is decoded and written.
            await keeping.acquire()
            task = asyncio.create_task(self._note(row, asked, answer, keeping))
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

    async def _reserve(self, row: Row) -> None:
        """Set aside what this request may cost; while others in flight hold the rest of the budget, wait for them."""
        while not self.stopped:
            reserve = max(self.settings.price.reserve(row.prompt), self.dearest)
            # Those in flight may turn out as dear as the dearest that came meanwhile.
            held = sum(max(aside, self.dearest) for aside in self.in_flight.values())
            if self.spent + held + reserve <= self.settings.budget_usd:
                self.in_flight[row.key] = reserve
                return
            if not self.in_flight:
                self.stop("budget")
                return
            self._settled.clear()
            await self._settled.wait()

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
        self, row: Row, asked: Mapping[str, Any], answer: str | Outcome, keeping: asyncio.Semaphore
    ) -> None:
        """Write down what became of a request, its image before its line; `answer` is a body that nobody read yet."""
        try:
            outcome = answer if isinstance(answer, Outcome) else None
            while True:
                try:
                    if outcome is None:
                        outcome = self._weigh(row, await asyncio.to_thread(self._keep, str(answer), row.key))
                        self._heed(outcome)
                    cost = note_outcome(self.ledger, row.key, asked, outcome, self.settings.price, durable=False)
                    break
                except DiskRefused as error:
                    await self._wait_for_disk(error)
            self._dirty.set()
            self.spent += cost
            self.dearest = max(self.dearest, cost)
            self._judge(row, outcome)
        except BaseException as error:
            self.unwritten += isinstance(error, DiskRefused) and outcome is None
            self.stop("an error", error)
            self._finish(row, "not yet: stopped by an error")
        finally:
            self.in_flight.pop(row.key, None)
            self._settled.set()
            keeping.release()

    async def _wait_for_disk(self, error: DiskRefused) -> None:
        """Buy no more, and give the disk some time to take what arrived, which waits in memory; then raise `error`."""
        now = time.monotonic()
        if not self.no_space_until:
            self.no_space_until = now + DISK_WAIT_S
            said = f"{error}\nbuying no more; what is in flight waits {DISK_WAIT_S:g} s for space"
            with contextlib.suppress(OSError):  # the words may go to a file on the same disk
                print(said, file=sys.stderr)
        self.stop("the disk takes no more", error)
        if now > self.no_space_until or self.dropped:
            raise error
        await asyncio.sleep(DISK_PAUSE_S)

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
                self._ask_later(row, self._backoff(1))
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
        self._ask_later(row, delay)

    def _ask_later(self, row: Row, delay: float) -> None:
        if self.stopped:
            self._requeue(row)
            return
        self._later[row.key] = (asyncio.get_running_loop().call_later(delay, self._requeue, row), row)

    def _requeue(self, row: Row) -> None:
        self._later.pop(row.key, None)
        self._queue.put_nowait(row)
        self._queue.task_done()

    def _backoff(self, failures: int) -> float:
        longest = min(LONGEST_PAUSE_S, self.settings.backoff_s * 2.0 ** min(failures - 1, 10))
        return longest * random.uniform(0.5, 1.0)

    def _pause(self, seconds: float) -> None:
        self.resume_at = max(self.resume_at, time.monotonic() + seconds)

    def _finish(self, row: Row, state: str) -> None:
        row.state = state
        # What is left for later is not done: a run that was stopped shows how far it came.
        with contextlib.suppress(OSError):
            self._bar.update(0 if state.startswith(NOT_YET) else 1)
        self._queue.task_done()


def run_in_thread(run: Run) -> None:
    """Run to the end in a thread of its own, since a notebook's thread has an event loop already.

    An interrupt, a SIGTERM or a closed terminal sends nothing more and waits for what is in flight, which is paid: no
    longer than the requests' deadline and the wait for a full disk. A second one drops that too. Then an interrupt goes
    on as one, and the others end the process as they would have.
    """
    loop = asyncio.new_event_loop()
    came: list[int] = []
    first: list[float] = []

    def heed(number: int, _: object) -> None:
        # One that goes to a whole group, and is passed on too, comes twice: that is no second one.
        if came and time.monotonic() - first[0] < SAME_S:
            return
        came.append(number)
        first.append(time.monotonic())
        run.dropped = len(came) > 1
        if not run.dropped:
            # os.write: a handler may come in the midst of a print.
            os.write(2, b"stopping: waiting for the requests in flight, which are paid; once more drops them\n")
        with contextlib.suppress(RuntimeError):  # all is done already
            for act in [task.cancel for task in asyncio.all_tasks(loop)] if run.dropped else [run.interrupt]:
                loop.call_soon_threadsafe(act)

    before = {}
    if threading.current_thread() is threading.main_thread():
        # One that was ignored stays so, as behind nohup.
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heeded = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        before = {number: signal.signal(number, heed) for number in heeded}
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="gemini") as pool:
            done: Future[None] = pool.submit(_drive, loop, run)
            while not wait([done], 0.2).done:
                pass  # a wait without an end would keep signals from being heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came and not run.dropped and (failure := done.exception()):
        print(failure, file=sys.stderr)
    if ends := [number for number in came if number != signal.SIGINT]:
        run.ledger.close()
        signal.raise_signal(ends[0])
    if came:
        raise KeyboardInterrupt
    done.result()


def _drive(loop: asyncio.AbstractEventLoop, run: Run) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        # Few threads: they wait for the disk and decode, and each one more is a rival of the loop for Python's lock.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(STORING))
        runner.run(run.work())
