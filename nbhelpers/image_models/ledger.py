"""An append-only record of paid requests: a line before each is sent, a line after each outcome, never a line lost."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.redaction import clean
from nbhelpers.runs.files import DiskRefused

FILE = "ledger.jsonl"
# Fields that are made here alone; all others pass the gate (`redaction`) when they are written, and when read.
OWN = frozenset({"event", "time", "request_id", "key", "outcome", "path", "spare", "sha256", "batch", "input"})
NOT_YET = "not yet"  # how the status of a wanted image begins that a later run may still bring


def image_key(model: str, version: str, prompt: str, configuration: Mapping[str, Any], replicate: int) -> str:
    """SHA-256 (64 hexadecimal digits) of what decides an image: what has the same key need not be bought twice.

    `replicate` counts images wanted of one and the same prompt, from 0.
    """
    parts = [model, version, prompt, dict(configuration), int(replicate)]
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Entry:
    """What the ledger knows of one key."""

    requests: int = 0  # whatever became of them
    outcomes: Counter[str] = field(default_factory=Counter)  # how often each came
    ok: dict[str, Any] | None = None  # the outcome line of the image that arrived
    last: dict[str, Any] | None = None  # the latest outcome line
    open: dict[str, dict[str, Any]] = field(default_factory=dict)  # requests without an outcome, by request id
    costs: dict[str, float] = field(default_factory=dict)  # US dollars, by outcome
    model: str = ""  # that was asked
    dearest: dict[str, float] = field(default_factory=dict)  # US dollars of its dearest reply, by `mode_of` the request

    @property
    def cost_usd(self) -> float:
        """What its outcomes cost, in US dollars."""
        return sum(self.costs.values())


class Ledger(contextlib.AbstractContextManager["Ledger"]):
    """The ledger of one folder, open for one process alone.

    Every line is a JSON object with `event` and `time`: `request` (request_id, key, estimate_usd and what was asked),
    `outcome` (request_id, key, outcome, cost_usd and what came), or another event, which is kept in `events`. Lines are
    appended with one `write`, so that a kill leaves whole lines and at most one torn line at the end, which is passed
    over; `sync` waits for the disk, one flush serving all threads that wait. What came from outside is redacted, and a
    number that JSON lacks is written as null. A `UserError` when another process has the folder's ledger open; a
    `DiskRefused` when the disk takes no line, which leaves no part of it and may be tried again.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / FILE
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DiskRefused(f"cannot write there: {error.strerror}", str(self.path), "check the folder") from None
        try:
            # The kernel gives the lock back when the process ends, however it ends: no stale lock file to remove.
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise UserError(
                "another run is writing to this folder", str(self.path.parent), "wait for it, or stop it first"
            ) from None
        self._state = threading.Condition()
        self._written = self._durable = 0
        self._flushing = False
        self._failed: OSError | None = None
        self.entries, self.events, self.bad = replay(self.path)
        size = os.fstat(self._file).st_size
        if size > 0 and os.pread(self._file, 1, size - 1) != b"\n":
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        if self._failed:
            raise self._refused(self._failed)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            # What a full disk took of it goes: the next line must begin where this one did.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, os.fstat(self._file).st_size - (len(data) - len(view)))
            raise self._refused(error) from None
        self._written += 1

    def append(self, *records: Mapping[str, Any], durable: bool = True) -> None:
        """Append lines, all in one write, from any thread; with `durable`, return when they are on the disk."""
        stamped = [_gated({"event": record["event"], "time": now(), **record}) for record in records]
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in stamped)
        data = text.encode(errors="replace")  # a service may send half of a surrogate pair
        with self._state:
            self._write(data)
            for line in stamped:
                _apply(line, self.entries, self.events)
        if durable:
            self.sync()

    def _refused(self, error: OSError) -> DiskRefused:
        return DiskRefused.at(error, self.path, "images received before are safe")

    def sync(self) -> None:
        """Wait until all that was appended before this call is on the disk."""
        with self._state:
            wanted = self._written
            while self._durable < wanted:
                if self._flushing:
                    self._state.wait()
                    continue
                self._flushing, reached = True, self._written
                self._state.release()
                try:
                    os.fsync(self._file)
                except OSError as error:
                    self._failed = error
                finally:
                    self._state.acquire()
                    self._flushing = False
                    self._state.notify_all()
                if self._failed:
                    raise self._refused(self._failed)
                self._durable = reached

    def request(self, key: str, estimate_usd: float, **facts: Any) -> dict[str, Any]:
        """A request line (not yet appended) with a fresh request id."""
        fresh = {"event": "request", "request_id": uuid.uuid4().hex}
        return fresh | {"key": key, "estimate_usd": round(estimate_usd, 6), **facts}

    def entry(self, key: str) -> Entry:
        """What is known of `key`; an empty entry when it was never asked for."""
        return self.entries.get(key) or Entry()

    def open_requests(self, batch: str | None = None) -> list[dict[str, Any]]:
        """Request lines without an outcome: those of a batch job, or those of none."""
        lines = (line for entry in self.entries.values() for line in entry.open.values())
        return [line for line in lines if line.get("batch") == batch]

    def spent(self) -> float:
        """US dollars counted so far: outcomes at their cost, requests without an outcome at their estimate.

        A request that has no outcome may have been carried out and billed, so it counts.
        """
        return spent(self.entries.values(), self.events)

    def close(self) -> None:
        """Flush, and give the folder to the next process."""
        if self._file >= 0:
            try:
                self.sync()
            finally:
                os.close(self._file)
                self._file = -1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # An error that is on its way says more than that of the last flush.
        with contextlib.suppress(DiskRefused) if kind else contextlib.nullcontext():
            self.close()


def spent(entries: Iterable[Entry], events: Iterable[Mapping[str, Any]] = ()) -> float:
    """US dollars of all outcomes, of requests still open (at their estimate) and of other events that cost."""
    total = 0.0
    for entry in entries:
        total += entry.cost_usd + sum(dollars(line.get("estimate_usd")) or 0.0 for line in entry.open.values())
    return total + sum(dollars(event.get("cost_usd")) or 0.0 for event in events)


def dearest(entries: Iterable[Entry], model: str, mode: str) -> float:
    """US dollars of the dearest reply that this model ever gave in this mode; 0 when it gave none."""
    return max((entry.dearest.get(mode, 0.0) for entry in entries if entry.model == model), default=0.0)


def mode_of(request: Mapping[str, Any]) -> str:
    """`batch` or `online`: how a request's line says that it went out."""
    return "batch" if request.get("batch") else "online"


def dollars(value: object) -> float | None:
    """`value` as dollars: a finite number from zero up, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        return None
    return float(value)


def _gated(line: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in line.items() if name in OWN}
    return own | clean({name: value for name, value in line.items() if name not in OWN})


def _apply(line: dict[str, Any], entries: dict[str, Entry], events: list[dict[str, Any]]) -> bool:
    """Count a line in; False when its cost could not be read, and was put in its request's estimate's place."""
    needed = {"request": ("key", "request_id"), "outcome": ("key", "request_id", "outcome")}.get(line["event"], ())
    if not all(isinstance(line[name], str) for name in (*needed, "event")):
        raise TypeError("a field is no text")
    match line["event"]:
        case "request":
            entry = entries.setdefault(line["key"], Entry())
            entry.requests += 1
            entry.model = str(line.get("model", ""))
            entry.open[line["request_id"]] = line
            return dollars(line.get("estimate_usd")) is not None
        case "outcome":
            kind = line["outcome"]
            entry = entries.setdefault(line["key"], Entry())
            asked = entry.open.pop(line["request_id"], {})
            told = dollars(line.get("cost_usd", 0.0))
            cost = (dollars(asked.get("estimate_usd")) or 0.0) if told is None else told
            entry.outcomes[kind] += 1
            entry.costs[kind] = entry.costs.get(kind, 0.0) + cost
            entry.dearest[mode_of(asked)] = max(entry.dearest.get(mode_of(asked), 0.0), cost)
            entry.last = line
            if kind == "ok":
                entry.ok = line
            return told is not None
        case _:
            events.append(line)
            return dollars(line.get("cost_usd", 0.0)) is not None


def replay(path: Path | str) -> tuple[dict[str, Entry], list[dict[str, Any]], list[int]]:
    """Read a ledger without locking it.

    Returns the entries by key, the other events in order, and the numbers of the lines that could not be read whole: a
    kill or a full disk tore them, or somebody changed them. None of them stops anything: a request whose outcome is
    lost stays open, and counts at its estimate; so does a cost that is no number.
    """
    entries: dict[str, Entry] = {}
    events: list[dict[str, Any]] = []
    bad: list[int] = []
    path = Path(path)
    if not path.exists():
        return entries, events, bad
    with open(path, "rb") as handle:
        for number, raw in enumerate(handle, 1):
            if not raw.strip():
                continue
            try:
                if not _apply(_gated(json.loads(raw)), entries, events):
                    bad.append(number)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                bad.append(number)
    return entries, events, bad


def passed_over(path: Path | str, bad: Iterable[int]) -> str:
    """One line that names a ledger's lines which could not be read; empty when there are none."""
    numbers = ", ".join(map(str, bad))
    return numbers and (
        f"{path}: line {numbers} is incomplete; its request counts as spent, at its estimated cost where known"
    )
