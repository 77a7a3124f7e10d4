"""A paid service asked online: so many requests in flight, within rate, budget and deadline, every outcome kept."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import SERVICES, api_key, endpoint
from nbhelpers.image_models.ledger import NOT_YET, Ledger, dearest
from nbhelpers.image_models.outcomes import REFUSALS, TRANSIENT, Outcome
from nbhelpers.image_models.prices import Price, instead, listed_of, price_of
from nbhelpers.image_models.purchases import Row, Terms, facts_of, kept, note_outcome
from nbhelpers.runs.files import DiskRefused
from nbhelpers.runs.progress import progress

TRANSIENT_LIMIT = 8  # failures of one image that are its own, in one run
LOST_LIMIT = 10  # requests in a row without a reply, or twice those in flight if that is more
DOUBTS = 3  # images refused by a configuration that has brought none, before it counts as wrong
LONGEST_PAUSE_S = 60.0
_WITHDRAWN = re.compile(
    r"model.{0,80}(no longer|not available|shut ?down|deprecated|retired|discontinued)", re.IGNORECASE
)
DISK_WAIT_S = 60.0  # how long images that arrived wait in memory for a full disk
DISK_PAUSE_S = 1.0  # between two tries


def stop_message(outcome: Outcome, service: str, model: str) -> UserError:
    """The one error that a user sees when no request can succeed: key, model or request is wrong."""
    detail, access = outcome.detail, SERVICES[service]
    key, google = access.keys[-1], service == "gemini"
    if "PUP_LIMITED_DISABLED" in detail:
        return UserError(
            detail, "the account", "see Google's mail and https://aistudio.google.com; nothing more is bought"
        )
    if detail.startswith("the endpoint"):
        return UserError(detail, access.endpoint, "give a whole URL, such as https://example.org")
    if detail.startswith(("404", "410")) or _WITHDRAWN.search(detail):
        do = instead(model) if google else "check the id of the model, and that of the endpoint's region"
        return UserError(
            f"model {model!r} is withdrawn, closed to this key, or unknown (is not found): {detail}", service, do
        )
    if detail.startswith(("401", "403")) or "api key" in detail.lower():
        do = f"check {key} and its account" + ("" if google else ": some models want a verified organisation")
        return UserError(f"the API key is refused: {detail}", "environment", do)
    return UserError(f"the request is refused: {detail}", f"{service}, {model}", "correct the settings")


@dataclass
class Service:
    """One model of a paid service, asked in one way: all that a run needs to know of it.

    `options` are its own settings, over the defaults of `OPTIONS`.
    """

    model: str
    price: Price
    terms: Terms
    options: Mapping[str, Any] = field(default_factory=dict)

    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {}  # name: type and default
    name: ClassVar[str] = ""  # of `access.SERVICES`
    masks: ClassVar[bool] = False  # whether a mask can be sent
    sized: ClassVar[bool] = True  # whether an edit's size can be asked for

    def __post_init__(self) -> None:
        self.listed = listed_of(self.name, self.model)

    @classmethod
    def made(cls, model: str, own_usd: float | None, terms: Terms, options: Mapping[str, Any]) -> Service:
        """A service from its settings; a `UserError` for a model without a price, or for what it does not take."""
        return cls(model, price_of(cls.name, model, own_usd, options.get("quality")), terms, options)

    def side(self, wanted: int) -> int:
        """Pixels of the square that can be asked for, where `wanted` are wanted."""
        sides = self.listed.get("sides")
        return min(sides, key=lambda one: abs(one - wanted)) if sides else max(wanted, self.listed.get("least_side", 0))

    def check(self) -> None:
        """A `UserError` without a key or a usable endpoint; the model is known to be gone when it is asked."""
        api_key(self.name)
        endpoint(self.name)

    def stop_message(self, outcome: Outcome) -> UserError:
        """The one error that a user sees when no request can succeed."""
        return stop_message(outcome, self.name, self.model)

    async def open(self) -> None:
        """Make the client, on the event loop that uses it."""
        raise NotImplementedError

    async def ask(self, row: Row) -> Any:
        """Ask once: an `Outcome` of what was no answer, or what came, for `read`."""
        raise NotImplementedError

    def read(self, answer: Any) -> Outcome:
        """The outcome of what came; decodes pictures, so it is kept off the event loop."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the client."""
        raise NotImplementedError


class Purse:
    """What may be spent in a folder, over its whole life, by all runs that buy into it at the same time."""

    def __init__(self, ledger: Ledger, budget_usd: float) -> None:
        self.budget_usd, self.spent = budget_usd, ledger.spent()
        self.in_flight: dict[str, tuple[float, Run]] = {}  # what each request set aside, by its key
        self.settled = asyncio.Event()  # one of them has come back

    def held(self) -> float:
        """What those in flight may cost: they may turn out as dear as the dearest of their kind that came meanwhile."""
        return sum(max(aside, run.dearest) for aside, run in self.in_flight.values())


class Run:
    """One run of requests against a service: so many in flight, within rate and budget, each outcome kept.

    Everything here lives on one event loop; only disk and decoding go to threads. That carries more than a model gives
    to sixteen requests in flight, at seconds a reply (`benchmarks/bench_gemini.py`).

    The budget holds as long as no reply is dearer than the dearest that this folder's ledger knows of the model (and
    than `Price.reserve`): that much is set aside for each request in flight. A reply that is dearer still is seen when
    it arrives, so the budget can be passed by no more than what those in flight then cost above what was set aside.
    """

    def __init__(
        self, ledger: Ledger, rows: list[Row], folder: Path, service: Service, purse: Purse, proven: bool = False
    ) -> None:
        self.ledger, self.rows, self.folder, self.service, self.purse = ledger, rows, folder, service, purse
        self.terms = service.terms
        self.counts: Counter[str] = Counter()
        self.proven = proven  # the service takes this very configuration
        self.doubted: set[str] = set()  # rows refused while it has not
        self.lost = 0  # requests without a reply since the last one that had one: each may have been billed
        self.dearest = dearest(ledger.entries.values(), service.model, "online")
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
        self._dirty = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: dict[str, tuple[asyncio.TimerHandle, Row]] = {}
        self._bar: Any = None

    async def work(self) -> None:
        """Draw all rows; returns when each is here, given up, or left because the run stopped."""
        await self.service.open()
        self._bar = progress(total=len(self.rows), desc=f"drawing {self.service.model}", unit="image")
        for row in self.rows:
            self._queue.put_nowait(row)
        keeping = asyncio.Semaphore(2 * self.terms.concurrency)
        many = min(self.terms.concurrency, len(self.rows))
        workers = [asyncio.create_task(self._worker(keeping)) for _ in range(many)]
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
        await self.service.close()
        if isinstance(self.failure, DiskRefused):
            raise self._told_of_disk(self.failure)
        if self.failure:
            raise self.failure

    def _told_of_disk(self, refused: DiskRefused) -> DiskRefused:
        """The one error of a disk that took no more: what is safe, and what is not."""
        here = sum(row.state == "ok" for row in self.rows)
        lost = f"{self.unwritten} images received could not be written and count as spent"
        lost = lost if self.unwritten else "no image received is lost"
        said = f"{refused.what}; {here} images of this run are safe, {lost}"
        return DiskRefused(
            said, refused.where, "free some disk space and run again, which requests only the missing images"
        )

    def stop(self, reason: str, failure: BaseException | None = None) -> None:
        """Send no more requests; those in flight are waited for, since they are paid."""
        self.stopped = self.stopped or reason
        self.failure = self.failure or failure
        self._awake.set()
        self.purse.settled.set()
        # Who waits to be asked again later need not be waited for.
        for handle, row in list(self._later.values()):
            handle.cancel()
            self._requeue(row)

    def interrupt(self) -> None:
        """Stop since somebody asked for it."""
        self.stop("interrupted")

    async def _worker(self, keeping: asyncio.Semaphore) -> None:
        while True:
            row = await self._queue.get()
            try:
                if not self.stopped:
                    await self._reserve(row)
                # Last, so that no request goes out between a wait that the service asks for and its end.
                await self._wait_for_turn()
                if self.stopped:
                    self._give_back(row)
                    self._finish(row, f"not yet: {self.stopped}")
                    continue
                aside = self.purse.in_flight[row.key][0]
                asked = self.ledger.request(row.key, aside, **facts_of(row, self.service.model))
                # The line is in the file before the request is sent; the disk confirms while the service works.
                self.ledger.append(asked, durable=False)
                self._dirty.set()
                started = time.monotonic()
                answer = await self.service.ask(row)
                seconds = round(time.monotonic() - started, 3)
                if isinstance(answer, Outcome):
                    # What stops or slows the run must be known before the next request.
                    answer = self._weigh(row, answer)
                    self._heed(answer)
            except Exception as error:
                self._give_back(row)
                self.stop("an error", error)
                self._finish(row, "not yet: stopped by an error")
                continue
            # The reply is here: the next request goes out while this one is decoded and written.
            await keeping.acquire()
            task = asyncio.create_task(self._note(row, asked, answer, seconds, keeping))
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
            reserve = max(self.service.price.reserve(row.prompt, row.side), self.dearest)
            if self.purse.spent + self.purse.held() + reserve <= self.purse.budget_usd:
                self.purse.in_flight[row.key] = reserve, self
                return
            if not self.purse.in_flight:
                self.stop("budget")
                return
            self.purse.settled.clear()
            await self.purse.settled.wait()

    def _give_back(self, row: Row) -> None:
        self.purse.in_flight.pop(row.key, None)
        # Others may wait for what this one had set aside.
        self.purse.settled.set()

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
        self, row: Row, asked: Mapping[str, Any], answer: Any, seconds: float, keeping: asyncio.Semaphore
    ) -> None:
        """Write down what became of a request, its image before its line; `answer` is one that nobody read yet."""
        try:
            outcome = answer if isinstance(answer, Outcome) else None
            while True:
                try:
                    if outcome is None:
                        outcome = self._weigh(row, await asyncio.to_thread(self._keep, answer, row.key, seconds))
                        self._heed(outcome)
                    cost = note_outcome(self.ledger, row.key, asked, outcome, self.service.price, durable=False)
                    break
                except DiskRefused as error:
                    await self._wait_for_disk(error)
            self._dirty.set()
            self.purse.spent += cost
            self.dearest = max(self.dearest, cost)
            self._judge(row, outcome)
        except BaseException as error:
            self.unwritten += isinstance(error, DiskRefused) and outcome is None
            self.stop("an error", error)
            self._finish(row, "not yet: stopped by an error")
        finally:
            self._give_back(row)
            keeping.release()

    async def _wait_for_disk(self, error: DiskRefused) -> None:
        """Buy no more, and give the disk some time to take what arrived, which waits in memory; then raise `error`."""
        now = time.monotonic()
        if not self.no_space_until:
            self.no_space_until = now + DISK_WAIT_S
            said = f"{error}\nno further requests; those in flight wait {DISK_WAIT_S:g} s for space"
            with contextlib.suppress(OSError):  # the words may go to a file on the same disk
                print(said, file=sys.stderr)
        self.stop("the disk is full", error)
        if now > self.no_space_until or self.dropped:
            raise error
        await asyncio.sleep(DISK_PAUSE_S)

    def _keep(self, answer: Any, key: str, seconds: float) -> Outcome:
        outcome = self.service.read(answer)
        return kept(replace(outcome, facts={**outcome.facts, "seconds": seconds}), key, self.folder)

    async def _wait_for_turn(self) -> None:
        """Wait while the service asked for a pause, and for the next slot under the rate limit."""
        while not self.stopped and (delay := self.resume_at - time.monotonic()) > 0:
            await self._sleep(delay)
        if self.terms.requests_per_minute and not self.stopped:
            moment = max(time.monotonic(), self.next_slot)
            self.next_slot = moment + 60.0 / self.terms.requests_per_minute
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
            refused = self.service.stop_message(outcome)
            self.stop(outcome.kind, refused if outcome.kind == "configuration" else None)
        elif outcome.wait is not None:
            self._pause(outcome.wait * random.uniform(1.0, 1.05))
        elif outcome.kind == "quota_minute":
            self.refused_quota += 1
            self._pause(self._backoff(1 + self.refused_quota // self.terms.concurrency))

    def _judge(self, row: Row, outcome: Outcome) -> None:
        """Decide what becomes of a row: done, asked again (now or later), or given up; and of the run."""
        kind = outcome.kind
        self.counts[kind] += 1
        self._count_lost(outcome)
        self._bar.set_postfix(self.counts | {"usd": round(self.purse.spent, 2)}, refresh=False)
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
            if row.refusals >= self.terms.attempts:
                self._finish(row, f"given up: {kind}")
            else:
                self._requeue(row)

    def _count_lost(self, outcome: Outcome) -> None:
        """Stop when requests that may have been billed go without any reply, one after another."""
        if outcome.kind != "transport":
            self.lost = 0
        elif outcome.billed is None:
            self.lost += 1
        if self.lost >= max(2 * self.terms.concurrency, LOST_LIMIT):
            self.stop(f"{self.lost} requests in a row had no reply and may be billed; see deadline_s")

    def _try_later(self, row: Row, outcome: Outcome) -> None:
        now, settings = time.monotonic(), self.terms
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
        longest = min(LONGEST_PAUSE_S, self.terms.backoff_s * 2.0 ** min(failures - 1, 10))
        return longest * random.uniform(0.5, 1.0)

    def _pause(self, seconds: float) -> None:
        self.resume_at = max(self.resume_at, time.monotonic() + seconds)

    def _finish(self, row: Row, state: str) -> None:
        row.state = state
        # What is left for later is not done: a run that was stopped shows how far it came.
        with contextlib.suppress(OSError):
            self._bar.update(0 if state.startswith(NOT_YET) else 1)
        self._queue.task_done()
