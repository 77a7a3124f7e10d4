"""Buying from paid services, several at the same time: each thing once, within one budget, whatever ends the run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.ledger import NOT_YET, Entry, Ledger, passed_over
from nbhelpers.image_models.online import Purse, Run, Service
from nbhelpers.image_models.originals import forget_arrivals
from nbhelpers.image_models.purchases import Row, adopt, check_budget, estimate, plan_rows, settle
from nbhelpers.image_models.redaction import gate
from nbhelpers.runs.files import DiskRefused

STORING = 6  # threads that decode images and write them
SAME_S = 1.0  # within which two signals are one


def run_in_thread(*runs: Run) -> None:
    """Run all at once to their ends, in a thread of its own: a notebook's thread has an event loop already.

    An interrupt, a SIGTERM or a closed terminal sends nothing more and waits for what is in flight, which is paid: no
    longer than the requests' deadline and the wait for a full disk. A second one drops that too. Then an interrupt goes
    on as one, and the others end the process as they would have. What one run fails with stops no other run.
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
        dropped = len(came) > 1
        for run in runs:
            run.dropped = dropped
        if not dropped:
            # os.write: a handler may come in the midst of a print.
            os.write(2, b"stopping: waiting for the requests in flight, which are paid; once more drops them\n")
        with contextlib.suppress(RuntimeError):  # all is done already
            acts = [task.cancel for task in asyncio.all_tasks(loop)] if dropped else [run.interrupt for run in runs]
            for act in acts:
                loop.call_soon_threadsafe(act)

    before = {}
    if threading.current_thread() is threading.main_thread():
        # One that was ignored stays so, as behind nohup.
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heeded = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        before = {number: signal.signal(number, heed) for number in heeded}
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="buying") as pool:
            done: Future[None] = pool.submit(_drive, loop, runs)
            while not wait([done], 0.2).done:
                pass  # a wait without an end would keep signals from being heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if len(came) == 1 and (failure := done.exception()):
        print(failure, file=sys.stderr)
    if ends := [number for number in came if number != signal.SIGINT]:
        runs[0].ledger.close()
        signal.raise_signal(ends[0])
    if came:
        raise KeyboardInterrupt
    done.result()


def _drive(loop: asyncio.AbstractEventLoop, runs: Sequence[Run]) -> None:
    async def work() -> list[Any]:
        return await asyncio.gather(*(run.work() for run in runs), return_exceptions=True)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        # Few threads: they wait for the disk and decode, and each one more is a rival of the loop for Python's lock.
        runner.get_loop().set_default_executor(ThreadPoolExecutor(STORING))
        failures = [ended for ended in runner.run(work()) if isinstance(ended, BaseException)]
    told = [failure for failure in failures if isinstance(failure, UserError) and not isinstance(failure, DiskRefused)]
    if failures:
        # A defect, or a full disk, says more than what a service refused.
        raise next((failure for failure in failures if failure not in told), None) or UserError.of(told)


@contextlib.contextmanager
def opened(folder: Path, rows: Sequence[Row]) -> Iterator[Ledger]:
    """The ledger of a folder, made good after whatever ended the run before: of `rows`, what arrived is known."""
    with gate(), Ledger(folder) as ledger:
        if said := passed_over(ledger.path, ledger.bad):
            print(said)
        settle(ledger)
        adopt(ledger, list(rows), folder)
        yield ledger
        forget_arrivals(folder)


def buy(
    ledger: Ledger, orders: Sequence[tuple[Service, Sequence[Row]]], folder: Path, budget_usd: float, parameter: str
) -> None:
    """Buy what each service is to bring and `folder` does not hold yet, from all at once; rows know their state then.

    Rows of one key are bought once. A `UserError` before anything is paid (what `Service.check` finds, an estimate over
    what is left of the budget, which `parameter` names), and as of `run_in_thread`.
    """
    wanted: list[tuple[Service, list[Row], bool]] = []
    keys: set[str] = set()
    for service, rows in orders:
        plan = plan_rows(list(rows), ledger.entries, folder, service.terms.attempts)
        fresh = {row.key: row for row in plan.wanted if row.key not in keys}
        keys |= fresh.keys()
        if fresh:
            wanted.append((service, list(fresh.values()), bool(plan.here)))
    if not wanted:
        return
    usd = sum(estimate(rows, service.price) for service, rows, _ in wanted)
    check_budget(len(keys), usd, ledger.spent(), budget_usd, parameter)
    faults = []
    for service in {service.model: service for service, _, _ in wanted}.values():
        try:
            service.check()
        except UserError as error:
            faults.append(error)
    if faults:
        raise UserError.of(faults)
    purse = Purse(ledger, budget_usd)
    run_in_thread(*(Run(ledger, rows, folder, service, purse, proven) for service, rows, proven in wanted))


def bought(
    folder: Path, orders: Sequence[tuple[Service, Sequence[Row]]], budget_usd: float, parameter: str, instead: str = ""
) -> dict[str, Entry]:
    """What is known of each key once `buy` is through.

    A `UserError` as of `buy`, and while answers are missing that a later run may still bring; `instead` is what else
    can be done then.
    """
    wanted = [row for _, rows in orders for row in rows]
    with opened(folder, wanted) as ledger:
        buy(ledger, orders, folder, budget_usd, parameter)
        entries = {row.key: ledger.entry(row.key) for row in wanted}
    # Two orders of one kind have their rows in common, and one of them was asked.
    states = {row.key: row.state for row in wanted if row.state}
    late, why = [], []
    for row in wanted:
        entry, state = entries[row.key], states.get(row.key, "")
        if entry.ok is None and (state.startswith(NOT_YET) or entry.last is None):
            late.append(f"{row.image_id} ({state.removeprefix(NOT_YET + ': ')})")
            why += [str(entry.last["detail"])] if entry.last and entry.last.get("detail") else []
    if late:
        said = ": ".join([f"{len(late)} answers are still missing, the first {late[0]}", *why[:1]])
        raise UserError(said, str(folder), f"run again, which requests only the missing ones{instead}")
    return entries
