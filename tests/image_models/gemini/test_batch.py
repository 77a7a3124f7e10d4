import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from image_models import gemini_server
from image_models.gemini_fixture import SECRET, batch, design, lines_of, source
from image_models.gemini_server import REPLIES, Reply, ok, png

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.service import Service
from nbhelpers.image_models.ledger import replay
from nbhelpers.prompting import drawing

pytestmark = pytest.mark.usefixtures("key")

HALF = (1290 * 0.0387 / 1290 + 40 * 0.3e-6) / 2


def test_batch_brings_every_image_at_half_the_price(serve, tmp_path):
    server = serve()
    images = drawing.draw_images(batch(), design(12), tmp_path)
    assert (images["status"] == "ok").all() and len(server.jobs) == 1
    assert images["cost_usd"].to_numpy() == pytest.approx(HALF, abs=1e-6)
    for prompt, path in zip(images["prompt"], images["path"], strict=True):
        assert (tmp_path / path).read_bytes() == png(prompt)
    assert not list(tmp_path.glob("batches/*.part")) and "POST /upload/v1beta/files" in server.other


def test_uploaded_lines_are_the_requests_that_go_online_too(serve, tmp_path):
    server = serve()
    how = {"model": "gemini-3-pro-image", "image_size": "2K", "aspect_ratio": "3:4"}
    batch(**how).draw(design(1), tmp_path / "a")
    line = json.loads(next(iter(server.uploads.values())))
    source(**how).draw(design(1), tmp_path / "b")
    online = server.calls[-1].body
    assert line["request"] == online and set(line) == {"key", "request"}
    assert replay(tmp_path / "a/ledger.jsonl")[0].keys() == replay(tmp_path / "b/ledger.jsonl")[0].keys()


def test_results_are_matched_by_key_in_any_order_and_strangers_are_passed_over(serve, tmp_path):
    server = serve()
    stranger = gemini_server.body({"key": "f" * 64, "response": gemini_server.image_body(png("stranger"))})

    def mix(lines):
        random.Random(3).shuffle(lines)
        return [stranger, b"not json", *lines, b'{"key": "torn', b"[]"]

    server.finish_lines = mix
    table = batch().draw(design(20), tmp_path)
    for prompt, path in zip(design(20)["prompt"], table["path"], strict=True):
        assert (tmp_path / path).read_bytes() == png(prompt)
    assert len(list(tmp_path.glob("images/*"))) == 20


def test_half_a_result_file_is_used_and_the_rest_is_asked_for_again(serve, tmp_path):
    server = serve()
    server.finish_lines = lambda lines: lines[: len(lines) // 2] if len(server.jobs) == 1 else lines
    table = batch().draw(design(10), tmp_path)
    assert (table["status"] == "ok").all() and len(server.jobs) == 2
    assert len(server.uploads["files/in1"].splitlines()) == 5


def test_each_outcome_is_classed_as_online(serve, tmp_path):
    names = [n for n, (make, _) in REPLIES.items() if not make("x").fault and "json" not in n and "html" not in n]
    names = [name for name in names if name not in ("403", "404", "deeply nested")]
    by_prompt = dict(zip(design(len(names))["prompt"], names, strict=True))
    serve(lambda c: REPLIES[by_prompt[c.prompt]][0](c.prompt) if c.nth == 0 else ok(c.prompt))
    table = batch().draw(design(len(names)), tmp_path)
    first = {}
    for line in lines_of(tmp_path):
        if line["event"] == "outcome":
            first.setdefault(line["key"], line["outcome"])
    got = dict(zip(names, table["ledger_key"].map(first), strict=True))
    assert got == {name: REPLIES[name][1] for name in names}


def test_grpc_codes_of_lines_are_understood(serve, tmp_path):
    server = serve()
    codes = iter([8, 13, 3])

    def broken(lines):
        if len(server.jobs) > 1:
            return lines
        return [gemini_server.body({"key": json.loads(x)["key"], "error": {"code": next(codes)}}) for x in lines]

    server.finish_lines = broken
    table = batch().draw(design(3), tmp_path)
    outcomes = [line["outcome"] for line in lines_of(tmp_path) if line["event"] == "outcome"]
    assert sorted(outcomes[:3]) == ["prompt_blocked", "quota_minute", "server"]
    assert (table["status"] == "ok").all()


def test_refused_prompts_are_given_up_after_their_attempts(serve, tmp_path):
    server = serve(lambda c: REPLIES["image safety"][0](c.prompt) if "number 2" in c.prompt else ok(c.prompt))
    table = batch(attempts=2).draw(design(4), tmp_path)
    assert table["status"].tolist() == ["ok", "ok", "given up: image_blocked", "ok"]
    assert len(server.jobs) == 2


def test_several_images_of_one_key_are_counted_and_the_first_is_kept(serve, tmp_path):
    server = serve()

    def twice(lines):
        again = [json.loads(line) for line in lines]
        for line in again:
            line["response"] = gemini_server.image_body(png("another " + line["key"]))
        return lines + [gemini_server.body(line) for line in again]

    server.finish_lines = twice
    table = batch().draw(design(3), tmp_path)
    assert (tmp_path / table["path"][0]).read_bytes() == png("chest radiograph number 0")
    assert batch().plan(design(3), tmp_path)["spent_usd"] == pytest.approx(6 * HALF, abs=1e-4)


def test_jobs_are_no_larger_than_asked(serve, tmp_path):
    server = serve()
    batch(batch_images=4).draw(design(10), tmp_path)
    assert [len(data.splitlines()) for data in server.uploads.values()] == [4, 4, 2]


WORKER = textwrap.dedent(
    """
    import sys, pandas as pd
    from nbhelpers.prompting.sources.gemini import GeminiSource
    source = GeminiSource("gemini", {"gemini_mode": "batch", "gemini_poll_s": 0.02, "gemini_budget_usd": 100.0,
                                     "gemini_model": "gemini-2.5-flash-image"})
    print(source.draw(pd.read_csv(sys.argv[1]), sys.argv[2])["status"].value_counts().to_dict())
    """
)


def _killed_when(condition, folder, wanted):
    wanted.to_csv(folder / "design.csv", index=False)
    command = [sys.executable, "-c", WORKER, str(folder / "design.csv"), str(folder / "g")]
    process = subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    limit = time.monotonic() + 60
    while not condition() and time.monotonic() < limit:
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_while_polling_a_run_finds_its_job_again(serve, tmp_path):
    server = serve()
    server.states = ["BATCH_STATE_RUNNING"]
    _killed_when(lambda: server.jobs and server.jobs["batches/job0"]["polls"] > 2, tmp_path, design(8))
    assert batch().plan(design(8), tmp_path / "g")["in_batch_jobs"] == 8
    server.states = ["BATCH_STATE_SUCCEEDED"]
    table = batch().draw(design(8), tmp_path / "g")
    assert (table["status"] == "ok").all() and len(server.jobs) == 1
    assert SECRET not in (tmp_path / "g/ledger.jsonl").read_text()


def test_killed_between_making_a_job_and_noting_it_the_job_is_found_by_its_name(serve, tmp_path):
    server = serve()
    server.states = ["BATCH_STATE_RUNNING"]
    _killed_when(lambda: server.jobs and server.jobs["batches/job0"]["polls"] > 0, tmp_path, design(8))
    path = tmp_path / "g/ledger.jsonl"
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if b'"event": "batch",' not in line]
    path.write_bytes(b"".join(lines))
    server.states = ["BATCH_STATE_SUCCEEDED"]
    table = batch().draw(design(8), tmp_path / "g")
    assert (table["status"] == "ok").all() and len(server.jobs) == 1
    assert any(line.get("detail") == "found by its name" for line in lines_of(tmp_path / "g"))


def test_killed_before_the_job_was_made_it_is_made_once(serve, tmp_path, monkeypatch):
    server = serve()
    real = Service.call

    def die(self, do, *arguments, **named):
        if "create" in do.__code__.co_names:
            raise KeyboardInterrupt
        return real(self, do, *arguments, **named)

    monkeypatch.setattr(Service, "call", die)
    with pytest.raises(KeyboardInterrupt):
        batch().draw(design(4), tmp_path)
    assert server.uploads and not server.jobs
    monkeypatch.setattr(Service, "call", real)
    assert (batch().draw(design(4), tmp_path)["status"] == "ok").all() and len(server.jobs) == 1


LOST = {
    "reset": lambda made: Reply(fault="reset"),
    "cut off": lambda made: Reply(body=made.body, fault="drop"),
    "slower than the deadline": lambda made: Reply(body=made.body, delay=0.8),
    "a drip": lambda made: Reply(body=made.body, fault="drip"),
    "a page of HTML": lambda made: Reply(body=b"<html>gateway</html>"),
    "502": lambda made: Reply(502, b"<html>bad gateway</html>"),
    "503": lambda made: REPLIES["503"][0](""),
    "504": lambda made: Reply(504, gemini_server.error(504, "DEADLINE_EXCEEDED", "late")),
    "no json": lambda made: Reply(body=b"{"),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_job_whose_reply_is_lost_is_made_once_also_when_the_list_lags(lost, serve, tmp_path):
    server = serve()
    server.created, server.list_lag = lost, 1.0
    made = batch(deadline_s=0.4)
    made.settings.lookup_s = 20.0
    table = made.draw(design(4), tmp_path)
    assert (table["status"] == "ok").all() and len(server.jobs) == 1 and len(server.calls) == 4
    announced = next(line for line in lines_of(tmp_path) if line["event"] == "batch_request")
    assert announced["display_name"] == server.jobs["batches/job0"]["displayName"]


@pytest.mark.parametrize("arrived", [True, False])
def test_a_job_of_which_nobody_knows_is_never_made_anew_without_a_word(arrived, serve, tmp_path):
    server = serve()
    server.created, server.list_lag = LOST["reset"], 1000.0
    if not arrived:
        server.before = lambda method, path: Reply(fault="reset") if path.endswith(":batchGenerateContent") else None
    for made in (batch(), batch(), source(poll_s=0.01)):
        # Also the next starts do not make it again, and count it.
        with pytest.raises(UserError, match=r"not known whether batch job nbhelpers-\w+ was made.*4 images, 0\.08 USD"):
            made.draw(design(4), tmp_path)
        assert len(server.jobs) == arrived and not server.calls
        assert batch().plan(design(4), tmp_path)["spent_usd"] >= 4 * HALF
        server.before = lambda method, path: None
    if arrived:
        server.list_lag = 0.0
        assert (batch().draw(design(4), tmp_path)["status"] == "ok").all() and len(server.jobs) == 1
        return
    batch(batch_cancel=True).draw(design(4), tmp_path)
    server.created, server.list_lag = None, 0.0
    assert (batch().draw(design(4), tmp_path)["status"] == "ok").all() and len(server.jobs) == 1
    assert batch().plan(design(4), tmp_path)["spent_usd"] >= 8 * HALF


def test_jobs_that_are_known_are_collected_beside_one_of_which_nobody_knows(serve, tmp_path):
    server = serve()
    server.created = lambda made: made if len(server.jobs) == 1 else Reply(fault="reset")
    server.list_lag = 1000.0
    with pytest.raises(UserError, match="not known whether"):
        batch(batch_images=4).draw(design(8), tmp_path)
    with pytest.raises(UserError, match=r"not known whether.*4 images"):
        batch(batch_images=4).draw(design(8), tmp_path)
    assert len(list(tmp_path.glob("images/*.png"))) == 4 and len(server.jobs) == 2
    server.list_lag = 0.0
    assert (batch().draw(design(8), tmp_path)["status"] == "ok").all() and len(server.jobs) == 2


def test_a_job_that_was_refused_is_made_once_it_is_taken(serve, tmp_path):
    server = serve()
    refusals = [REPLIES["429 with RetryInfo"][0]("")] * 2
    server.before = lambda method, path: refusals.pop() if path.endswith("batchGenerateContent") and refusals else None
    assert (batch().draw(design(4), tmp_path)["status"] == "ok").all() and len(server.jobs) == 1 and not refusals


def test_killed_while_the_job_is_made_it_is_found_and_not_made_again(serve, tmp_path):
    server = serve()
    server.created = lambda made: Reply(body=made.body, delay=30.0)
    _killed_when(lambda: server.jobs, tmp_path, design(4))
    server.created = None
    assert (batch().draw(design(4), tmp_path / "g")["status"] == "ok").all() and len(server.jobs) == 1


def test_the_dearest_batch_image_is_set_aside_for_the_next_ones(serve, tmp_path):
    usage = {"promptTokenCount": 40, "candidatesTokenCount": 2580}
    server = serve(lambda c: Reply(body=gemini_server.body(gemini_server.image_body(png(c.prompt), usage))))
    batch(budget_usd=1.0).draw(design(2), tmp_path)
    with pytest.raises(UserError, match="over the budget"):
        batch(budget_usd=0.3).draw(design(8), tmp_path)
    assert len(server.jobs) == 1


def test_a_job_name_that_holds_the_key_is_written_nowhere_and_found_again(serve, tmp_path, capsys):
    server = serve()
    create = server._create

    def named(*arguments):
        create(*arguments)
        server.jobs[f"batches/{SECRET}"] = server.jobs.pop("batches/job0")
        return Reply(body=gemini_server.body(server._operation(f"batches/{SECRET}")))

    server._create = named
    server.states = ["BATCH_STATE_PENDING"]
    with pytest.raises(UserError, match="PENDING") as told:
        batch(batch_hours=0.0001).draw(design(3), tmp_path)
    server.states = ["BATCH_STATE_SUCCEEDED"]
    assert (batch().draw(design(3), tmp_path)["status"] == "ok").all() and len(server.jobs) == 1
    assert SECRET not in str(told.value) + "".join(capsys.readouterr()) + (tmp_path / "ledger.jsonl").read_text()


def test_an_account_that_is_closed_is_told_and_buys_nothing_more(serve, tmp_path, capsys):
    server = serve(lambda c: REPLIES["account disabled"][0](c.prompt))
    table = batch().draw(design(3), tmp_path)
    assert (table["status"] == "not yet: configuration").all() and len(server.jobs) == 1
    assert "Prohibited Use Policy" in capsys.readouterr().out


def test_stuck_job_is_told_after_its_hours_and_can_be_cancelled(serve, tmp_path):
    server = serve()
    server.states = ["BATCH_STATE_PENDING"]
    with pytest.raises(UserError, match=r"job0 PENDING .*gemini_batch_cancel"):
        batch(batch_hours=0.0001).draw(design(4), tmp_path)
    table = batch(batch_cancel=True).draw(design(4), tmp_path)
    assert server.jobs["batches/job0"]["state"] == "BATCH_STATE_CANCELLED"
    assert table["status"].str.startswith("not yet").all() and batch().plan(design(4), tmp_path)["spent_usd"] == 0
    server.states = ["BATCH_STATE_SUCCEEDED"]
    assert (batch().draw(design(4), tmp_path)["status"] == "ok").all()


def test_job_that_expired_is_used_for_what_it_has(serve, tmp_path):
    server = serve()
    server.states = ["BATCH_STATE_EXPIRED"]
    server.finish_lines = lambda lines: lines[:3] if len(server.jobs) == 1 else lines
    table = batch().draw(design(5), tmp_path)
    assert (table["status"] == "ok").all() and len(server.uploads["files/in1"].splitlines()) == 2


def test_jobs_of_a_batch_run_are_collected_before_anything_is_bought_online(serve, tmp_path):
    server = serve()
    server.states = ["BATCH_STATE_RUNNING"]
    _killed_when(lambda: server.jobs and server.jobs["batches/job0"]["polls"] > 0, tmp_path, design(6))
    server.states = ["BATCH_STATE_SUCCEEDED"]
    table = source(poll_s=0.01).draw(design(8), tmp_path / "g")
    assert (table["status"] == "ok").all() and len(server.calls) == 8
    assert sum(call.path == "batch" for call in server.calls) == 6


def test_job_that_is_done_but_names_no_file_is_not_bought_twice(serve, tmp_path):
    server = serve()
    server.complete = lambda name: None
    with pytest.raises(UserError, match="job0 SUCCEEDED"):
        batch(batch_hours=0.0001).draw(design(3), tmp_path)
    server.complete = lambda name: gemini_server.GeminiServer.complete(server, name)
    server.complete("batches/job0")
    table = batch().draw(design(3), tmp_path)
    assert (table["status"] == "ok").all() and len(server.jobs) == 1


def test_refused_key_is_one_error_and_costs_nothing(serve, tmp_path):
    server = serve()
    server.before = lambda method, path: Reply(403, gemini_server.error(403, "PERMISSION_DENIED", f"key {SECRET}"))
    with pytest.raises(UserError, match="key is refused") as caught:
        batch().draw(design(4), tmp_path)
    assert SECRET not in str(caught.value) and not server.jobs
    server.before = lambda method, path: (
        Reply(404, gemini_server.error(404, "NOT_FOUND", "no model")) if "batchGenerate" in path else None
    )
    with pytest.raises(UserError, match="is not found"):
        batch().draw(design(4), tmp_path)
    assert batch().plan(design(4), tmp_path)["spent_usd"] == 0
    server.before = lambda method, path: None
    assert (batch().draw(design(4), tmp_path)["status"] == "ok").all()


def test_budget_holds_in_batches_too(serve, tmp_path):
    server = serve()
    with pytest.raises(UserError, match="over the budget"):
        batch(budget_usd=0.1).draw(design(6), tmp_path)
    assert not server.jobs
    blocked = REPLIES["invalid base64"][0]
    server.script = lambda c: blocked(c.prompt) if c.nth == 0 else ok(c.prompt)
    table = batch(budget_usd=0.13).draw(design(6), tmp_path)
    assert (table["status"] == "not yet: budget").all()
    assert batch().plan(design(6), tmp_path)["spent_usd"] <= 0.13


def test_a_job_that_is_gone_is_told_and_given_up_only_when_the_user_says_so(serve, tmp_path):
    server = serve()
    server.states = ["BATCH_STATE_PENDING"]
    with pytest.raises(UserError, match="PENDING"):
        batch(batch_hours=0.0001).draw(design(4), tmp_path)
    server.jobs.clear()
    for made in (batch(), source(poll_s=0.01)):
        with pytest.raises(UserError, match=r"batches/job0 is not to be had.*gemini_batch_cancel: true"):
            made.draw(design(4), tmp_path)
    batch(batch_cancel=True).draw(design(4), tmp_path)
    assert batch().plan(design(4), tmp_path)["spent_usd"] >= 4 * HALF
    server.states = ["BATCH_STATE_SUCCEEDED"]
    assert (batch().draw(design(4), tmp_path)["status"] == "ok").all()


def test_a_result_file_that_is_gone_is_told_and_given_up_only_when_the_user_says_so(serve, tmp_path):
    server = serve()
    gone = Reply(404, gemini_server.error(404, "NOT_FOUND", "file has expired"))
    server.before = lambda method, path: gone if path.endswith(":download") else None
    with pytest.raises(UserError, match="is not to be had"):
        batch().draw(design(4), tmp_path)
    table = batch(batch_cancel=True).draw(design(4), tmp_path)
    assert table["status"].str.startswith("not yet").all()
    server.before = lambda method, path: None
    assert (batch().draw(design(4), tmp_path)["status"] == "ok").all() and len(server.jobs) == 2


def test_no_job_is_left_behind_that_nobody_collects(serve, tmp_path):
    server = serve(lambda call: REPLIES["503"][0](call.prompt))
    table = batch(attempts=2).draw(design(3), tmp_path)
    assert set(table["status"]) == {"not yet: server"}
    assert all(job["state"] == "BATCH_STATE_SUCCEEDED" for job in server.jobs.values())
    events = [line["event"] for line in lines_of(tmp_path)]
    assert events.count("batch_closed") == events.count("batch_request") == len(server.jobs)


def test_a_job_that_failed_as_a_whole_is_told_and_not_made_again_at_once(serve, tmp_path, capsys):
    server = serve()
    server.states = ["BATCH_STATE_FAILED"]
    server.complete = lambda name: None
    table = batch().draw(design(3), tmp_path)
    assert len(server.jobs) == 1 and table["status"].str.startswith("not yet").all()


def test_a_service_that_drips_is_given_up_in_time(serve, tmp_path):
    server = serve()
    server.before = lambda method, path: (
        Reply(body=b"{" + b" " * 400 + b"}", fault="drip") if "/batches/" in path else None
    )
    made = batch(deadline_s=0.3, patience_s=1.0)
    started = time.monotonic()
    with pytest.raises(UserError, match="did not answer"):
        made.draw(design(2), tmp_path)
    assert time.monotonic() - started < 8
