"""Statuses as outcomes, the one error that stops a run, and the dated price list."""

import json

import pytest
from image_models.services_fixture import SECRETS, service

from nbhelpers.errors import UserError
from nbhelpers.image_models.outcomes import Outcome
from nbhelpers.image_models.services.asked import PRICES, from_bytes, from_status, listed_of, price_of, standing
from nbhelpers.runs.parameters import read_yaml

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


def test_words_that_are_no_picture_are_kept_as_corrupt():
    assert from_bytes(b"words", {"response_id": "x"}).kind == "corrupt"


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("401 no such key", r"API key is refused.*check ARK_API_KEY"),
        ("403 not verified", r"not open to this key.*verified organisation"),
        ("404 no model", "withdrawn, closed to this key, or unknown"),
        ("the endpoint cannot be used: x", "ARK_BASE_URL"),
        ("400 odd size", "correct the settings"),
    ],
)
def test_what_no_request_can_mend_is_one_error_that_says_what_to_do(detail, told):
    asked = service("ark", model="seedream-4-0-250828")
    with pytest.raises(UserError, match=told):
        raise asked.stop_message(Outcome("configuration", detail))


def test_every_listed_model_has_a_price_of_each_quality_and_the_list_is_dated():
    prices = read_yaml(PRICES)
    for name, models in prices["models"].items():
        for model, listed in models.items():
            for quality in [None, *listed.get("tokens", {})]:
                assert 0.005 < price_of(name, model, quality=quality).usd_per_image < 0.3
            assert price_of(name, model).date == str(prices["date"])


def test_prices_are_those_of_the_list():
    assert price_of("openai", "gpt-image-2", quality="high").usd_per_image == pytest.approx(0.219)
    assert price_of("openai", "gpt-image-2").usd_per_image == pytest.approx(0.219), "where the service may choose"
    assert price_of("openai", "gpt-image-2", quality="low").reserve("", 2048) > 4 * 0.015
    assert price_of("ark", "doubao-seedream-4-0-250828").usd_per_image == 0.03
    assert price_of("bfl", "flux-2-pro", own_usd=0.2).cost({}, 1) == 0.2


def test_a_model_or_quality_without_a_price_is_refused_and_one_that_ends_is_told():
    with pytest.raises(UserError, match=r"did you mean 'flux-2-max'.*price_usd"):
        price_of("bfl", "flux-2-maxi")
    with pytest.raises(UserError, match="quality 'xhigh'"):
        price_of("openai", "gpt-image-2", quality="xhigh")
    assert "ends on 2026-12-01" in standing("openai", "gpt-image-1.5") and not standing("openai", "gpt-image-2")


def test_the_square_that_can_be_asked_for_is_the_nearest():
    assert service("openai", model="gpt-image-1.5").side(512) == 1024
    assert service("openai", model="gpt-image-2").side(528) == 528
    assert service("ark", model="seedream-4-5-251128").side(1024) == 1936 and listed_of("ark", "x") == {}


def test_a_key_and_an_endpoint_are_looked_for_before_anything_is_paid(services, monkeypatch):
    asked = service("bfl", model="flux-2-pro")
    asked.check()
    monkeypatch.setenv("BFL_BASE_URL", "bfl.ai")
    with pytest.raises(UserError, match="no web address"):
        asked.check()
    monkeypatch.setenv("BFL_API_KEY", f"{SECRETS['BFL_API_KEY']} x")
    with pytest.raises(UserError, match="characters that do not occur in keys"):
        asked.check()
