import hashlib
import json
import logging
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from image_models import gemini_server
from image_models.gemini_fixture import PRICE, SECRET, design, lines_of, source
from image_models.gemini_server import REPLIES, Reply, ok, png

from nbhelpers.errors import UserError
from nbhelpers.image_models.c2pa import has_manifest
from nbhelpers.image_models.gemini.carriers import carriers
from nbhelpers.image_models.gemini.online import DOUBTS, LOST_LIMIT
from nbhelpers.image_models.gemini.outcomes import OUTCOMES, REFUSALS, from_reply, from_status
from nbhelpers.image_models.gemini.prices import PRICES, price_of
from nbhelpers.image_models.gemini.purchases import Settings
from nbhelpers.image_models.ledger import Ledger, replay
from nbhelpers.image_models.originals import note_arrival
from nbhelpers.prompting import drawing
from nbhelpers.prompting.sources.gemini import GeminiSource
from nbhelpers.runs.parameters import read_yaml

pytestmark = pytest.mark.usefixtures("key")

# outcomes


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


def test_image_is_kept_byte_for_byte_and_named_by_its_bytes(serve, tmp_path):
    serve(lambda call: REPLIES["jpeg labelled png" if "1" in call.prompt else "draft and image"][0](call.prompt))
    table = source().draw(design(2), tmp_path)
    for prompt, path, kind in zip(design(2)["prompt"], table["path"], ("PNG", "JPEG"), strict=True):
        assert (tmp_path / path).read_bytes() == png(prompt, kind=kind)
        assert path.endswith({"PNG": ".png", "JPEG": ".jpg"}[kind])
    ok_lines = [line for line in lines_of(tmp_path) if line.get("outcome") == "ok"]
    assert {line["sha256"] for line in ok_lines} == {
        hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() for path in table["path"]
    }


def test_row_carries_provenance(serve, tmp_path):
    serve()
    images = drawing.draw_images(source(), design(2), tmp_path)
    row = images.iloc[0]
    assert row["model"] == "gemini-2.5-flash-image" and row["model_version"] == "gemini-2.5-flash-image-002"
    assert row["prompt"] == "chest radiograph number 0" and row["response_id"].startswith("r-")
    assert row["input_tokens"] == 40 and row["output_tokens"] == 1290
    assert row["cost_usd"] == pytest.approx(PRICE, abs=1e-6)
    assert pd.Timestamp(row["created"]).tzinfo is not None
    assert not row["c2pa"] and row["requests"] == 1 and row["source"] == "gemini"


def test_signed_note_of_origin_is_recorded_as_it_came(serve, tmp_path):
    picture = png("chest radiograph number 0")
    signed = (
        picture[:33]
        + struct.pack(">I", 4)
        + b"caBX"
        + b"jumb"
        + struct.pack(">I", zlib.crc32(b"caBXjumb"))
        + picture[33:]
    )
    serve(
        lambda c: Reply(body=gemini_server.body(gemini_server.image_body(signed if "0" in c.prompt else png(c.prompt))))
    )
    table = source().draw(design(2), tmp_path)
    assert table["c2pa"].tolist() == [True, False] and (tmp_path / table["path"][0]).read_bytes() == signed


def test_all_that_was_paid_for_is_kept(serve, tmp_path):
    def script(call):
        if "0" in call.prompt:  # two images in one reply
            reply = gemini_server.image_body(png(call.prompt))
            more = gemini_server.image_body(png("another"))["candidates"][0]["content"]["parts"]
            reply["candidates"][0]["content"]["parts"] += more
            return Reply(body=gemini_server.body(reply))
        data = b"....ftypavif of a later year" if call.nth == 0 else png(call.prompt)
        return Reply(body=gemini_server.body(gemini_server.image_body(data)))

    serve(script)
    table = source().draw(design(2), tmp_path)
    assert (tmp_path / table["path"][0]).read_bytes() == png("chest radiograph number 0")
    kept = {path.read_bytes() for path in tmp_path.glob("spare/*")}
    assert kept == {png("another"), b"....ftypavif of a later year"}
    noted = [path for line in lines_of(tmp_path) for path in line.get("spare", [])]
    assert {(tmp_path / path).read_bytes() for path in noted} == kept


def test_text_that_is_no_unicode_stops_nothing(serve, tmp_path):
    reply = gemini_server.body(gemini_server.finish("STOP", parts=[{"text": "half a pair: \ud83d"}]))
    serve(lambda c: Reply(body=reply) if c.nth == 0 else ok(c.prompt))
    assert (source().draw(design(2), tmp_path)["status"] == "ok").all()
    assert "half a pair: ?" in (tmp_path / "ledger.jsonl").read_text()


@pytest.mark.parametrize("offset", range(270, 310, 3))
def test_no_part_of_the_key_is_left_where_a_message_is_cut(offset):
    said = from_status(403, json.loads(gemini_server.error(403, "P", "x" * offset + SECRET + "y" * 200))).detail
    assert SECRET[:6] not in said
    said = from_status(403, json.loads(gemini_server.error(403, "P", "x " * 4 * offset + SECRET))).detail
    assert SECRET[:6] not in said


def test_other_parameters_of_the_experiment_are_not_taken_for_the_services():
    other = {"image_size": 224, "mode": "x", "model": "resnet50", "attempts": 99, "price_usd": 5.0}
    assert Settings.of(other) == Settings.of({})


def test_larger_images_have_no_price_of_their_own_in_the_list():
    with pytest.raises(UserError, match="4K"):
        Settings.of({"gemini_model": "gemini-3-pro-image", "gemini_image_size": "4K"})
    settings = Settings.of({"gemini_image_size": "4K", "gemini_price_usd": 0.24})
    assert settings.price.cost({"candidatesTokenCount": 5000}, 1) == pytest.approx(0.24, abs=1e-6)


def test_request_is_what_the_service_expects(serve, tmp_path):
    server = serve()
    source(aspect_ratio="3:4", image_size="2K", model="gemini-3-pro-image", price_usd=0.2).draw(design(1), tmp_path)
    call = server.calls[0]
    assert call.path == "/v1beta/models/gemini-3-pro-image:generateContent"
    assert call.headers["x-goog-api-key"] == SECRET and SECRET not in call.path
    generation_config = call.body["generationConfig"]
    assert generation_config["responseModalities"] == ["IMAGE"]
    assert generation_config["imageConfig"] == {"aspectRatio": "3:4", "imageSize": "2K"}
    server.calls.clear()
    source(api_version="v1").draw(design(1), tmp_path / "v1")
    assert server.calls[0].path.startswith("/v1/models/")


def test_refused_prompt_is_given_up_after_its_attempts_and_stays_given_up(serve, tmp_path):
    server = serve(lambda c: REPLIES["prompt blocked"][0](c.prompt) if "number 1" in c.prompt else ok(c.prompt))
    table = source(attempts=3).draw(design(3), tmp_path)
    assert table["status"].tolist() == ["ok", "given up: prompt_blocked", "ok"]
    assert server.nth["chest radiograph number 1"] == 3
    again = source(attempts=3).draw(design(3), tmp_path)
    assert again["status"].tolist() == table["status"].tolist() and len(server.calls) == 5
    assert source(attempts=3).plan(design(3), tmp_path)["given_up"] == 1
    source(attempts=4).draw(design(3), tmp_path)
    assert server.nth["chest radiograph number 1"] == 4


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
        source(aspect_ratio="7:1").draw(design(10), tmp_path)
    assert len(server.calls) <= 4 + DOUBTS - 1


def test_requests_that_may_be_billed_and_bring_nothing_stop_the_run(serve, tmp_path):
    server = serve(lambda c: ok(c.prompt, delay=2.0))
    table = source(deadline_s=0.1, concurrency=2).draw(design(6), tmp_path)
    assert LOST_LIMIT <= len(server.calls) <= LOST_LIMIT + 2
    assert table["status"].str.contains("no reply and may be billed").any()
    assert table["status"].str.startswith("not yet").all()


@pytest.mark.parametrize(
    ("status", "name", "message", "told"),
    [
        (401, "UNAUTHENTICATED", f"API key {SECRET} not valid", "key is refused"),
        (403, "PERMISSION_DENIED", "denied", "key is refused"),
        (400, "INVALID_ARGUMENT", f"API key not valid: {SECRET}", "key is refused"),
        (404, "NOT_FOUND", "models/nano is not found for API version v1beta", "is not found"),
        (400, "FAILED_PRECONDITION", "User location is not supported", "request is refused"),
        (400, "INVALID_ARGUMENT", "aspect ratio is not supported", "request is refused"),
    ],
)
def test_wrong_key_model_or_request_stops_at_once_with_one_error(status, name, message, told, serve, tmp_path):
    server = serve(lambda c: Reply(status, gemini_server.error(status, name, message)))
    with pytest.raises(UserError, match=told) as caught:
        source().draw(design(50), tmp_path)
    assert len(server.calls) <= 4 + DOUBTS - 1
    assert SECRET not in str(caught.value) and SECRET not in (tmp_path / "ledger.jsonl").read_text()
    assert (
        replay(tmp_path / "ledger.jsonl")[0] and GeminiSource("gemini", {}).plan(design(50), tmp_path)["spent_usd"] == 0
    )


def test_missing_key_is_one_error_before_anything_is_sent(serve, tmp_path, monkeypatch):
    server = serve()
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(UserError, match="no API key"):
        source().draw(design(2), tmp_path)
    for bad in ("with space in it", "naïve-key"):
        monkeypatch.setenv("GEMINI_API_KEY", bad)
        with pytest.raises(UserError, match="characters") as caught:
            source().draw(design(2), tmp_path)
        assert bad not in str(caught.value)
    assert not server.calls


@pytest.mark.parametrize("url", ["localhost:1", "ftp://127.0.0.1", "http://127.0.0.1:99999999"])
def test_unusable_endpoint_is_one_error(url, tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    with pytest.raises(UserError, match="endpoint"):
        source().draw(design(2), tmp_path)


def test_nobody_there_stops_after_the_patience_and_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    table = source(patience_s=0.3).draw(design(30), tmp_path)
    assert table["status"].str.startswith("not yet").all() and table["spent_usd"].sum() == 0


# waiting


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


def test_retry_after_is_obeyed_in_seconds_and_as_a_date():
    body = json.loads(gemini_server.quota())
    assert from_status(429, body, {"Retry-After": "7"}).wait == 7
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 95 < from_status(503, {}, {"retry-after": later}).wait <= 100
    assert from_status(429, json.loads(gemini_server.quota("33.5s")), {"Retry-After": "7"}).wait == 33.5
    assert from_status(429, body, {"Retry-After": "soon"}).wait is None


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
    source(requests_per_minute=1200).draw(design(12), tmp_path)
    assert max(times) - min(times) >= 11 * 60 / 1200 * 0.9


def test_no_more_requests_in_flight_than_asked(serve, tmp_path):
    server = serve(lambda c: ok(c.prompt, delay=0.02))
    source(concurrency=5).draw(design(40), tmp_path)
    assert server.most_in_flight == 5


# money


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
    made.settings.price = price_of("gemini-2.5-flash-image")
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


def test_estimate_over_the_budget_stops_before_anything_is_sent(serve, tmp_path):
    server = serve()
    with pytest.raises(UserError, match=r"30 images still wanted, about 1\.2. USD, are over the budget: 1\.00 USD"):
        source(budget_usd=1.0).draw(design(30), tmp_path)
    assert not server.calls


def test_budget_counts_the_folders_whole_life(serve, tmp_path):
    serve()
    source(budget_usd=1.0).draw(design(20), tmp_path)
    with pytest.raises(UserError, match="over the budget"):
        source(budget_usd=1.0).draw(design(30), tmp_path)
    assert (source(budget_usd=1.0).draw(design(20), tmp_path)["status"] == "ok").all()


def test_cost_is_the_price_lists_arithmetic():
    assert price_of("gemini-2.5-flash-image").cost(gemini_server.USAGE, 1) == pytest.approx(
        1290 * 30 / 1e6 + 40 * 0.3 / 1e6
    )
    assert price_of("gemini-2.5-flash-image", batch=True).cost(gemini_server.USAGE, 1) == pytest.approx(
        (1290 * 30 / 1e6 + 40 * 0.3 / 1e6) / 2
    )
    assert price_of("gemini-3-pro-image").cost({}, 1) == 0.134
    assert price_of("another", 0.5).cost(gemini_server.USAGE, 1) == 0.5
    assert price_of("gemini-2.5-flash-image").cost({"promptTokenCount": 40}, 0) == pytest.approx(1.2e-5)
    with pytest.raises(UserError, match="did you mean 'gemini-3-pro-image'"):
        price_of("gemini-3-pro-imagee")
    assert read_yaml(PRICES)["date"]


@pytest.mark.parametrize(
    "wrong", [{"mode": "fast"}, {"concurrency": 0}, {"budget_usd": -1.0}, {"price_usd": -1.0}, {"model": "unheard of"}]
)
def test_parameter_out_of_range_is_a_user_error(wrong):
    with pytest.raises(UserError):
        Settings.of({f"gemini_{name}": value for name, value in wrong.items()})


# survival

WORKER = textwrap.dedent(
    """
    import signal, sys, pandas as pd
    # A parent that runs in the background hands SIGINT on as ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from nbhelpers.prompting.sources.gemini import GeminiSource
    source = GeminiSource("gemini", {"gemini_concurrency": int(sys.argv[3]), "gemini_requests_per_minute": 0,
                                     "gemini_budget_usd": 100.0, "gemini_attempts": 20, "gemini_deadline_s": 5.0})
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


def test_without_a_kill_the_servers_count_is_exactly_the_ledgers(serve, tmp_path):
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


def test_image_on_disk_whose_line_a_kill_cut_off_is_kept_and_not_bought_again(serve, tmp_path):
    server = serve()
    source().draw(design(4), tmp_path)
    path = tmp_path / "ledger.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(whole) if b'"outcome"' in line)
    lost = json.loads(whole[last])
    path.write_bytes(b"".join(line for i, line in enumerate(whole) if i != last))
    # As the kill leaves it: what the reply said lies beside the image until the line is written.
    note_arrival(tmp_path, lost["key"][:32], {name: lost[name] for name in ("response_id", "model_version", "usage")})
    table = source().draw(design(4), tmp_path)
    row = table[table["ledger_key"] == lost["key"]].iloc[0]
    assert row["response_id"] == lost["response_id"] and row["model_version"] == lost["model_version"]
    assert row["output_tokens"] == 1290 and not list(tmp_path.glob("arriving/*"))
    assert (table["status"] == "ok").all() and len(server.calls) == 4
    assert Counter(line.get("outcome") for line in lines_of(tmp_path))["unknown"] == 1
    assert source().plan(design(4), tmp_path)["spent_usd"] == pytest.approx(3 * PRICE + 0.0407, abs=2e-3)


def test_image_that_was_removed_is_drawn_again_and_one_that_was_changed_is_left_alone(serve, tmp_path):
    server = serve()
    table = source().draw(design(3), tmp_path)
    (tmp_path / table["path"][0]).unlink()
    (tmp_path / table["path"][1]).write_bytes(b"mine")
    again = source().draw(design(3), tmp_path)
    assert (again["status"] == "ok").all() and len(server.calls) == 5
    assert (tmp_path / table["path"][1]).read_bytes() == b"mine" and again["path"][1] != table["path"][1]


def test_longer_or_reordered_design_reuses_what_was_bought(serve, tmp_path):
    server = serve()
    source().draw(design(10), tmp_path)
    longer = design(16).sample(frac=1, random_state=0).reset_index(drop=True)
    table = source().draw(longer, tmp_path)
    assert len(server.calls) == 16 and (table["status"] == "ok").all()
    by_id = dict(zip(table["image_id"], table["path"], strict=True))
    assert (tmp_path / by_id["i0003"]).read_bytes() == png("chest radiograph number 3")


def test_two_images_of_one_prompt_are_two_purchases(serve, tmp_path):
    server = serve()
    twice = design(2).assign(prompt="the same")
    table = source().draw(twice, tmp_path)
    assert len(server.calls) == 2 and table["path"].nunique() == 2


def test_second_run_on_the_folder_is_refused(serve, tmp_path):
    server = serve()
    with Ledger(tmp_path), pytest.raises(UserError, match="another run"):
        source().draw(design(2), tmp_path)
    assert not server.calls


def test_a_defect_stops_the_run_and_loses_nothing(serve, tmp_path, monkeypatch):
    server = serve()
    from nbhelpers.image_models.gemini import online

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


def test_full_disk_is_one_user_error(serve, tmp_path, monkeypatch):
    server = serve()

    def full(path, data, durable=True):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nbhelpers.image_models.originals.write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        source().draw(design(30), tmp_path)
    assert len(server.calls) <= 4 + 8


def test_interrupt_waits_for_what_is_in_flight(serve, tmp_path):
    serve(lambda c: ok(c.prompt, delay=0.4))
    design(40).to_csv(tmp_path / "design.csv", index=False)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "design.csv"), str(tmp_path / "g"), "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    limit = time.monotonic() + 60
    while len(list(tmp_path.glob("g/images/*.png"))) < 4 and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=60)[0].decode()
    assert "waiting for the requests in flight" in text and "KeyboardInterrupt" in text
    entries = replay(tmp_path / "g/ledger.jsonl")[0]
    assert all(entry.ok and not entry.open for entry in entries.values()) and 4 < len(entries) < 16


def test_key_is_in_no_log_and_no_traceback(serve, tmp_path, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    echo = Reply(403, gemini_server.error(403, "PERMISSION_DENIED", f"key {SECRET} may not"))
    serve(lambda c: echo if c.index > 8 else ok(c.prompt))
    import traceback

    try:
        source().draw(design(30), tmp_path)
    except UserError as error:
        trace = "".join(traceback.format_exception(error)) + str(error) + repr(error)
    assert SECRET not in trace and "[key]" in trace
    assert SECRET not in caplog.text and SECRET not in "".join(capsys.readouterr())
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


# details


def test_thought_part_is_never_taken_for_the_image():
    draft = json.loads(REPLIES["draft and image"][0]("p").body)
    assert from_reply(draft).data == png("p")


def test_every_refusal_and_class_is_described():
    assert set(OUTCOMES) > REFUSALS and {kind for _, kind in REPLIES.values()} < set(OUTCOMES)


@pytest.mark.parametrize("reply", ["[]", "3", '{"candidates": 5}', '{"candidates": [7]}', '{"promptFeedback": 1}'])
def test_reply_of_any_shape_has_a_class(reply):
    assert from_reply(reply).kind in OUTCOMES


def test_c2pa_manifest_is_found_where_the_standard_puts_it():
    plain, jpeg = png("x"), png("x", kind="JPEG")
    chunk = (5).to_bytes(4, "big") + b"caBX" + b"abcde" + bytes(4)
    assert not has_manifest(plain) and has_manifest(plain[:33] + chunk + plain[33:])
    body = b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x20jumb....jumdc2pa"
    segment = b"\xff\xeb" + (len(body) + 2).to_bytes(2, "big") + body
    assert not has_manifest(jpeg) and has_manifest(jpeg[:2] + segment + jpeg[2:])
    webp = png("x", kind="WEBP")
    assert not has_manifest(webp) and has_manifest(webp + b"C2PA" + (4).to_bytes(4, "little") + b"abcd")
    assert not has_manifest(b"") and not has_manifest(jpeg[:5]) and not has_manifest(b"nothing")


# processes that carry requests


def children_of(pid):
    """Processes that any thread of a process started."""
    found = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in found for word in text.split()]


def alive(pid):
    """Whether a process runs: one that ended and that nobody has fetched yet is no more than a line in /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_few_requests_or_images_stay_in_this_process(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert carriers(rows=10, concurrency=64) == 0 and carriers(rows=5000, concurrency=8) == 0
    assert carriers(rows=5000, concurrency=16) == 2 and carriers(rows=5000, concurrency=64) == 4
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert carriers(rows=5000, concurrency=64) == 0


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr(
        "nbhelpers.image_models.gemini.online.carriers", lambda rows, concurrency, requests_per_minute: 2
    )


def test_processes_bring_what_one_process_brings(serve, tmp_path, two_processes):
    names = [
        "image",
        "503",
        "image safety",
        "dropped body",
        "invalid base64",
        "jpeg labelled png",
        "429 with RetryInfo",
    ]

    def script(call):
        return (
            REPLIES[names[int(call.prompt.split()[-1]) % len(names)]][0](call.prompt)
            if call.nth < 1
            else ok(call.prompt)
        )

    server = serve(script)
    table = source(concurrency=6).draw(design(28), tmp_path)
    assert (table["status"] == "ok").all() and server.most_in_flight <= 6
    outcomes = [line for line in lines_of(tmp_path) if line["event"] == "outcome"]
    assert len(server.calls) == len(outcomes) == 28 + 5 * 4
    assert Counter(line["outcome"] for line in outcomes)["quota_minute"] == 4
    for path, line in ((line["path"], line) for line in outcomes if line["outcome"] == "ok"):
        assert hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == line["sha256"]


def test_wait_that_the_service_asks_for_is_obeyed_by_all_processes(serve, tmp_path, two_processes):
    times = []

    def script(call):
        times.append(time.monotonic())
        return Reply(429, gemini_server.quota("0.7s")) if call.index == 5 else ok(call.prompt, delay=0.02)

    serve(script)
    assert (source(concurrency=4).draw(design(20), tmp_path)["status"] == "ok").all()
    # What was on its way already may still come in; then all are silent, and the rest follows.
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) >= 0.6 and sum(gap >= 0.6 for gap in gaps) == 1


def test_refused_key_and_full_disk_are_one_error_through_processes_too(serve, tmp_path, two_processes):
    denied = Reply(403, gemini_server.error(403, "PERMISSION_DENIED", f"key {SECRET} may not"))
    server = serve(lambda call: denied)
    with pytest.raises(UserError, match="key is refused") as caught:
        source().draw(design(20), tmp_path / "a")
    assert SECRET not in str(caught.value) and len(server.calls) <= 4 + 2
    server.script = lambda call: ok(call.prompt)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/images").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        source().draw(design(20), tmp_path / "b")


@needs_proc
def test_a_process_that_dies_stops_the_run_and_the_next_one_completes(serve, tmp_path, two_processes):
    server = serve(lambda call: ok(call.prompt, delay=0.05))

    def script(call):
        if call.index == 10:
            os.kill(max(children_of(os.getpid())), signal.SIGKILL)
        return ok(call.prompt, delay=0.05)

    server.script = script
    with pytest.raises(RuntimeError, match="ended before its time"):
        source().draw(design(40), tmp_path)
    server.script = lambda call: ok(call.prompt)
    assert (source().draw(design(40), tmp_path)["status"] == "ok").all()
    assert len(server.calls) <= 40 + 4


@needs_proc
def test_a_process_that_dies_while_it_waits_is_not_given_any_more(serve, tmp_path, two_processes):
    def script(call):
        if call.index == 5:
            # All of them, while the service has asked for silence and nothing is on its way.
            threading.Timer(0.6, lambda: [os.kill(pid, signal.SIGKILL) for pid in children_of(os.getpid())]).start()
            return Reply(429, gemini_server.quota("1.5s"))
        return ok(call.prompt, delay=0.01)

    server = serve(script)
    started = time.monotonic()
    with pytest.raises(RuntimeError, match=r"before (their|its) time"):
        source().draw(design(40), tmp_path)
    assert time.monotonic() - started < 30
    server.script = lambda call: ok(call.prompt)
    assert (source().draw(design(40), tmp_path)["status"] == "ok").all()


@needs_proc
def test_processes_end_when_their_parent_is_killed_and_the_next_run_completes(serve, tmp_path):
    server = serve(lambda call: ok(call.prompt, delay=0.2))
    design(400).to_csv(tmp_path / "design.csv", index=False)
    command = [sys.executable, "-c", WORKER, str(tmp_path / "design.csv"), str(tmp_path / "g"), "16"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not list(tmp_path.glob("g/images/*.png")) and time.monotonic() < limit:
        time.sleep(0.01)
    children = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(children) == 2 or (os.cpu_count() or 1) == 1
    limit = time.monotonic() + 30
    while any(alive(child) for child in children) and time.monotonic() < limit:
        time.sleep(0.01)
    assert not any(alive(child) for child in children)
    arrived = {line["key"] for line in lines_of(tmp_path / "g") if line.get("outcome") == "ok"}
    before = Counter(call.prompt for call in server.calls)
    server.script = lambda call: ok(call.prompt)
    table = source(concurrency=16).draw(design(400), tmp_path / "g")
    assert (table["status"] == "ok").all()
    again = {call.prompt for call in server.calls[sum(before.values()) :]}
    assert not again & set(design(400)["prompt"][table["ledger_key"].isin(arrived)])
