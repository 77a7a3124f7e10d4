"""OpenAI and Ark through the real SDK: what is sent, and the class of each reply and fault."""

import io

import numpy as np
import pytest
from image_models.services_fixture import SECRETS, once, service
from image_models.services_server import ARK, OPENAI, USAGE, Reply, b64, body, fault, picture, png
from PIL import Image

from nbhelpers.image_models.outcomes import OUTCOMES
from nbhelpers.image_models.purchases import Row

IMAGE, MASK = png("film", 64), png("mask", 64)


def openai(**own):
    return service("openai", model="gpt-image-2", **own)


def ark(**own):
    return service("ark", model="seedream-4-0-250828", **own)


@pytest.mark.parametrize("made", [openai, ark], ids=["openai", "ark"])
@pytest.mark.parametrize(("reply", "kind"), OPENAI.values(), ids=OPENAI)
def test_each_reply_and_fault_is_of_its_class_and_is_asked_once(made, reply, kind, services):
    asked = made()
    services.scripts[asked.name] = lambda call: reply(call.prompt)
    outcome = once(asked)
    assert outcome.kind == kind and kind in OUTCOMES
    assert len(services.asked) == 1, "the SDK tries nothing again"
    assert outcome.fatal is (kind == "quota_day" or (kind == "configuration" and outcome.detail[:3] != "400"))
    assert (outcome.data is not None) == (kind == "ok") or kind == "corrupt"
    if kind in ("quota_minute", "quota_day", "server", "configuration", "prompt_blocked"):
        assert outcome.billed is False


@pytest.mark.parametrize(("reply", "kind"), ARK.values(), ids=ARK)
def test_what_ark_holds_back_is_told_from_what_it_cannot_do(reply, kind, services):
    services.scripts["ark"] = lambda call: reply(call.prompt)
    outcome = once(ark())
    assert outcome.kind == kind and outcome.fatal is (kind == "quota_day")


def test_an_edit_is_sent_to_openai_as_files_with_their_type_and_in_its_own_size(services):
    row = Row("i", "take off the pacemaker", "k", 7, IMAGE, MASK, side=1040)
    assert once(openai(quality="low", input_fidelity="low"), row).kind == "ok"
    (sent,) = services.asked
    assert sent.path == "/openai/v1/images/edits"
    assert sent.headers["authorization"] == "Bearer " + SECRETS["OPENAI_API_KEY"]
    assert sent.files == {"image": ("image.png", "image/png", IMAGE), "mask": ("mask.png", "image/png", MASK)}
    assert sent.fields == {
        **{"model": "gpt-image-2", "prompt": "take off the pacemaker", "n": "1", "size": "1040x1040"},
        **{"quality": "low", "input_fidelity": "low"},
    }
    assert "idempotency-key" not in sent.headers


def test_words_alone_are_drawn(services):
    assert once(openai(), Row("i", "a film", "k", 7)).kind == "ok" and once(ark()).kind == "ok"
    assert [sent.path for sent in services.asked] == ["/openai/v1/images/generations", "/ark/api/v3/images/generations"]
    assert services.asked[0].fields == {"model": "gpt-image-2", "prompt": "a film", "n": 1, "size": "1024x1024"}
    assert "image" not in services.asked[1].fields


def test_an_edit_is_sent_to_ark_as_a_field_without_a_watermark(services, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-another-service")
    assert once(ark(), Row("i", "take it off", "k", 7, IMAGE, MASK, side=2048)).kind == "ok"
    (sent,) = services.asked
    assert sent.path == "/ark/api/v3/images/generations"
    assert sent.headers["authorization"] == "Bearer " + SECRETS["ARK_API_KEY"]
    assert "org-of-another-service" not in str(sent.headers), "what is OpenAI's is told to nobody else"
    assert sent.fields["image"].startswith("data:image/png;base64,") and sent.fields["watermark"] is False
    assert sent.fields["size"] == "2048x2048" and sent.fields["response_format"] == "b64_json"
    assert sent.fields["sequential_image_generation"] == "disabled" and "mask" not in sent.fields


def test_the_cost_is_counted_from_the_usage(services):
    asked = openai(quality="medium")
    outcome = once(asked)
    tokens = 30 * 5e-6 + 1000 * 8e-6 + 433 * 30e-6
    assert asked.price.cost(outcome.facts["usage"], 1) == pytest.approx(tokens)
    for usage in (None, "many", {"input_tokens": float("nan")}, {"output_tokens": -3}, {"output_tokens": 10**12}):
        services.scripts["openai"] = lambda call, usage=usage: Reply(body=picture(call.prompt, usage))
        assert once(asked).facts["usage"]["unknown"] is True, "then it counts at its estimate"
    services.scripts["ark"] = lambda call: Reply(body=picture(call.prompt, {"generated_images": 2}))
    asked = ark()
    assert asked.price.cost(once(asked).facts["usage"], 1) == pytest.approx(0.06), "by what was returned"


def test_more_pictures_than_one_are_kept_and_the_reply_is_named(services):
    two = [{"b64_json": item} for item in (b64(png("a")), b64(png("b")))]
    more = Reply(body=body({"data": two, "usage": USAGE, "model": "gpt-image-2-x"}), headers={"x-request-id": "req_7"})
    services.scripts["openai"] = lambda call: more
    outcome = once(openai())
    assert outcome.data == png("a") and outcome.more == (png("b"),)
    assert outcome.facts["response_id"] == "req_7" and outcome.facts["model_version"] == "gpt-image-2-x"


@pytest.mark.parametrize("how", ["slow", "drip"])
def test_the_deadline_is_that_of_the_whole_request(how, services):
    slow = {"slow": Reply(body=picture("x"), delay=30.0), "drip": Reply(body=picture("x"), fault="drip")}
    services.scripts["openai"] = lambda call: slow[how]
    outcome = once(openai(deadline_s=0.4))
    assert (outcome.kind, outcome.billed) == ("transport", None) and "0.4 s" in outcome.detail


def test_nobody_there_is_no_bill_and_a_wait_is_read_from_the_headers(services, monkeypatch):
    services.scripts["openai"] = lambda call: Reply(429, fault("rate_limit_exceeded"), {"retry-after-ms": "1500"})
    assert once(openai()).wait == 1.5
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    outcome = once(openai())
    assert (outcome.kind, outcome.billed) == ("transport", False)


@pytest.mark.parametrize("made", [openai, ark], ids=["openai", "ark"])
def test_a_key_that_comes_back_is_shown_nowhere(made, services):
    asked = made()
    secret = SECRETS[f"{asked.name.upper()}_API_KEY"]
    services.scripts[asked.name] = lambda call: Reply(401, fault("invalid_api_key", f"Incorrect key: {secret}"))
    outcome = once(asked)
    assert secret[-12:] not in repr(outcome) + str(asked.stop_message(outcome))
    assert "API key is refused" in str(asked.stop_message(outcome))


def test_a_picture_is_what_decodes_and_not_what_it_is_called(services):
    services.scripts["openai"] = lambda call: Reply(body=picture(call.prompt, data=png(call.prompt, kind="WEBP")))
    outcome = once(openai())
    assert outcome.kind == "ok" and Image.open(io.BytesIO(outcome.data)).format == "WEBP"
    assert np.asarray(Image.open(io.BytesIO(outcome.data))).any()
