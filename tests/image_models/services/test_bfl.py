"""FLUX by plain HTTP: waiting, addresses that may not know the key, and the class of each end."""

import base64
import os
from urllib.parse import urlsplit

import pytest
from image_models.services_fixture import SECRETS, once, service
from image_models.services_server import Reply, body, png

from nbhelpers.image_models.purchases import Row
from nbhelpers.image_models.services import bfl
from nbhelpers.image_models.services.bfl import BflService

KEY = SECRETS["BFL_API_KEY"]


def flux(model="flux-2-pro", **own):
    return service("bfl", model=model, **own)


def test_the_address_is_looked_at_as_given_with_the_key_and_the_picture_is_fetched_without(services):
    services.flux_states = lambda asked: ["Pending", "Processing", "Ready"]
    asked = flux(safety_tolerance=2)
    outcome = once(asked, Row("i", "take it off", "k", 7, b"PNG", side=1024))
    assert outcome.kind == "ok" and outcome.data == png("take it off")
    (sent,) = services.asked
    assert sent.path == "/bfl/v1/flux-2-pro" and sent.headers["x-key"] == KEY
    assert sent.fields == {
        **{"prompt": "take it off", "input_image": base64.b64encode(b"PNG").decode(), "seed": 7},
        **{"output_format": "png", "safety_tolerance": 2},
    }
    assert [(path, "x-key" in headers) for _, path, headers in services.seen] == [
        *[("/bfl/poll", True)] * 3,
        ("/bfl/delivery/j0.png", False),
    ]
    assert KEY not in str(services.seen[-1])
    assert asked.price.cost(outcome.facts["usage"], 1) == pytest.approx(0.045), "4.5 credits of a cent"
    assert outcome.facts["response_id"] == "j0"


def test_words_alone_are_drawn_as_a_square(services):
    once(flux(), Row("i", "a film", "k", 7, side=1024))
    once(flux("flux-kontext-pro"), Row("i", "a film", "k", 7))
    assert (services.asked[0].fields["width"], services.asked[0].fields["height"]) == (1024, 1024)
    assert services.asked[1].fields["aspect_ratio"] == "1:1" and "width" not in services.asked[1].fields


ENDS = {
    "Request Moderated": ("prompt_blocked", True),
    "Content Moderated": ("image_blocked", True),
    "Error": ("no_image", True),
    "Failed": ("no_image", True),
    "Task not found": ("no_image", True),
}


@pytest.mark.parametrize(("state", "end"), ENDS.items(), ids=ENDS)
def test_each_end_that_is_no_picture_has_its_class_and_counts_what_was_told(state, end, services):
    services.flux_states = lambda asked: ["Pending", state]
    outcome = once(flux())
    assert (outcome.kind, outcome.billed) == end and outcome.facts["usage"] == {"usd": 0.045}
    services.cost = None
    assert once(flux()).billed is None, "where nothing is told of the cost it counts at the estimate"


STATUSES = {402: "quota_day", 429: "quota_minute", 403: "configuration", 422: "configuration", 404: "configuration"}


@pytest.mark.parametrize(("status", "kind"), [*STATUSES.items(), (500, "server"), (503, "server")])
def test_a_request_that_is_refused_is_billed_to_nobody(status, kind, services):
    services.scripts["bfl"] = lambda asked: Reply(status, body({"detail": "said so"}), {"Retry-After": "3"})
    outcome = once(flux())
    assert (outcome.kind, outcome.billed) == (kind, False) and "said so" in outcome.detail
    assert outcome.fatal is (status in (402, 403, 404)) and not services.seen
    assert outcome.wait == (3.0 if kind in ("server", "quota_minute") else None)


def test_looks_that_fail_are_repeated_and_the_request_is_not(services):
    faults = [
        Reply(500, b"x"),
        Reply(429, b""),
        Reply(fault="reset"),
        Reply(200, b"<html>"),
        Reply(fault="drop", body=b"{}" * 9),
    ]
    services.looked = lambda what, count: faults[count] if what == "look" and count < len(faults) else None
    assert once(flux()).kind == "ok" and len(services.asked) == 1


def test_a_picture_whose_address_has_expired_is_fetched_from_a_fresh_one(services):
    services.looked = lambda what, count: Reply(403, b"expired") if what == "picture" and count == 0 else None
    assert once(flux()).kind == "ok" and len(services.asked) == 1 and services.looks["picture"] == 2
    services.looked = lambda what, count: Reply(403, b"expired") if what == "picture" else None
    outcome = once(flux())
    assert (outcome.kind, outcome.billed) == ("no_image", True) and "status 403" in outcome.detail
    assert services.looks["picture"] == 2 + bfl.ADDRESSES, "and not without an end"


def test_what_is_never_ready_ends_at_the_deadline_and_counts_at_the_estimate(services):
    services.flux_states = lambda asked: ["Pending"]
    outcome = once(flux(deadline_s=0.3))
    assert (outcome.kind, outcome.billed) == ("transport", None) and "0.3 s" in outcome.detail


def test_an_address_elsewhere_is_never_told_the_key(services):
    services.polling = services.url.replace("127.0.0.1", "localhost")
    outcome = once(flux())
    assert (outcome.kind, outcome.fatal, outcome.billed) == ("configuration", True, None) and not services.seen
    assert "elsewhere" in str(flux().stop_message(outcome))


@pytest.mark.parametrize(
    ("base", "address", "may"),
    [
        ("https://api.bfl.ai", "https://api.bfl.ai/v1/get_result?id=1", True),
        ("https://api.bfl.ai", "https://api.eu4.bfl.ai/v1/get_result?id=1", True),
        ("https://api.bfl.ai", "http://api.eu4.bfl.ai/v1/get_result?id=1", False),
        ("https://api.bfl.ai", "https://api.eu4.bfl.ai:8443/v1/get_result?id=1", False),
        ("https://api.bfl.ai", "https://api.bfl.ai.evil.example/v1/get_result?id=1", False),
        ("https://api.bfl.ai", "https://evilbfl.ai/v1/get_result?id=1", False),
        ("https://api.bfl.ai", "https://api.bfl.ai@evil.example/v1", False),
        ("https://api.bfl.ai", "https://user@api.bfl.ai/v1", False),
        ("https://api.bfl.ai", "//api.bfl.ai/v1", False),
        ("https://api.bfl.ai", "https://api.bfl.ai:99999/", False),
        ("https://proxy.example", "https://api.bfl.ai/v1/get_result?id=1", False),
        ("https://proxy.example", "https://other.proxy.example/1", False),
        ("https://proxy.example", "https://proxy.example/1", True),
    ],
)
def test_which_addresses_may_know_the_key(base, address, may, services):
    asked = flux()
    asked._base = base
    assert asked._may_know_the_key(urlsplit(address)) is may


def test_a_redirect_is_not_followed(services):
    away = Reply(302, b"", {"Location": f"{services.url}/bfl/delivery/j0.png"})
    services.looked = lambda what, count: away if what == "look" and count == 0 else None
    assert once(flux()).kind == "ok"
    assert [path for _, path, _ in services.seen].count("/bfl/delivery/j0.png") == 1


@pytest.mark.parametrize("address", ["http://other.example", "file:///etc/passwd#", "ftp://127.0.0.1"])
def test_a_picture_is_fetched_encrypted_or_from_the_service_itself_alone(address, services):
    services.delivery = address
    outcome = once(flux())
    assert outcome.kind == "no_image" and "neither encrypted nor" in outcome.detail and services.looks["picture"] == 0


def test_a_picture_is_bounded_and_one_that_cannot_be_decoded_is_kept(services, monkeypatch):
    services.looked = lambda what, count: Reply(body=os.urandom(300)) if what == "picture" else None
    outcome = once(flux())
    assert outcome.kind == "corrupt" and len(outcome.data) == 300
    monkeypatch.setattr(bfl, "MOST_BYTES", 200)
    assert "more than 200 bytes" in once(flux()).detail


def test_no_key_is_left_in_what_comes_back(services):
    services.scripts["bfl"] = lambda asked: Reply(403, body({"detail": f"key {KEY} may not"}))
    outcome = once(flux())
    assert KEY not in repr(outcome) and KEY[:10] not in str(flux().stop_message(outcome))


@pytest.mark.parametrize("credits", ["4.5", True, -1, float("nan"), 1e9, None])
def test_a_cost_that_is_no_number_of_credits_is_not_taken_for_one(credits, services):
    services.cost = credits
    assert once(flux()).facts["usage"] == {}


def test_its_size_is_the_pictures_own():
    assert BflService.masks is False and flux().side(777) == 777


def test_words_that_are_no_picture_are_kept_as_corrupt():
    outcome = flux().read((b"words", {"response_id": "x"}))
    assert (outcome.kind, outcome.data, outcome.facts["response_id"]) == ("corrupt", b"words", "x")
