"""Calls to the service beside those for images: tried again while that helps, jobs found by name, results fetched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import IO, Any, TypeVar

from google.genai import types

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.client import from_error, in_time
from nbhelpers.image_models.gemini.settings import Settings
from nbhelpers.image_models.online import stop_message
from nbhelpers.image_models.outcomes import TRANSIENT, Outcome
from nbhelpers.image_models.redaction import redact
from nbhelpers.runs.files import REFUSALS

DOWNLOADS = 4
IMAGE_BYTES = 2**26  # that a result may have for each image that was asked for
IMAGE_S = 2.0  # seconds for each of them that a download may take, beyond the service's patience
Result = TypeVar("Result")


class Gone(UserError):
    """The service knows nothing of a job or of its result file."""


class Undecided(Exception):
    """Nobody can know whether a job was made."""


class Service:
    """Calls to the service that are tried again while waiting can help."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self.client, self.settings = client, settings

    def call(
        self,
        do: Callable[[], Result],
        of: str = "",
        lost: Callable[[Callable[[], Result | None]], Result] | None = None,
    ) -> Result:
        """What `do` gives, tried again while waiting can help.

        With `lost`, it is not tried again where it may have been carried out: `lost` gives the result then, from a
        reply that comes late (what it is called with gives that, or None), or in its own way.
        """
        settings = self.settings
        started, tries = time.monotonic(), 0
        while True:
            running = in_time(do, settings.deadline_s)
            try:
                return running.result(0)
            except (KeyError, ValueError) as error:
                # So the SDK tells of an upload that broke off and of a page of HTML where JSON was expected.
                outcome = Outcome("transport", f"{type(error).__name__}: {error}"[:300], billed=None)
            except Exception as error:
                outcome = from_error(error)
            if lost and (outcome.kind == "server" or outcome.billed is None):
                return lost(partial(_late, running))
            if outcome.kind not in TRANSIENT:
                raise self.refusal(outcome, of)
            wait = outcome.wait if outcome.wait is not None else min(settings.backoff_s * 2.0**tries, 60.0)
            tries += 1
            if time.monotonic() + wait - started > settings.patience_s:
                raise UserError(
                    f"the service did not answer: {outcome.kind}, {outcome.detail}",
                    "gemini batch",
                    "run again later: the ledger knows the jobs",
                )
            time.sleep(wait)

    def refusal(self, outcome: Outcome, of: str = "") -> UserError:
        """The error for an outcome that no wait heals; `of` is the job or the file that was asked for."""
        if of and outcome.detail.startswith(("403", "404")):
            return Gone(
                f"batch job or file {redact(of)} is not to be had: {outcome.detail}",
                "gemini batch",
                "use the API key that made it; if it was deleted or has expired, set gemini_batch_cancel: true once: "
                "its images count as paid, and the next run asks for them again",
            )
        if outcome.kind == "configuration":
            return stop_message(outcome, "gemini", self.settings.request.model)
        return UserError(f"{outcome.kind}: {outcome.detail}", "gemini batch", "run again when the quota is back")

    def job(self, name: str) -> types.BatchJob:
        """A job as it stands."""
        return self.call(lambda: self.client.batches.get(name=name), of=name)

    def find(self, batch: str, late: Callable[[], types.BatchJob | None] = lambda: None) -> types.BatchJob | None:
        """The job that was announced as `batch`, if the service has it: looked for with patience, since lists lag.

        `late` gives the reply to its making once that comes after all.
        """
        name = display_name(batch)
        until = time.monotonic() + self.settings.lookup_s
        while True:
            found = [job for job in self.call(lambda: list(self.client.batches.list())) if job.display_name == name]
            job = found[0] if found else late()
            if job is not None and job.name:
                if len(found) > 1:
                    others = ", ".join(str(job.name) for job in found[1:])
                    say(f"the service has more than one job of this name, and bills all: {others}; cancel them there")
                return job
            if time.monotonic() > until:
                return None
            time.sleep(min(self.settings.poll_s, 5.0))


def _late(running: Future[Result]) -> Result | None:
    return running.result() if running.done() and not running.exception() else None


def display_name(batch: str) -> str:
    """The name that a job is given, and found by."""
    return f"nbhelpers-{batch}"


def say(text: str) -> None:
    """Print a line that holds what the service said."""
    print(redact(text))


class _Bounded:
    """A file that takes so many bytes, and none once it is shut: a download in a thread cannot be stopped."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.left, self.shut = file, most, False

    def write(self, data: bytes) -> int:
        """Take a piece of the download."""
        self.left -= len(data)
        if self.shut or self.left < 0:
            raise UserError("the result is larger than its images can be" if self.left < 0 else "too late")
        return self.file.write(data)


def download(name: str, file: IO[bytes], images: int, service: Service) -> bool:
    """Fetch a result file into `file`, within time and size; False when only a part of it could be had."""
    until = time.monotonic() + service.settings.patience_s + images * IMAGE_S
    detail = "no time was left"
    for tries in range(DOWNLOADS):
        time.sleep(service.settings.backoff_s * (2.0**tries - 1))
        if time.monotonic() > until:
            break
        file.seek(0)
        file.truncate()
        bounded = _Bounded(file, images * IMAGE_BYTES)
        running = in_time(
            partial(service.client.files.download, file=name, destination=bounded), until - time.monotonic()
        )
        try:
            running.result(0)
            return True
        except UserError as error:
            detail = error.what
            break
        except Exception as error:
            if isinstance(error, OSError) and error.errno in REFUSALS:
                raise
            outcome = from_error(error)
        finally:
            bounded.shut = True
        detail = outcome.detail
        if outcome.kind not in TRANSIENT:
            raise service.refusal(outcome, of=name)
    if file.tell() == 0:
        raise UserError(f"no batch result: {detail}", redact(name), "run again later")
    return False


def lines_of(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, a line each and one at a time (files hold gigabytes); torn lines are passed over."""
    file.seek(0)
    while raw := file.readline(2 * IMAGE_BYTES):
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            yield line
