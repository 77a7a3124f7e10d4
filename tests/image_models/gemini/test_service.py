"""Calls to the service that are tried again, jobs found by name, results fetched within time and size."""

import random
import time

import pytest
from image_models import gemini_server
from image_models.gemini_fixture import SECRET, batch, design
from image_models.gemini_server import REPLIES, Reply, png

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini import service

pytestmark = pytest.mark.usefixtures("key")


def test_two_jobs_of_one_name_are_told(serve, tmp_path, capsys):
    server = serve()

    def twice(made):
        # As a proxy that sends a request again would.
        server.jobs["batches/job9"] = server.jobs["batches/job0"] | {}
        return Reply(fault="reset")

    server.created = twice
    assert (batch().draw(design(2), tmp_path)["status"] == "ok").all()
    assert "more than one job of this name" in capsys.readouterr().out


def test_a_result_that_drips_or_never_ends_stops_in_time(serve, tmp_path, monkeypatch):
    server = serve()
    monkeypatch.setattr(service, "IMAGE_S", 0.1)
    server.before = lambda method, path: Reply(body=b"x" * 10_000, fault="drip") if path.endswith(":download") else None
    started = time.monotonic()
    with pytest.raises(UserError, match="no batch result"):
        batch(patience_s=0.5, deadline_s=60.0).draw(design(3), tmp_path)
    assert time.monotonic() - started < 8
    server.before = lambda method, path: None
    assert (batch().draw(design(3), tmp_path)["status"] == "ok").all() and len(server.jobs) == 1


def test_a_result_larger_than_its_images_can_be_is_left(serve, tmp_path, monkeypatch):
    server = serve()
    monkeypatch.setattr(service, "IMAGE_BYTES", 2**20)
    flood = b"[" * (8 * 2**20)
    server.before = lambda method, path: Reply(body=flood) if path.endswith(":download") else None
    table = batch().draw(design(3), tmp_path)
    assert (table["status"] == "not yet: in a batch job").all()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2**20


def test_a_result_that_came_in_part_leaves_no_file_of_the_services(serve, tmp_path):
    server = serve()
    server.finish_lines = lambda lines: [
        gemini_server.body({"key": "f" * 64, "response": {"responseId": SECRET}}),
        *lines,
    ]
    drop = {"fault": "drop"}
    server.before = lambda method, path: (
        Reply(body=server.results["files/out-job0"], **drop) if path.endswith(":download") else None
    )
    large = {n: gemini_server.body(gemini_server.image_body(png(n, 700))) for n in design(6)["prompt"]}
    server.script = lambda c: Reply(body=large[c.prompt])
    batch().draw(design(6), tmp_path)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_download_that_breaks_off_is_used_for_what_it_has_and_the_next_run_gets_the_rest(serve, tmp_path):
    large = {n: gemini_server.body(gemini_server.image_body(png(n, 700))) for n in design(6)["prompt"]}
    server = serve(lambda c: Reply(body=large[c.prompt]))

    def broken(method, path):
        if path.endswith(":download"):
            data = server.results[path.removeprefix("/v1beta/").removesuffix(":download")]
            return Reply(body=data, fault="drop")
        return None

    server.before = broken
    made = batch()
    first = made.draw(design(6), tmp_path)
    assert 0 < (first["status"] == "ok").sum() < 6 and len(server.jobs) == 1
    assert set(first["status"]) == {"ok", "not yet: in a batch job"}
    server.before = lambda method, path: None
    again = batch().draw(design(6), tmp_path)
    assert (again["status"] == "ok").all() and len(server.jobs) == 1 and len(server.calls) == 6


def test_service_that_fails_now_and_then_is_asked_again(serve, tmp_path):
    server = serve()
    chance = random.Random(0)
    replies = [REPLIES[name][0]("x") for name in ("503", "429 with RetryInfo", "html 502", "html with 200", "reset")]
    # The making of a job alone is not asked for again: see the jobs of which nobody knows.
    spared = ("/put/", "upload", "batchGenerateContent")
    server.before = lambda method, path: (
        chance.choice(replies) if chance.random() < 0.3 and not any(part in path for part in spared) else None
    )
    assert (batch().draw(design(6), tmp_path)["status"] == "ok").all()
    assert len(server.calls) == 6
