"""Gemini's batch mode: the same images at half the price within a day, by jobs that a stopped notebook finds again."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from google.genai import types

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.client import from_error, make_client, stop_message
from nbhelpers.image_models.gemini.key import redact
from nbhelpers.image_models.gemini.outcomes import TRANSIENT, Outcome, from_reply, from_status
from nbhelpers.image_models.gemini.purchases import (
    Plan,
    Row,
    Settings,
    check_budget,
    estimate,
    facts_of,
    in_jobs,
    kept,
    note_outcome,
    plan_rows,
)
from nbhelpers.image_models.ledger import Ledger
from nbhelpers.runs.files import write_bytes
from nbhelpers.runs.progress import progress

ENDED = ("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
DOWNLOADS = 4
GONE = "the service no longer has it"
Result = TypeVar("Result")


def run(ledger: Ledger, plan: Plan, folder: Path, settings: Settings) -> None:
    """Collect the jobs that are open, then buy what is still wanted in new jobs, until all is here or given up.

    A job is in the ledger before it is made and again, with its id, at once after: whatever stops this process, the
    next run finds the job, by its id or by the name it was given. Each round asks again for what the last one did not
    bring. In online mode open jobs are collected and none is made. A `UserError` as of `GeminiSource.draw`, and when a
    job is not done after `gemini_batch_hours`.
    """
    service = _Retrying(make_client(settings.request.api_version, settings.deadline_s), settings)
    jobs = _open_jobs(ledger, service)
    for attempt in range(settings.attempts + 1):
        if settings.batch_cancel:
            _cancel(ledger, jobs, service)
        hopeless = _collect(ledger, jobs, folder, service)
        plan = plan_rows(plan.rows, ledger.entries, folder, settings.attempts)
        wanted = [row for row in plan.wanted if not in_jobs(ledger.entry(row.key))]
        # After the last attempt a job more would be made, and collected by nobody.
        if not wanted or hopeless or settings.batch_cancel or settings.mode != "batch" or attempt == settings.attempts:
            return
        try:
            check_budget(len(wanted), estimate(wanted, settings), ledger.spent(), settings.budget_usd)
        except UserError:
            if attempt == 0 and not jobs:
                raise
            for row in wanted:
                row.state = "not yet: budget"
            return
        starts = range(0, len(wanted), settings.batch_images)
        parts = [wanted[start : start + settings.batch_images] for start in starts]
        jobs = dict(_submit(ledger, part, folder, service) for part in parts)


def announced(ledger: Ledger) -> bool:
    """Whether the ledger knows of a job that was not collected."""
    count = {"batch_request": 1, "batch_closed": -1}
    return sum(count.get(event["event"], 0) for event in ledger.events) > 0


class _Gone(UserError):
    """The service knows nothing of a job or of its result file."""


class _Retrying:
    """Calls to the service that are tried again while waiting can help."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self.client, self.settings = client, settings

    def call(
        self, do: Callable[[], Result], before_retry: Callable[[], Result | None] = lambda: None, of: str = ""
    ) -> Result:
        """What `do` gives. `before_retry` may find that a try that seemed to fail was carried out after all."""
        settings = self.settings
        started, tries = time.monotonic(), 0
        while True:
            try:
                return self._in_time(do)
            except (KeyError, ValueError) as error:
                # So the SDK tells of an upload that broke off and of a page of HTML where JSON was expected.
                outcome = Outcome("transport", redact(f"{type(error).__name__}: {error}")[:300])
            except Exception as error:
                outcome = from_error(error)
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
            found = before_retry()
            if found is not None:
                return found

    def _in_time(self, do: Callable[[], Result]) -> Result:
        """What `do` gives, or a `TimeoutError`: the HTTP library bounds a read alone, which a slow drip outlives."""
        done: Future[Result] = Future()

        def work() -> None:
            try:
                done.set_result(do())
            except BaseException as error:
                done.set_exception(error)

        # A daemon: one that never ends must not keep the process either.
        threading.Thread(target=work, name="gemini batch", daemon=True).start()
        return done.result(self.settings.deadline_s)

    def refusal(self, outcome: Outcome, of: str = "") -> UserError:
        """The error for an outcome that no wait heals; `of` is the job or the file that was asked for."""
        if of and outcome.detail.startswith(("403", "404")):
            return _Gone(
                f"batch job or file {of} is not to be had: {outcome.detail}",
                "gemini batch",
                "use the API key that made it; if it was deleted or has expired, set gemini_batch_cancel: true once: "
                "its images count as paid, and the next run asks for them again",
            )
        if outcome.kind == "configuration":
            return stop_message(outcome, self.settings.request.model)
        return UserError(f"{outcome.kind}: {outcome.detail}", "gemini batch", "run again when the quota is back")

    def job(self, name: str) -> types.BatchJob:
        """A job as it stands."""
        return self.call(lambda: self.client.batches.get(name=name), of=name)

    def find(self, display_name: str) -> types.BatchJob | None:
        """The job that was made under this name, if the service has it."""
        found = self.call(lambda: [job for job in self.client.batches.list() if job.display_name == display_name])
        return found[0] if found else None


def _open_jobs(ledger: Ledger, service: _Retrying) -> dict[str, dict[str, Any]]:
    """Jobs that were made and not collected, by batch id, with the service's job id in `job`.

    One that the ledger announced and has no id for is looked up by its name: a kill may have come between.
    """
    jobs: dict[str, dict[str, Any]] = {}
    for event in ledger.events:
        match event["event"]:
            case "batch_request":
                jobs[event["batch"]] = dict(event)
            case "batch":
                jobs.setdefault(event["batch"], {"batch": event["batch"], "images": 0})["job"] = event["job"]
            case "batch_closed":
                jobs.pop(event["batch"], None)
    for batch, event in list(jobs.items()):
        if "job" in event:
            continue
        found = service.find(_display_name(batch))
        if found is None:
            # A list may lag behind what was just made; a second look costs less than a second purchase.
            time.sleep(min(service.settings.poll_s, 10.0))
            found = service.find(_display_name(batch))
        if found and found.name:
            event["job"] = found.name
            ledger.append({"event": "batch", "batch": batch, "job": found.name, "detail": "found by its name"})
        else:
            _close(ledger, batch, "never made")
            jobs.pop(batch)
    return jobs


def _display_name(batch: str) -> str:
    return f"nbhelpers-{batch}"


def _submit(ledger: Ledger, rows: list[Row], folder: Path, service: _Retrying) -> tuple[str, dict[str, Any]]:
    """Announce a job in the ledger, upload its requests, make it, and note its id."""
    batch = uuid.uuid4().hex
    name = _display_name(batch)
    request, price = service.settings.request, service.settings.price
    lines = (
        json.dumps({"key": row.key, "request": request.as_json(row.prompt, row.seed)}, ensure_ascii=False)
        for row in rows
    )
    path = folder / "batches" / f"{batch}.jsonl"
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    asked = [ledger.request(row.key, price.reserve(row.prompt), batch=batch, **facts_of(row, request)) for row in rows]
    announced = {"event": "batch_request", "batch": batch, "images": len(rows), "input": f"batches/{path.name}"}
    upload = types.UploadFileConfig(mime_type="jsonl", display_name=name)
    source = service.call(lambda: service.client.files.upload(file=path, config=upload))
    ledger.append(announced, *asked)
    made = types.CreateBatchJobConfig(display_name=name)
    try:
        job = service.call(
            lambda: service.client.batches.create(model=request.model, src=source.name, config=made),
            before_retry=lambda: service.find(name),
        )
    except UserError:
        # Refused outright: nothing runs and nothing is billed. When that is not sure, the next run looks it up.
        if service.find(name) is None:
            _close(ledger, batch, "refused")
        raise
    ledger.append({"event": "batch", "batch": batch, "job": job.name})
    print(f"batch job {job.name}: {len(rows)} images")
    return batch, announced | {"job": job.name}


def _close(ledger: Ledger, batch: str, why: str) -> None:
    """Close a job, and with it its requests that have no outcome: the service brought nothing for them.

    What a job that succeeded left out may have been billed, so it counts at its estimate, and as a try; so does, but
    not as a try, what a job held that is gone.
    """
    succeeded = why.endswith("SUCCEEDED")
    kind = "no_image" if succeeded else "unknown" if why == GONE else "server"
    lines = [
        {"event": "outcome", "request_id": line["request_id"], "key": line["key"]}
        | {"outcome": kind, "cost_usd": 0.0 if kind == "server" else line["estimate_usd"]}
        | {"detail": f"nothing in the result of the batch job: {why}"}
        for line in ledger.open_requests(batch)
    ]
    ledger.append(*lines, {"event": "batch_closed", "batch": batch, "detail": why})


def _cancel(ledger: Ledger, jobs: dict[str, dict[str, Any]], service: _Retrying) -> None:
    """Cancel what still runs; a job that the service no longer has is closed, its images counted as paid."""
    for batch, event in list(jobs.items()):
        name = event["job"]
        try:
            state = _state(service.job(name))
            if state not in ENDED:
                service.call(partial(service.client.batches.cancel, name=name), of=name)
                print(f"batch job {name}: cancelled while {state}")
        except _Gone:
            _close(ledger, batch, GONE)
            jobs.pop(batch)
            print(f"batch job {name}: the service no longer has it")


def _result_file(job: types.BatchJob) -> str | None:
    return job.dest.file_name if job.dest else None


def _state(job: types.BatchJob) -> str:
    return job.state.name.removeprefix("JOB_STATE_") if job.state else "UNSPECIFIED"


def _collect(ledger: Ledger, jobs: dict[str, dict[str, Any]], folder: Path, service: _Retrying) -> bool:
    """Wait for the jobs, and keep what each brought as soon as it ends; True when asking again is of no use today."""
    if not jobs:
        return False
    settings = service.settings
    hopeless = False
    waiting = dict(jobs)
    started = time.monotonic()
    bar = progress(total=sum(int(event["images"]) for event in jobs.values()), desc="batch jobs", unit="image")
    while waiting:
        states: dict[str, str] = {}
        for batch, event in list(waiting.items()):
            job = service.job(event["job"])
            state = states[event["job"]] = _state(job)
            # A job that is done and names no file yet may still name it: dropping it would buy its images twice.
            lagging = state.endswith("SUCCEEDED") and not _result_file(job)
            if state not in ENDED or (lagging and not settings.batch_cancel):
                continue
            try:
                hopeless |= _keep_results(ledger, batch, job, folder, service)
            except _Gone:
                # The file of a job that has ended; only the user can say that it is to be given up.
                if not settings.batch_cancel:
                    raise
                _close(ledger, batch, GONE)
            # A job that failed as a whole would fail again at once.
            hopeless |= state == "FAILED"
            bar.update(int(waiting.pop(batch)["images"]))
        bar.set_postfix_str(", ".join(sorted(set(states.values()))), refresh=False)
        bar.update(0)
        if not waiting:
            break
        if time.monotonic() - started > settings.batch_hours * 3600:
            told = ", ".join(f"{event['job']} {states[event['job']]}" for event in waiting.values())
            raise UserError(
                f"not done after {settings.batch_hours:g} h: {told}",
                "gemini batch",
                "run again to go on waiting, or set gemini_batch_cancel: true to cancel",
            )
        time.sleep(settings.poll_s)
    bar.close()
    return hopeless


def _keep_results(ledger: Ledger, batch: str, job: types.BatchJob, folder: Path, service: _Retrying) -> bool:
    """Keep every line of a job's result file, in whatever order and however many there are, and close the job.

    When the file comes only in part, what came is kept and the job stays open for the next run. True when a line tells
    that asking again is of no use.
    """
    hopeless = False
    state = _state(job)
    name = _result_file(job)
    price = service.settings.batch_price
    open_lines = {line["key"]: line for line in ledger.open_requests(batch)}
    if name:
        path = folder / "batches" / f"{batch}.results.part"
        whole = _download(name, path, service)
        asked_here = {line["key"] for line in _lines(folder / "batches" / f"{batch}.jsonl")}
        extra = 0.0
        for line in progress(_lines(path), desc=f"keeping {state.lower()} job", unit="line"):
            key, outcome = str(line.get("key")), _outcome(line)
            if key not in asked_here:
                continue
            asked = open_lines.pop(key, None)
            if asked is None:
                # Services have sent, and billed, several images of one request: the first is kept, all are counted.
                seen = ledger.entry(key)
                if seen.last and seen.last.get("response_id") != outcome.facts.get("response_id"):
                    extra += price.cost(outcome.facts.get("usage"), int(outcome.kind == "ok"))
                continue
            hopeless |= outcome.fatal
            note_outcome(ledger, key, asked, kept(outcome, key, folder), price)
        if extra:
            ledger.append({"event": "extra", "batch": batch, "cost_usd": round(extra, 8)})
        if not whole:
            print(f"batch job {job.name}: its result came only in part; run again for the rest")
            return True
        path.unlink(missing_ok=True)
    said = redact(str(job.error.message or "")) if job.error else ""
    if said:
        print(f"batch job {job.name}: {state}: {said}")
    _close(ledger, batch, state)
    return hopeless


def _download(name: str, path: Path, service: _Retrying) -> bool:
    """Fetch a result file to `path`; False when only a part of it could be had."""
    for tries in range(DOWNLOADS):
        time.sleep(service.settings.backoff_s * (2.0**tries - 1))
        try:
            service.client.files.download(file=name, destination=path)
            return True
        except Exception as error:
            outcome = from_error(error)
        if outcome.kind not in TRANSIENT:
            raise service.refusal(outcome, of=name)
    if not path.exists():
        raise UserError(f"no batch result: {outcome.detail}", name, "run again later")
    return False


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, a line each and one at a time (files hold gigabytes); torn lines are passed over."""
    with open(path, "rb") as handle:
        for raw in handle:
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def _outcome(line: Mapping[str, Any]) -> Outcome:
    """Class of a result line: `response` is a reply, `error` a status with a code of HTTP or of gRPC (below 17)."""
    if not line.get("error"):
        response = line.get("response")
        outcome = from_reply(response if isinstance(response, Mapping) else {})
    else:
        code = line["error"].get("code") if isinstance(line["error"], Mapping) else None
        status = {3: 400, 5: 404, 7: 403, 8: 429, 16: 401}.get(code, code) if isinstance(code, int) else 500
        outcome = from_status(status if status >= 400 else 500, {"error": line["error"]})
    if outcome.kind == "configuration" and not outcome.fatal:
        # The job itself was taken: it is this line's prompt that is refused.
        outcome = replace(outcome, kind="prompt_blocked")
    return replace(outcome, detail=redact(outcome.detail))
