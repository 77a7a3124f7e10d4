"""Requests in flight: every reply handled, waits obeyed, the budget kept, and nothing lost however a run ends."""

import contextlib
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from image_models import gemini_server
from image_models.gemini_fixture import PAPER, PRICE, SECRET, design, lines_of, source
from image_models.gemini_server import REPLIES, Reply, ok, png

from nbhelpers.errors import UserError
from nbhelpers.image_models import online
from nbhelpers.image_models.buying import run_in_thread
from nbhelpers.image_models.gemini.online import GeminiService
from nbhelpers.image_models.ledger import Ledger, dearest, passed_over, replay, spent
from nbhelpers.image_models.online import DOUBTS, LOST_LIMIT
from nbhelpers.image_models.outcomes import OUTCOMES
from nbhelpers.image_models.prices import price_of
from nbhelpers.image_models.purchases import rows_of
from nbhelpers.runs.files import DiskRefused

pytestmark = pytest.mark.usefixtures("key")


@pytest.mark.parametrize("name", REPLIES)
def test_reply_is_put_in_its_class_and_handled(name, serve, tmp_path):
    first, kind = REPLIES[name]
    server = serve(lambda call: first(call.prompt) if call.nth == 0 else ok(call.prompt))
    made = source()
    if kind == "configuration":
        with pytest.raises(UserError):
            made.draw(design(1), tmp_path)
    else:
        table = made.draw(design(1), tmp_path)
        stops = kind == "quota_day"
        assert table["status"].tolist() == (["not yet: quota_day"] if stops else ["ok"])
    outcomes = [line["outcome"] for line in lines_of(tmp_path) if line["event"] == "outcome"]
    assert outcomes[0] == kind and kind in OUTCOMES
    assert len(server.calls) == len(outcomes) == (1 if kind in ("ok", "configuration", "quota_day") else 2)


def test_text_that_is_no_unicode_stops_nothing(serve, tmp_path):
    reply = gemini_server.body(gemini_server.finish("STOP", parts=[{"text": "half a pair: \ud83d"}]))
    serve(lambda c: Reply(body=reply) if c.nth == 0 else ok(c.prompt))
    assert (source().draw(design(2), tmp_path)["status"] == "ok").all()
    assert "half a pair: ?" in (tmp_path / "ledger.jsonl").read_text()


def test_a_row_that_alone_fails_is_left_and_the_others_come(serve, tmp_path):
    serve(lambda c: REPLIES["500"][0](c.prompt) if "number 1" in c.prompt else ok(c.prompt))
    table = source().draw(design(3), tmp_path)
    assert table["status"].tolist() == ["ok", "not yet: server", "ok"]


def test_400_for_one_prompt_is_that_prompts_fault_once_others_came(serve, tmp_path):
    bad = Reply(400, gemini_server.error(400, "INVALID_ARGUMENT", "too long"))
    serve(lambda c: bad if "number 3" in c.prompt or "number 0" in c.prompt else ok(c.prompt))
    table = source(concurrency=1).draw(design(4), tmp_path)
    given_up = "given up: prompt_blocked"
    assert table["status"].tolist() == [given_up, "ok", "ok", given_up]


def test_400_that_all_get_is_the_configurations_fault_whatever_came_under_another(serve, tmp_path):
    serve()
    source().draw(design(4), tmp_path)
    bad = Reply(400, gemini_server.error(400, "INVALID_ARGUMENT", "aspect ratio is not supported"))
    server = serve(lambda c: bad)
    with pytest.raises(UserError, match="request is refused"):
        source(aspect_ratio="21:9").draw(design(10), tmp_path)
    assert len(server.calls) <= 4 + DOUBTS - 1


def test_requests_that_may_be_billed_and_bring_nothing_stop_the_run(serve, tmp_path):
    server = serve(lambda c: ok(c.prompt, delay=2.0))
    table = source(deadline_s=0.1, concurrency=2).draw(design(6), tmp_path)
    assert LOST_LIMIT <= len(server.calls) <= LOST_LIMIT + 2
    assert table["status"].str.contains("no reply and may be billed").any()
    assert table["status"].str.startswith("not yet").all()


def test_nobody_there_stops_after_the_patience_and_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    table = source(patience_s=0.3).draw(design(30), tmp_path)
    assert table["status"].str.startswith("not yet").all() and table["spent_usd"].sum() == 0


def test_retry_info_is_obeyed_by_all_requests(serve, tmp_path):
    times = []

    def script(call):
        times.append(time.monotonic())
        return Reply(429, gemini_server.quota("0.6s")) if len(times) == 1 else ok(call.prompt)

    serve(script)
    assert (source(concurrency=1).draw(design(3), tmp_path)["status"] == "ok").all()
    assert times[1] - times[0] >= 0.6


def test_retry_after_of_the_header_is_obeyed(serve, tmp_path):
    times = []

    def script(call):
        times.append(time.monotonic())
        return Reply(429, gemini_server.quota(), {"Retry-After": "1"}) if call.index == 0 else ok(call.prompt)

    serve(script)
    assert (source(concurrency=1).draw(design(2), tmp_path)["status"] == "ok").all()
    assert times[1] - times[0] >= 0.95


def test_wait_that_the_service_asks_for_is_obeyed_by_all_in_flight(serve, tmp_path):
    times = []

    def script(call):
        times.append(time.monotonic())
        return Reply(429, gemini_server.quota("0.7s")) if call.index == 5 else ok(call.prompt, delay=0.02)

    serve(script)
    assert (source(concurrency=4).draw(design(20), tmp_path)["status"] == "ok").all()
    # What was on its way already may still come in; then all are silent, and the rest follows.
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) >= 0.6 and sum(gap >= 0.6 for gap in gaps) == 1


def test_quota_of_the_day_stops_and_a_later_run_goes_on(serve, tmp_path):
    spent_quota = [True]
    day = REPLIES["429 of the day"][0]
    server = serve(lambda c: day(c.prompt) if c.index >= 5 and spent_quota[0] else ok(c.prompt))
    first = source(concurrency=2).draw(design(20), tmp_path)
    assert (first["status"] == "ok").sum() == 5 and len(server.calls) <= 7
    assert set(first["status"]) == {"ok", "not yet: quota_day"}
    spent_quota[0] = False
    assert (source().draw(design(20), tmp_path)["status"] == "ok").all()


def test_a_storm_of_429_is_waited_out_without_losing_a_row(serve, tmp_path):
    storm = Reply(429, gemini_server.quota("0.05s"))
    serve(lambda c: storm if 10 <= c.index < 60 else ok(c.prompt))
    assert (source(concurrency=8).draw(design(40), tmp_path)["status"] == "ok").all()


def test_slow_drip_ends_at_the_deadline_as_a_whole(serve, tmp_path):
    serve(lambda c: ok(c.prompt, fault="drip" if c.nth == 0 else ""))
    started = time.monotonic()
    table = source(deadline_s=0.5).draw(design(1), tmp_path)
    assert table["status"].tolist() == ["ok"] and time.monotonic() - started < 3
    first = next(line for line in lines_of(tmp_path) if line["event"] == "outcome")
    assert first["outcome"] == "transport" and "0.5 s" in first["detail"]
    # What was asked for and cut off may have been billed: it counts.
    assert first["cost_usd"] > 0.03


def test_requests_a_minute_are_kept(serve, tmp_path):
    times = []
    serve(lambda c: (times.append(time.monotonic()), ok(c.prompt))[1])
    source(requests_per_minute=240).draw(design(12), tmp_path)
    # The first may arrive late, when its connection is slow to open on a busy machine.
    assert max(times) - min(times) >= 11 * 60 / 240 - 1


def test_no_more_requests_in_flight_than_asked(serve, tmp_path):
    server = serve(lambda c: ok(c.prompt, delay=0.02))
    source(concurrency=5).draw(design(40), tmp_path)
    assert server.most_in_flight == 5


@pytest.mark.parametrize("tokens", [1290, 2580])
def test_budget_is_never_passed_by_more_than_what_is_in_flight(tokens, serve, tmp_path):
    usage = {"promptTokenCount": 40, "candidatesTokenCount": tokens}
    flip = random.Random(0)

    def script(call):
        if flip.random() < 0.3:
            return REPLIES[flip.choice(["image safety", "503", "dropped body", "invalid base64"])][0](call.prompt)
        return Reply(body=gemini_server.body(gemini_server.image_body(png(call.prompt), usage)), delay=0.005)

    server = serve(script)
    made = source(budget_usd=1.0, concurrency=6, attempts=50)
    made.settings.price = price_of("gemini", "gemini-2.5-flash-image")
    wanted = design(24)
    assert made.plan(wanted, tmp_path)["estimate_usd"] <= 1.0
    table = made.draw(wanted, tmp_path)
    assert set(table["status"]) <= {"ok", "not yet: budget"}
    true = PRICE * tokens / 1290
    # Each image that the server made is taken as billed, whether it arrived or not.
    billed = sum(call.tokens for call in server.calls) * 0.0387 / 1290
    slack = 6 * true if tokens > 1290 else 0
    assert billed <= 1.0 + slack and made.plan(wanted, tmp_path)["spent_usd"] <= 1.0 + slack
    if tokens > 1290:
        assert (table["status"] == "not yet: budget").any()


WORKER = textwrap.dedent(
    """
    import signal, sys, pandas as pd
    # A parent that runs in the background hands SIGINT on as ignored, one under nohup SIGHUP.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    from nbhelpers.prompting.sources.gemini import GeminiSource
    source = GeminiSource("gemini", {"gemini_concurrency": int(sys.argv[3]), "gemini_requests_per_minute": 0,
                                     "gemini_budget_usd": 100.0, "gemini_attempts": 20, "gemini_deadline_s": 5.0,
                                     "gemini_model": "gemini-2.5-flash-image"})
    source.settings.backoff_s = 0.005
    table = source.draw(pd.read_csv(sys.argv[1]), sys.argv[2])
    print(table["status"].value_counts().to_dict())
    """
)


def test_500_images_with_faults_and_three_kills_end_complete_and_paid_once(serve, tmp_path):
    chance = random.Random(1)
    faults = [name for name, (_, kind) in REPLIES.items() if kind not in ("ok", "configuration", "quota_day")]

    def script(call):
        reply = REPLIES[chance.choice(faults)][0](call.prompt) if chance.random() < 0.3 else ok(call.prompt)
        reply.delay = 0.004
        return reply

    server = serve(script)
    wanted, folder = design(500), tmp_path / "gemini"
    wanted.to_csv(tmp_path / "design.csv", index=False)
    command = [sys.executable, "-c", WORKER, str(tmp_path / "design.csv"), str(folder), "12"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    asked_after_arrival, output = 0, b""
    for images in (60, 180, 320, None):
        held = {row for row, entry in replay(folder / "ledger.jsonl")[0].items() if entry.ok}
        on_disk = {path.stem for path in folder.glob("images/[!.]*")}
        before = len(server.calls)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if images is not None:
            limit = time.monotonic() + 60
            while len(list(folder.glob("images/[!.]*"))) < images and time.monotonic() < limit:
                assert process.poll() is None, process.stdout.read().decode()
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        text = process.communicate(timeout=120)[0]
        output += text
        entries = replay(folder / "ledger.jsonl")[0]
        prompts = {line["prompt"]: line["key"] for line in lines_of(folder) if line["event"] == "request"}
        for call in server.calls[before:]:
            name = prompts[call.prompt]
            asked_after_arrival += name in held or name[:32] in on_disk
    assert process.returncode == 0 and b"{'ok': 500}" in text, output.decode()
    assert asked_after_arrival == 0
    # The server's count is the ledger's: each request has its line, and a line without its request is one that a kill
    # caught between the two, which the ledger knows as unknown.
    ledger_count = Counter(line["prompt"] for line in lines_of(folder) if line["event"] == "request")
    unknown = Counter()
    for line in lines_of(folder):
        if line.get("outcome") == "unknown":
            unknown[line["key"]] += 1
    assert sum(unknown.values()) <= 3 * (12 + 2 * 12)
    for prompt, key in prompts.items():
        assert ledger_count[prompt] - unknown[key] <= server.nth[prompt] <= ledger_count[prompt]
    assert len(server.calls) <= sum(ledger_count.values()) <= len(server.calls) + sum(unknown.values())
    assert len(list(folder.glob("images/[!.]*"))) == 500
    assert not any(entry.open for entry in entries.values())
    # Nothing that was billed is left out of the count.
    counted = sum(entry.cost_usd for entry in entries.values())
    assert counted >= sum(call.tokens for call in server.calls) * 0.0387 / 1290 > 500 * 0.0386
    assert SECRET.encode() not in output
    for path in folder.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_without_a_kill_the_servers_count_is_exactly_the_ledgers(serve, tmp_path, monkeypatch):
    # Which image meets which fault depends on the order of arrival: none may be left for a next run by bad luck.
    monkeypatch.setattr(online, "TRANSIENT_LIMIT", 1000)
    chance = random.Random(2)
    names = ["image", "image", "503", "image safety", "dropped body", "invalid base64", "html with 200"]
    server = serve(lambda c: REPLIES[chance.choice(names)][0](c.prompt))
    table = source(attempts=50).draw(design(60), tmp_path)
    assert (table["status"] == "ok").all()
    assert len(server.calls) == sum(line["event"] == "request" for line in lines_of(tmp_path))
    assert (
        len(server.calls) == sum(line["event"] == "outcome" for line in lines_of(tmp_path)) == table["requests"].sum()
    )
    assert table["spent_usd"].sum() == pytest.approx(source().plan(design(60), tmp_path)["spent_usd"], abs=1e-4)


def test_a_defect_stops_the_run_and_loses_nothing(serve, tmp_path, monkeypatch):
    server = serve()
    real, count = online.note_outcome, []

    def broken(*arguments, **named):
        count.append(1)
        if len(count) == 5:
            raise ZeroDivisionError("a defect")
        return real(*arguments, **named)

    monkeypatch.setattr(online, "note_outcome", broken)
    with pytest.raises(ZeroDivisionError):
        source().draw(design(20), tmp_path)
    assert len(server.calls) <= 5 + 4 + 8
    monkeypatch.setattr(online, "note_outcome", real)
    assert (source().draw(design(20), tmp_path)["status"] == "ok").all()
    # Also the image whose outcome was not noted had arrived, and was kept.
    assert len(server.calls) == 20


REFUSALS = {"full": errno.ENOSPC, "over quota": errno.EDQUOT, "read-only": errno.EROFS}


class Disk:
    """Refuses each write of a file below a folder, and each line of the ledger, while `full` is set."""

    def __init__(self, monkeypatch, folder, number, ledger=True):
        self.folder, self.number, self.full, self.refused = str(folder), number, False, 0
        self.fsync, self.write = os.fsync, os.write
        monkeypatch.setattr("nbhelpers.runs.files.os.fsync", self._fsync)
        if ledger:
            monkeypatch.setattr("nbhelpers.image_models.ledger.os.write", self._write)

    def _refuse(self):
        if self.full:
            self.refused += 1
            raise OSError(self.number, os.strerror(self.number))

    def _fsync(self, file):
        # A full disk is told when a file is flushed.
        if "/images/" in str(Path(f"/proc/self/fd/{file}").readlink()):
            self._refuse()
        self.fsync(file)

    def _write(self, file, data):
        if str(Path(f"/proc/self/fd/{file}").readlink()).startswith(self.folder):
            self._refuse()
        return self.write(file, data)


@pytest.mark.parametrize("number", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("ledger", [True, False], ids=["and the ledger", "images alone"])
def test_a_disk_that_takes_no_more_stops_the_buying_with_one_error(number, ledger, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(online, "DISK_WAIT_S", 0.3)
    monkeypatch.setattr(online, "DISK_PAUSE_S", 0.05)
    disk = Disk(monkeypatch, tmp_path, number, ledger)

    def script(call):
        disk.full = call.index >= 9
        return ok(call.prompt, delay=0.05)

    server = serve(script)
    with pytest.raises(
        DiskRefused, match=r"images of this run are safe.*(free some disk space|make it writable)"
    ) as told:
        source().draw(design(40), tmp_path)
    assert os.strerror(number) in str(told.value) and str(tmp_path) in str(told.value)
    # Nothing is bought once it is known: what was in flight then, and no more.
    assert len(server.calls) <= 10 + 4 and disk.refused
    disk.full = False
    here = len(list(tmp_path.glob("images/[!.]*")))
    lost = re.search(r"(\d+) images received could not be written", str(told.value))
    assert int(lost[1] if lost else 0) == len(server.calls) - here
    before = len(server.calls)
    server.script = lambda call: ok(call.prompt)
    table = source().draw(design(40), tmp_path)
    assert (table["status"] == "ok").all() and len(server.calls) == before + 40 - here
    assert not passed_over("ledger", replay(tmp_path / "ledger.jsonl")[2])


def test_what_arrived_is_kept_when_the_disk_has_space_again_in_time(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(online, "DISK_PAUSE_S", 0.05)
    disk = Disk(monkeypatch, tmp_path, errno.ENOSPC)

    def script(call):
        if call.index == 9:
            disk.full = True
            threading.Timer(0.5, setattr, (disk, "full", False)).start()
        return ok(call.prompt, delay=0.05)

    server = serve(script)
    with pytest.raises(DiskRefused, match="no image received is lost"):
        source().draw(design(40), tmp_path)
    assert len(list(tmp_path.glob("images/[!.]*"))) == len(server.calls) < 16
    before = len(server.calls)
    assert (source().draw(design(40), tmp_path)["status"] == "ok").all() and len(server.calls) == 40 > before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_small_disk_that_fills_loses_nothing_without_saying_so(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(online, "DISK_WAIT_S", 0.3)
    monkeypatch.setattr(online, "DISK_PAUSE_S", 0.05)
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        serve(lambda c: Reply(body=gemini_server.body(gemini_server.image_body(png(c.prompt, 150)))))
        with pytest.raises(DiskRefused, match="No space left on device"):
            source().draw(design(30), folder)
        subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
        assert (source().draw(design(30), folder)["status"] == "ok").all()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _started(serve, tmp_path, **how):
    server = serve(lambda c: ok(c.prompt, **how))
    design(40).to_csv(tmp_path / "design.csv", index=False)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "design.csv"), str(tmp_path / "g"), "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    limit = time.monotonic() + 60
    while len(list(tmp_path.glob("g/images/*.png"))) < 4 and time.monotonic() < limit:
        time.sleep(0.01)
    return server, process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_buying_and_waits_for_what_is_in_flight(number, serve, tmp_path):
    server, process = _started(serve, tmp_path, delay=0.4)
    process.send_signal(number)
    time.sleep(0.05)
    process.send_signal(number)  # to the whole group, and passed on by the pipeline: no second one
    text = process.communicate(timeout=60)[0].decode()
    assert "waiting for the requests in flight" in text and "100%" not in text
    assert ("KeyboardInterrupt" in text) if number == signal.SIGINT else (process.returncode == -number)
    entries = replay(tmp_path / "g/ledger.jsonl")[0]
    assert all(entry.ok and not entry.open for entry in entries.values()) and 4 < len(entries) < 16
    assert len(server.calls) == len(entries) == len(list(tmp_path.glob("g/images/*.png")))


def test_a_second_signal_ends_at_once_and_counts_what_was_in_flight(serve, tmp_path):
    server, process = _started(serve, tmp_path, delay=0.4)
    server.script = lambda call: ok(call.prompt, delay=4.0)
    time.sleep(0.6)
    process.send_signal(signal.SIGTERM)
    time.sleep(1.3)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert time.monotonic() - started < 2 and process.returncode == -signal.SIGTERM
    entries = replay(tmp_path / "g/ledger.jsonl")[0]
    assert 1 <= sum(len(entry.open) for entry in entries.values()) <= 4
    assert spent(entries.values()) >= len(server.calls) * PRICE * 0.99


def test_rows_that_wait_to_be_asked_again_do_not_hold_up_a_stop(serve, tmp_path, monkeypatch):
    serve(lambda c: REPLIES["503"][0](c.prompt) if "number 0" in c.prompt else ok(c.prompt, delay=0.05))
    made = source(budget_usd=2.5)
    made.settings.backoff_s = 40.0
    ledger, service = Ledger(tmp_path), GeminiService(made.settings.request, made.settings.price, made.settings)
    purse = online.Purse(ledger, made.settings.budget_usd)
    rows = rows_of(design(9), PAPER, "v1beta", service.request.configuration)
    run = online.Run(ledger, rows, tmp_path, service, purse)
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_in_thread(run)
    assert time.monotonic() - started < 10 and run.counts["ok"] == 8


def two_images(prompt, images=2):
    reply = gemini_server.image_body(png(prompt), {"promptTokenCount": 40, "candidatesTokenCount": 1290 * images})
    parts = reply["candidates"][0]["content"]["parts"]
    for number in range(1, images):
        parts += gemini_server.image_body(png(f"{prompt} {number}"))["candidates"][0]["content"]["parts"]
    return gemini_server.body(reply)


@pytest.mark.parametrize("images", [2, 3])
def test_the_dearest_price_is_known_at_the_next_start(images, serve, tmp_path):
    serve(lambda c: Reply(body=two_images(c.prompt, images), delay=0.02))
    source(budget_usd=0.5).draw(design(2), tmp_path)
    spent_before = source().plan(design(2), tmp_path)["spent_usd"]
    assert spent_before == pytest.approx(2 * images * 0.0387, rel=0.01)
    for _ in range(4):
        with contextlib.suppress(UserError):  # what is left is less than the list's price of those still wanted
            table = source(budget_usd=0.85).draw(design(12), tmp_path)
        # Nothing more is in flight than was set aside at the price that is known.
        assert source().plan(design(12), tmp_path)["spent_usd"] <= 0.85
    assert (table["status"] == "not yet: budget").any()


def test_a_model_is_not_as_dear_as_another_was(serve, tmp_path):
    serve(lambda c: Reply(body=two_images(c.prompt, 3)))
    source(model="gemini-3-pro-image").draw(design(2), tmp_path)
    with Ledger(tmp_path) as ledger:
        assert dearest(ledger.entries.values(), "gemini-3-pro-image", "online") == pytest.approx(0.4645, rel=0.01)
        assert dearest(ledger.entries.values(), PAPER, "online") == 0


BAD_USAGE = {
    "NaN": '{"promptTokenCount": NaN, "candidatesTokenCount": NaN}',
    "infinity": '{"promptTokenCount": 40, "candidatesTokenCount": Infinity}',
    "a power": '{"promptTokenCount": 40, "candidatesTokenCount": 1e400}',
    "negative": '{"promptTokenCount": -40, "candidatesTokenCount": 1290}',
    "huge": '{"promptTokenCount": 40, "candidatesTokenCount": ' + "9" * 300 + "}",
    "words": '{"promptTokenCount": "forty", "candidatesTokenCount": 1290}',
    "a list": "[40, 1290]",
    "nested": '{"promptTokenCount": 40, "candidatesTokenCount": {"value": NaN}}',
    "a split of NaN": '{"candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": NaN}]}',
}


@pytest.mark.parametrize("usage", BAD_USAGE.values(), ids=BAD_USAGE)
def test_a_usage_that_cannot_be_counted_costs_its_estimate_and_blocks_nothing(usage, serve, tmp_path, capsys):
    def script(call):
        text = json.dumps(gemini_server.image_body(png(call.prompt), {"here": 1})).replace('{"here": 1}', usage)
        return Reply(body=text.encode())

    serve(script)
    for _ in range(2):
        table = source().draw(design(3), tmp_path)
        assert (table["status"] == "ok").all()
    asked = [line["estimate_usd"] for line in lines_of(tmp_path) if line["event"] == "request"]
    assert table["cost_usd"].sum() == pytest.approx(sum(asked), abs=1e-5) and len(asked) == 3
    assert "3 replies with unreadable usage" in capsys.readouterr().out
    json.loads("[" + ",".join((tmp_path / "ledger.jsonl").read_text().splitlines()) + "]", parse_constant=pytest.fail)


def test_the_last_draft_is_kept_where_nothing_better_came_and_is_paid_once(serve, tmp_path, capsys):
    def script(call):
        drafts = [gemini_server.image_body(png(f"{call.prompt} draft {n}")) for n in range(2)]
        parts = [draft["candidates"][0]["content"]["parts"][0] | {"thought": True} for draft in drafts]
        broken = {"inlineData": {"data": "@@"}, "thought": True}
        return Reply(body=gemini_server.body(gemini_server.finish("STOP", parts=[*parts, broken])))

    server = serve(lambda c: script(c) if "0" in c.prompt else ok(c.prompt))
    table = source().draw(design(3), tmp_path)
    assert (table["status"] == "ok").all() and table["draft"].tolist() == [True, False, False]
    assert (tmp_path / table["path"][0]).read_bytes() == png("chest radiograph number 0 draft 1")
    assert len(server.calls) == 3 and "1 of 3 images are drafts" in capsys.readouterr().out
    again = source().draw(design(3), tmp_path)
    assert len(server.calls) == 3 and again["draft"].tolist() == [True, False, False]
