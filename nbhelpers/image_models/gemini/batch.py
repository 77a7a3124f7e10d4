"""Gemini's batch mode: the same images at half the price within a day, by jobs that a stopped notebook finds again."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from google.genai import types

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.client import check_model, make_client
from nbhelpers.image_models.gemini.outcomes import from_reply
from nbhelpers.image_models.gemini.service import Gone, Service, Undecided, display_name, download, lines_of, say
from nbhelpers.image_models.gemini.settings import Settings
from nbhelpers.image_models.ledger import Ledger, dearest, dollars
from nbhelpers.image_models.outcomes import Outcome, from_status
from nbhelpers.image_models.purchases import (
    Plan,
    Row,
    check_budget,
    estimate,
    facts_of,
    in_jobs,
    kept,
    note_outcome,
    plan_rows,
)
from nbhelpers.runs.files import disk, write_bytes
from nbhelpers.runs.progress import progress

ENDED = ("SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
GONE = "the service no longer has it"


def run(ledger: Ledger, plan: Plan, folder: Path, settings: Settings) -> None:
    """Collect the jobs that are open, then buy what is still wanted in new jobs, until all is here or given up.

    A job is in the ledger before it is made and again, with its id, at once after: whatever stops this process, the
    next run finds the job, by its id or by the name it was given. It is asked for once: where nobody can know whether
    it was made, the run stops, and its images count as paid. Each round asks again for what the last one did not bring.
    In online mode open jobs are collected and none is made. The budget can be passed by what the images of one round
    cost above the dearest that the ledger knows. A `UserError` as of `GeminiSource.draw`, when a job is not done after
    `gemini_batch_hours`, and when it is not known whether one was made.
    """
    service = Service(make_client(settings.request.api_version, settings.deadline_s), settings)
    jobs, unknown = _open_jobs(ledger, service)
    asked_for_model = False
    for attempt in range(settings.attempts + 1):
        if settings.batch_cancel:
            _cancel(ledger, jobs, service)
        hopeless = _collect(ledger, jobs, folder, service)
        if unknown:
            # What is known of was collected first.
            raise _undecided(ledger, unknown[0], service)
        plan = plan_rows(plan.rows, ledger.entries, folder, settings.attempts)
        wanted = [row for row in plan.wanted if not in_jobs(ledger.entry(row.key))]
        # After the last attempt a job more would be made, and collected by nobody.
        if not wanted or hopeless or settings.batch_cancel or settings.mode != "batch" or attempt == settings.attempts:
            return
        if not asked_for_model:
            check_model(service.client, settings.request.model, settings.deadline_s, settings.backoff_s)
            asked_for_model = True
        most = dearest(ledger.entries.values(), settings.request.model, "batch")
        try:
            check_budget(len(wanted), estimate(wanted, settings.price, most), ledger.spent(), settings.budget_usd)
        except UserError:
            if attempt == 0 and not jobs:
                raise
            for row in wanted:
                row.state = "not yet: budget"
            return
        starts = range(0, len(wanted), settings.batch_images)
        parts = [wanted[start : start + settings.batch_images] for start in starts]
        jobs = dict(_submit(ledger, part, folder, service, most) for part in parts)


def announced(ledger: Ledger) -> bool:
    """Whether the ledger knows of a job that was not collected."""
    count = {"batch_request": 1, "batch_closed": -1}
    return sum(count.get(event["event"], 0) for event in ledger.events) > 0


def _open_jobs(ledger: Ledger, service: Service) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Jobs that were made and not collected, by batch id, with the service's job id in `job`.

    One that the ledger announced and has no id for is looked up by its name: a kill may have come between. Those that
    are not found are the second result: nobody can know whether they were made.
    """
    jobs: dict[str, dict[str, Any]] = {}
    unknown: list[str] = []
    for event in ledger.events:
        batch = event.get("batch")
        if not isinstance(batch, str):
            continue
        images = event.get("images")
        known = {"batch": batch, "images": images if isinstance(images, int) else 0}
        match event["event"]:
            case "batch_request":
                jobs[batch] = known
            case "batch":
                jobs.setdefault(batch, known)["job"] = str(event.get("job", ""))
            case "batch_closed":
                jobs.pop(batch, None)
    for batch, event in list(jobs.items()):
        # A name that is not whole here, since it held a key, is of no use to the service.
        if event.get("job") and "[key]" not in event["job"]:
            continue
        found = service.find(batch)
        if found is not None:
            event["job"] = found.name
            ledger.append({"event": "batch", "batch": batch, "job": found.name, "detail": "found by its name"})
            continue
        jobs.pop(batch)
        if service.settings.batch_cancel:
            _close(ledger, batch, GONE)
            say(f"batch job {display_name(batch)}: given up; its images count as paid")
        else:
            unknown.append(batch)
    return jobs, unknown


def _undecided(ledger: Ledger, batch: str, service: Service) -> UserError:
    """The error for a job of which nobody can know whether it was made."""
    lines = ledger.open_requests(batch)
    usd = sum(dollars(line.get("estimate_usd")) or 0.0 for line in lines)
    return UserError(
        f"it is not known whether batch job {display_name(batch)} was made: its making had no reply, and the service "
        f"did not list it within {service.settings.lookup_s:g} s; {len(lines)} images, {usd:.2f} USD, count as spent",
        "gemini batch",
        "run again to look for it again; or set gemini_batch_cancel: true once to give it up: then the next run asks "
        "for its images again",
    )


def _submit(ledger: Ledger, rows: list[Row], folder: Path, service: Service, most: float) -> tuple[str, dict[str, Any]]:
    """Announce a job in the ledger, upload its requests, make it, and note its id; `most`: the dearest image known."""
    batch = uuid.uuid4().hex
    name = display_name(batch)
    request, price = service.settings.request, service.settings.price
    lines = (
        json.dumps({"key": row.key, "request": request.as_json(row.prompt, row.seed)}, ensure_ascii=False)
        for row in rows
    )
    path = folder / "batches" / f"{batch}.jsonl"
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    asked = [
        ledger.request(row.key, max(price.reserve(row.prompt), most), batch=batch, **facts_of(row, request.model))
        for row in rows
    ]
    announced = {"event": "batch_request", "batch": batch, "images": len(rows), "input": f"batches/{path.name}"}
    upload = types.UploadFileConfig(mime_type="jsonl", display_name=name)
    source = service.call(lambda: service.client.files.upload(file=path, config=upload))
    ledger.append(announced | {"display_name": name}, *asked)
    made = types.CreateBatchJobConfig(display_name=name)
    sent = []

    def create() -> types.BatchJob:
        sent.append(True)
        return service.client.batches.create(model=request.model, src=source.name, config=made)

    def look(late: Callable[[], types.BatchJob | None]) -> types.BatchJob:
        say(f"batch job {name}: its making had no reply; it is looked for")
        try:
            found = service.find(batch, late)
        except UserError as error:
            raise Undecided from error
        if found is None:
            raise Undecided
        return found

    try:
        job = service.call(create, lost=look)
    except Undecided:
        raise _undecided(ledger, batch, service) from None
    except BaseException as error:
        if isinstance(error, UserError) or not sent:
            # Refused outright, or never sent: nothing runs and nothing is billed.
            _close(ledger, batch, "refused")
        raise
    ledger.append({"event": "batch", "batch": batch, "job": job.name})
    say(f"batch job {job.name}: {len(rows)} images")
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
        | {"outcome": kind, "cost_usd": 0.0 if kind == "server" else dollars(line.get("estimate_usd")) or 0.0}
        | {"detail": f"nothing in the result of the batch job: {why}"}
        for line in ledger.open_requests(batch)
    ]
    ledger.append(*lines, {"event": "batch_closed", "batch": batch, "detail": why})


def _cancel(ledger: Ledger, jobs: dict[str, dict[str, Any]], service: Service) -> None:
    """Cancel what still runs; a job that the service no longer has is closed, its images counted as paid."""
    for batch, event in list(jobs.items()):
        name = event["job"]
        try:
            state = _state(service.job(name))
            if state not in ENDED:
                service.call(partial(service.client.batches.cancel, name=name), of=name)
                say(f"batch job {name}: cancelled while {state}")
        except Gone:
            _close(ledger, batch, GONE)
            jobs.pop(batch)
            say(f"batch job {name}: the service no longer has it")


def _result_file(job: types.BatchJob) -> str | None:
    return job.dest.file_name if job.dest else None


def _state(job: types.BatchJob) -> str:
    return job.state.name.removeprefix("JOB_STATE_") if job.state else "UNSPECIFIED"


def _collect(ledger: Ledger, jobs: dict[str, dict[str, Any]], folder: Path, service: Service) -> bool:
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
            except Gone:
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


def _keep_results(ledger: Ledger, batch: str, job: types.BatchJob, folder: Path, service: Service) -> bool:
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
        with open(folder / "batches" / f"{batch}.jsonl", "rb") as sent:
            asked_here = {line["key"] for line in lines_of(sent)}
        extra = 0.0
        refused: Outcome | None = None
        # A file without a name: what the service sent is nowhere on the disk but in what is kept of it.
        with disk(folder / "batches"), tempfile.TemporaryFile(dir=folder / "batches") as part:
            whole = download(name, part, max(len(asked_here), 1), service)
            for line in progress(lines_of(part), desc=f"keeping {state.lower()} job", unit="line"):
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
                refused = outcome if outcome.fatal else refused
                note_outcome(ledger, key, asked, kept(outcome, key, folder), price)
        if extra:
            ledger.append({"event": "extra", "batch": batch, "cost_usd": round(extra, 8)})
        if refused:
            hopeless = True
            say(str(service.refusal(refused)))
        if not whole:
            say(f"batch job {job.name}: its result is incomplete; run again for the rest")
            return True
    if job.error and job.error.message:
        say(f"batch job {job.name}: {state}: {job.error.message}")
    _close(ledger, batch, state)
    return hopeless


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
    return outcome
