"""Who carries requests to Gemini and keeps the images that come back: this process, or a few of their own.

One Python process spends some milliseconds of its only lock on each request, most of them in the SDK and its HTTP
library. That is nothing beside a model that takes seconds, but from about a hundred images a second it is the limit;
so many requests in flight are shared out over processes (`python -m nbhelpers.image_models.gemini.carriers`), which are
told what to ask for and tell what came, a line of JSON each. They end when their parent does, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini import client
from nbhelpers.image_models.gemini.client import Request
from nbhelpers.image_models.gemini.key import redact
from nbhelpers.image_models.gemini.outcomes import Outcome
from nbhelpers.image_models.originals import keep_original, note_arrival

SHARE = 8  # requests in flight that one process carries
KEEPING = 2  # threads that decode images and write them, in each process
WORTH = 200  # images from which starting processes pays
BRISK = 3000  # requests a minute below which one process has time enough
LINE = 2**20  # bytes of the longest line between processes; images never pass here


class Ticket:
    """One request on its way: `arrived` when its reply has, `done` when what came is kept and classed."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.arrived: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[Outcome] = loop.create_future()
        self.on_arrival: Callable[[], None] = lambda: None

    def fail(self, error: BaseException) -> None:
        """Pass an error on to whoever waits."""
        for future in (self.arrived, self.done):
            if not future.done():
                future.set_exception(error)
                # One of the two is waited for; the other must not complain.
                future.exception()


class Carrier(Protocol):
    """Carries requests.

    `ahead` is how many may be handed over beyond those in flight: they wait where they will be sent from, so that no
    slot stands empty for the way there and back.
    """

    ahead: int

    def send(self, key: str, prompt: str, seed: int) -> Ticket:
        """Start a request for one image, to be kept under `key`."""
        ...

    def hold(self, until: float) -> None:
        """Send nothing before this moment (`time.monotonic`)."""
        ...

    def drop(self) -> None:
        """Send nothing more; what was not sent yet comes back as such."""
        ...

    async def close(self) -> None:
        """End, when nothing is on its way any more."""
        ...


def carriers(rows: int, concurrency: int, requests_per_minute: int = 0) -> int:
    """How many processes to use for so many images and requests in flight; 0 is this process itself."""
    brisk = requests_per_minute == 0 or requests_per_minute >= BRISK
    worth = brisk and rows >= WORTH and concurrency >= 2 * SHARE and (os.cpu_count() or 1) > 1
    return min(-(-concurrency // SHARE), os.cpu_count() or 1, 8) if worth else 0


class Here:
    """Carries requests in this process: one client, one event loop, and a few threads that decode and write."""

    ahead = 0

    def __init__(self, request: Request, deadline_s: float, folder: Path, in_flight: int) -> None:
        self.request, self.deadline_s, self.folder = request, deadline_s, folder
        self._slots = asyncio.Semaphore(in_flight)
        self._hold_until, self._dropped = 0.0, asyncio.Event()
        self.client = client.make_client(request.api_version, deadline_s)
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, key: str, prompt: str, seed: int) -> Ticket:
        """Start a request; see `Carrier`."""
        ticket = Ticket()
        # The loop itself holds tasks weakly.
        task = asyncio.create_task(self._carry(ticket, key, prompt, seed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ticket

    async def _carry(self, ticket: Ticket, key: str, prompt: str, seed: int) -> None:
        try:
            async with self._slots:
                answer = await self._ask(prompt, seed)
            if isinstance(answer, str):
                ticket.arrived.set_result(None)
                ticket.on_arrival()
                ticket.done.set_result(await asyncio.to_thread(_keep, answer, key, self.folder))
            else:
                # What stops or slows the run must be known before the next request.
                ticket.done.set_result(answer)
                ticket.arrived.set_result(None)
        except BaseException as error:
            ticket.fail(error)
            if not isinstance(error, Exception):
                raise

    async def _ask(self, prompt: str, seed: int) -> str | Outcome:
        while (delay := self._hold_until - time.monotonic()) > 0 and not self._dropped.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._dropped.wait(), delay)
        if self._dropped.is_set():
            return Outcome("transport", "not sent: the run stopped", billed=False)
        return await client.ask(self.client, self.request, prompt, seed, self.deadline_s)

    def hold(self, until: float) -> None:
        """Send nothing before this moment; see `Carrier`."""
        self._hold_until = max(self._hold_until, until)

    def drop(self) -> None:
        """Send nothing more; see `Carrier`."""
        self._dropped.set()

    async def close(self) -> None:
        """Close the client's connections."""
        await self.client.aio.aclose()


def _keep(body: str, key: str, folder: Path) -> Outcome:
    return kept(client.read_body(body), key, folder)


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


class Processes:
    """Carries requests in processes of their own; made by `start`."""

    def __init__(self) -> None:
        self._children: list[asyncio.subprocess.Process] = []
        self._waiting: list[dict[int, Ticket]] = []
        self._readers: list[asyncio.Task[None]] = []
        self._ended: set[int] = set()
        self._number = self.ahead = 0

    @classmethod
    async def start(cls, count: int, request: Request, deadline_s: float, folder: Path, in_flight: int) -> Processes:
        """Start the processes. The key goes to them in the environment, as it came to this one."""
        self = cls()
        self.ahead = count
        settings = {"request": asdict(request), "deadline_s": deadline_s, "folder": str(folder.absolute())}
        root = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        for place in range(count):
            share = in_flight // count + (place < in_flight % count)
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "nbhelpers.image_models.gemini.carriers"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE,
                env=os.environ | {"PYTHONPATH": path},
            )
            self._children.append(child)
            self._waiting.append({})
            self._write(child, settings | {"in_flight": share})
        for child in self._children:
            # No request is noted before there is somebody to carry it.
            assert child.stdout is not None
            if not await child.stdout.readline():
                raise RuntimeError("a process that carries requests did not start")
        self._readers = [asyncio.create_task(self._read(place)) for place in range(count)]
        return self

    def send(self, key: str, prompt: str, seed: int) -> Ticket:
        """Start a request in the process that has the fewest on their way; see `Carrier`."""
        places = [place for place in range(len(self._children)) if place not in self._ended]
        if not places:
            raise RuntimeError("the processes that carry requests have ended before their time")
        place = min(places, key=lambda one: len(self._waiting[one]))
        ticket, self._number = Ticket(), self._number + 1
        self._waiting[place][self._number] = ticket
        self._write(self._children[place], {"n": self._number, "key": key, "prompt": prompt, "seed": seed})
        return ticket

    def hold(self, until: float) -> None:
        """Send nothing before this moment; see `Carrier`. The clock is the machine's, the same in each process."""
        for child in self._children:
            self._write(child, {"hold": until})

    def drop(self) -> None:
        """Send nothing more; see `Carrier`."""
        for child in self._children:
            self._write(child, {"drop": True})

    @staticmethod
    def _write(child: asyncio.subprocess.Process, line: Mapping[str, Any]) -> None:
        assert child.stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            # One that has ended is found out by its reader.
            child.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self, place: int) -> None:
        child, waiting = self._children[place], self._waiting[place]
        assert child.stdout is not None
        try:
            async for raw in child.stdout:
                line = json.loads(raw)
                ticket = waiting[line["n"]]
                if "failed" in line:
                    waiting.pop(line["n"]).fail(_error(line["failed"]))
                    continue
                if "done" in line:
                    waiting.pop(line["n"])
                    ticket.done.set_result(Outcome(**line["done"]))
                if not ticket.arrived.done():
                    ticket.arrived.set_result(None)
        finally:
            # However it ended, and busy or not: nobody may wait for it, and nothing more be given to it.
            self._ended.add(place)
            for ticket in waiting.values():
                ticket.fail(RuntimeError("a process that carries requests ended before its time"))

    async def close(self) -> None:
        """Let the processes end, and wait for them."""
        for child in self._children:
            assert child.stdin is not None
            child.stdin.close()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for child in self._children:
            await child.wait()


def _error(failed: Mapping[str, str]) -> Exception:
    if "what" in failed:
        return UserError(failed["what"], failed["where"], failed["do"])
    return RuntimeError(failed["text"])


async def _serve() -> None:
    """A carrying process: requests come in on standard input, what became of them goes out on standard output."""
    loop = asyncio.get_running_loop()
    # Few threads: they wait for the disk and decode, and each one more is a rival of the loop for Python's lock.
    loop.set_default_executor(ThreadPoolExecutor(KEEPING))
    sys.setswitchinterval(0.0005)
    gc.freeze()
    reader = asyncio.StreamReader(limit=LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what some library prints must not come between the lines
    settings = json.loads(await reader.readline())
    request, folder = Request(**settings["request"]), Path(settings["folder"])
    here = Here(request, settings["deadline_s"], folder, settings["in_flight"])
    tasks: set[asyncio.Task[None]] = set()
    _tell(out, {"ready": True})

    async def serve_one(line: Mapping[str, Any]) -> None:
        number = line["n"]
        ticket = here.send(line["key"], line["prompt"], line["seed"])
        ticket.on_arrival = lambda: _tell(out, {"n": number, "arrived": True})
        try:
            _tell(out, {"n": number, "done": asdict(await ticket.done)})
        except UserError as error:
            _tell(out, {"n": number, "failed": {"what": error.what, "where": error.where, "do": error.do}})
        except Exception as error:
            text = redact(f"{type(error).__name__}: {error}")
            _tell(out, {"n": number, "failed": {"text": text}})

    while raw := await reader.readline():
        line = json.loads(raw)
        if "hold" in line:
            here.hold(line["hold"])
            continue
        if "drop" in line:
            here.drop()
            continue
        task = asyncio.create_task(serve_one(line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    # The parent is done, or dead: nobody wants what is still on its way.
    os._exit(0)


def _tell(out: Any, line: Mapping[str, Any]) -> None:
    out.write(json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    # An interrupt is the parent's to handle: it waits for what is in flight.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve())
