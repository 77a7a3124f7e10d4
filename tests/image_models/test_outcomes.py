"""What a request came to, whoever was asked."""

import base64
import email.utils
import json
import time

import httpx
import pytest
from image_models.gemini_server import png

from nbhelpers.image_models.outcomes import REFUSALS, TRANSIENT, decoded, from_network, from_status, line, retry_after


def test_what_is_asked_again_is_no_refusal():
    assert not REFUSALS & TRANSIENT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "250", "Retry-After": "7"}, 0.25),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": None}, 90.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_service_asks_for_is_read_in_each_form(headers, seconds):
    at = email.utils.formatdate(time.time() + 90, usegmt=True)
    headers = {name: value or at for name, value in headers.items()}
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds, abs=2))


@pytest.mark.parametrize(
    ("error", "kind", "billed"),
    [
        (httpx.ConnectError("refused"), "transport", False),
        (httpx.ReadError("dropped"), "transport", None),
        (httpx.UnsupportedProtocol("ftp"), "configuration", False),
        (TimeoutError(), "transport", None),
        (ConnectionResetError(), "transport", None),
    ],
)
def test_a_failure_of_the_network_is_billed_only_where_the_request_may_have_gone_out(error, kind, billed):
    outcome = from_network(error)
    assert (outcome.kind, outcome.billed) == (kind, billed)


def test_a_defect_is_no_failure_of_the_network():
    with pytest.raises(KeyError):
        from_network(KeyError("x"))


def test_pictures_are_told_from_what_only_looks_like_one():
    whole = base64.b64encode(png("a")).decode()
    good, broken = decoded([whole, whole[:40], "@@", base64.b64encode(b"words").decode(), None])
    assert good == [png("a")] and [held is not None for _, held in broken] == [True, False, True, True]


def test_a_line_is_short_and_without_any_key(monkeypatch):
    monkeypatch.setenv("BFL_API_KEY", "bfl-0123456789abcdef")
    said = line("x" * 280 + " bfl-0123456789abcdef\n\n" + "y" * 99)
    assert len(said) <= 300 and "bfl-0123" not in said and "\n" not in said


STATUSES = [
    (400, {"error": {"code": "moderation_blocked"}}, "prompt_blocked", False),
    (400, {"error": {"code": "billing_hard_limit_reached"}}, "quota_day", True),
    (400, {"error": {"message": "about safety glasses, no credits"}}, "configuration", False),
    (401, {"error": {"code": "invalid_api_key"}}, "configuration", True),
    (402, b"<html>", "quota_day", True),
    (403, {"error": {"code": "AccountOverdueError"}}, "quota_day", True),
    (413, "too large", "configuration", False),
    (422, {"detail": [{"msg": "field"}]}, "configuration", False),
    (429, {"error": {"type": "insufficient_quota"}}, "quota_day", True),
    (429, {"error": {"code": "rate_limit_exceeded"}}, "quota_minute", False),
    (500, {"error": {"code": "moderation_unavailable"}}, "server", False),
    (503, None, "server", False),
    (504, b"[" * 100_000, "server", False),
    (400, [1, 2], "configuration", False),
]


@pytest.mark.parametrize(("status", "body", "kind", "fatal"), STATUSES)
def test_a_status_and_its_code_are_of_one_class(status, body, kind, fatal):
    outcome = from_status(status, json.dumps(body) if isinstance(body, (dict, list)) else body)
    assert (outcome.kind, outcome.fatal, outcome.billed) == (kind, fatal, False)
    assert outcome.detail.startswith(str(status)) and len(outcome.detail) <= 300
