"""Words about pictures: what is sent, and every reply in its class."""

import base64
from dataclasses import replace

import pytest
from image_models.services_fixture import SECRETS, once
from image_models.services_server import CHAT

from nbhelpers.errors import UserError
from nbhelpers.image_models.purchases import Row
from nbhelpers.image_models.services.registry import TEXT, make_service, options_of

PNG = b"\x89PNG first", b"\x89PNG second"


def chat(name="openai", **own):
    settings = {key: default for key, (_, default) in options_of(name, as_text=True).items()}
    return make_service(name, settings | {"model": "seer-1", "price_usd": 0.01, "deadline_s": 5.0} | own, as_text=True)


def asked_of(row=None):
    return row or Row("i", "which is better?", "k", 7, PNG[0], more=(PNG[1],))


@pytest.mark.parametrize("name", CHAT)
def test_every_reply_is_in_its_class(name, services):
    services.scripts["openai chat"] = lambda asked: CHAT[name][0]()
    outcome = once(chat(), asked_of())
    assert outcome.kind == CHAT[name][1] and len(services.asked) == 1, "the SDK tries nothing again"


@pytest.mark.parametrize("name", ["openai", "ark"])
def test_words_and_both_pictures_go_out_in_order_and_words_come_back(name, services):
    outcome = once(chat(name), asked_of())
    (sent,) = services.asked
    first, *urls = sent.fields["messages"][0]["content"]
    assert first == {"type": "text", "text": "which is better?"} and sent.fields["model"] == "seer-1"
    assert [base64.b64decode(url["image_url"]["url"].partition(",")[2]) for url in urls] == list(PNG)
    assert sent.headers["authorization"] == f"Bearer {SECRETS[f'{name.upper()}_API_KEY']}"
    assert b'"followed": 8' in outcome.data and outcome.facts["model_version"] == "seer-1"
    assert outcome.facts["usage"]["promptTokenCount"] == 900 and chat().price.cost(outcome.facts["usage"], 1) == 0.01


def test_gemini_gets_both_pictures_too(services):
    asked = chat("gemini", model="gemini-2.5-flash")
    assert once(asked, asked_of()).kind in ("ok", "no_image")
    parts = services.calls[0].body["contents"][0]["parts"]
    held = [base64.urlsafe_b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part]
    assert held == list(PNG) and services.calls[0].body["generationConfig"]["responseModalities"] == ["TEXT"]


@pytest.mark.parametrize("name", TEXT)
def test_a_model_that_answers_in_words_needs_a_price_of_the_users_own(name):
    with pytest.raises(UserError, match="set price_usd"):
        chat(name, price_usd=None)
    assert "quality" not in options_of(name, as_text=True) and replace(chat(name).terms).concurrency == 4
