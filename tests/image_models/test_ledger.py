import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nbhelpers.errors import UserError
from nbhelpers.image_models.ledger import Ledger, image_key, passed_over, replay, spent

KEY = "k" * 64


def outcome(asked, kind="ok", cost=0.04, **more):
    return {"event": "outcome", "request_id": asked["request_id"], "key": asked["key"], "outcome": kind} | {
        "cost_usd": cost,
        **more,
    }


def test_key_differs_when_any_part_differs_and_not_with_the_order_of_options():
    base = ("m", "v1beta", "a prompt", {"a": 1, "b": None}, 0)
    key = image_key(*base)
    assert len(key) == 64 and key == image_key("m", "v1beta", "a prompt", {"b": None, "a": 1}, 0)
    others = [
        image_key("n", *base[1:]),
        image_key("m", "v1", *base[2:]),
        image_key("m", "v1beta", "A prompt", *base[3:]),
        image_key(*base[:3], {"a": 2, "b": None}, 0),
        image_key(*base[:4], 1),
    ]
    assert len({key, *others}) == 6


def test_a_ledger_read_again_knows_what_was_written(tmp_path):
    with Ledger(tmp_path) as ledger:
        first, second = ledger.request(KEY, 0.05), ledger.request("q", 0.06)
        ledger.append(first, second)
        ledger.append(outcome(first, path="images/x.png"), {"event": "batch", "job": "batches/1"})
    with Ledger(tmp_path) as ledger:
        assert ledger.entry(KEY).ok["path"] == "images/x.png"
        assert list(ledger.entry("q").open) == [second["request_id"]]
        assert ledger.entry("never").requests == 0
        assert [event["job"] for event in ledger.events] == ["batches/1"]
        assert ledger.spent() == pytest.approx(0.04 + 0.06)


def test_a_torn_last_line_is_passed_over_and_the_next_line_is_whole(tmp_path):
    with Ledger(tmp_path) as ledger:
        asked = ledger.request(KEY, 0.05)
        ledger.append(asked)
        ledger.append(outcome(asked))
    path = tmp_path / "ledger.jsonl"
    whole = path.read_bytes()
    cut = whole[:-9]
    for end in (cut, cut[:-100], cut + "é".encode()[:1]):
        path.write_bytes(end)
        with Ledger(tmp_path) as ledger:
            assert len(ledger.bad) == 1 and ledger.entry(KEY).ok is None and len(ledger.entry(KEY).open) == 1
            ledger.append(outcome(asked, "unknown"))
        entries, _, bad = replay(path)
        assert len(bad) == 1 and entries[KEY].outcomes == {"unknown": 1}


BAD_LINES = {
    "a cost of NaN": '{"event": "outcome", "request_id": "R", "key": "K", "outcome": "ok", "cost_usd": NaN}',
    "a cost of infinity": '{"event": "outcome", "request_id": "R", "key": "K", "outcome": "ok", "cost_usd": Infinity}',
    "a negative cost": '{"event": "outcome", "request_id": "R", "key": "K", "outcome": "ok", "cost_usd": -1e9}',
    "a cost in words": '{"event": "outcome", "request_id": "R", "key": "K", "outcome": "ok", "cost_usd": "four"}',
    "a number": "17",
    "a list": '["event"]',
    "no event": '{"key": "K"}',
    "a key that is none": '{"event": "outcome", "request_id": "R", "key": ["K"], "outcome": "ok"}',
    "an outcome that is none": '{"event": "outcome", "request_id": "R", "key": "K", "outcome": {}}',
    "an event that is none": '{"event": ["x"], "batch": 5}',
    "zeros of a power failure": "\0" * 4000,
    "nested without an end": "[" * 200_000,
    "bytes of another code": "\udcff\udcfe",
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_anywhere_is_named_and_blocks_nothing(bad, tmp_path):
    with Ledger(tmp_path) as ledger:
        first, second = ledger.request(KEY, 0.05), ledger.request("q", 0.06)
        ledger.append(first, second)
    path = tmp_path / "ledger.jsonl"
    line = bad.replace('"R"', f'"{first["request_id"]}"').replace('"K"', f'"{KEY}"')
    path.write_bytes(path.read_bytes() + line.encode(errors="surrogateescape") + b"\n")
    with Ledger(tmp_path) as ledger:
        assert ledger.bad == [3] and "line 3 " in passed_over(path, ledger.bad)
        # What it may have cost is counted: at its estimate, as an outcome or as one that is still open.
        assert ledger.spent() == pytest.approx(0.05 + 0.06)
        ledger.append(outcome(second, cost=0.04))
    assert replay(path)[2] == [3] and passed_over(path, []) == ""
    events = '{"event": "extra", "cost_usd": NaN}\n{"event": "batch_request", "batch": ["b"], "images": "x"}\n'
    path.write_bytes(path.read_bytes() + events.encode())
    with Ledger(tmp_path) as ledger:
        assert ledger.spent() == pytest.approx(0.05 + 0.04) and ledger.bad[:2] == [3, 5]


def test_no_line_is_written_that_is_not_strict_json(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(
            {"event": "note", "a": float("nan"), "b": {"c": [float("-inf")]}, "d": Path("x"), "e": {1: 10**400}}
        )
    text = (tmp_path / "ledger.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["b"] == {"c": [None]}


def test_nothing_is_ever_rewritten(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(ledger.request(KEY, 0.05))
    before = (tmp_path / "ledger.jsonl").read_bytes()
    with Ledger(tmp_path) as ledger:
        ledger.append(ledger.request(KEY, 0.05))
    assert (tmp_path / "ledger.jsonl").read_bytes().startswith(before)


def test_a_second_opening_is_refused_and_succeeds_after_the_first_closed(tmp_path):
    with Ledger(tmp_path), pytest.raises(UserError, match="another run"):
        Ledger(tmp_path)
    Ledger(tmp_path).close()


def test_the_lock_ends_with_a_killed_process(tmp_path):
    code = "import sys, time; from nbhelpers.image_models.ledger import Ledger; L=Ledger(sys.argv[1]); "
    code += "print('on', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"on\n"
    with pytest.raises(UserError, match="another run"):
        Ledger(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    Ledger(tmp_path).close()


def test_lines_of_many_threads_are_all_there_and_whole(tmp_path):
    with Ledger(tmp_path) as ledger:

        def work(n):
            for i in range(25):
                asked = ledger.request(f"{n}-{i}", 0.01, prompt="x" * 500)
                ledger.append(asked, durable=False)
                ledger.append(outcome(asked))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 12 * 25
    entries, _, bad = replay(tmp_path / "ledger.jsonl")
    assert not bad and len(entries) == 300 and all(entry.ok and not entry.open for entry in entries.values())
    assert spent(entries.values()) == pytest.approx(300 * 0.04)


def test_threads_that_wait_share_flushes(tmp_path, monkeypatch):
    flushes = []
    with Ledger(tmp_path) as ledger:
        real = os.fsync
        monkeypatch.setattr(os, "fsync", lambda file: (flushes.append(1), time.sleep(0.02), real(file)))
        threads = [threading.Thread(target=lambda n=n: ledger.append({"event": "note", "n": n})) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # The first flush holds one line or more, the second all that came meanwhile.
        assert len(flushes) <= 4
        monkeypatch.undo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_error_and_the_ledger_takes_no_more(tmp_path):
    ledger = Ledger.__new__(Ledger)
    with Ledger(tmp_path / "other") as good:
        vars(ledger).update(vars(good))
        ledger._file = os.open("/dev/full", os.O_WRONLY)
        for _ in range(2):
            with pytest.raises(UserError, match="No space left"):
                ledger.append({"event": "note"})
        os.close(ledger._file)


def _append_forever(folder):
    with Ledger(folder) as ledger:
        n = 0
        while True:
            asked = ledger.request(str(n), 0.01, prompt="y" * 3000)
            ledger.append(asked, durable=False)
            ledger.append(outcome(asked), durable=False)
            n += 1


def test_kill_leaves_whole_lines_and_at_most_one_torn(tmp_path):
    for _ in range(3):
        process = multiprocessing.get_context("fork").Process(target=_append_forever, args=(tmp_path,), daemon=True)
        process.start()
        path = tmp_path / "ledger.jsonl"
        start = path.stat().st_size if path.exists() else 0
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (not path.exists() or path.stat().st_size < start + 200_000):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        entries, _, bad = replay(path)
        assert len(bad) <= 1 and sum(len(entry.open) for entry in entries.values()) <= 3
