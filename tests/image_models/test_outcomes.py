"""What a request came to, whoever was asked."""

import base64
import email.utils
import time

import httpx
import pytest
from image_models.gemini_server import png

from nbhelpers.image_models.outcomes import REFUSALS, TRANSIENT, decoded, from_network, line, retry_after


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
