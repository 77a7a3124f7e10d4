"""Replies and errors as data: each in its class, whatever its shape."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_models import gemini_server
from image_models.gemini_server import REPLIES, png

from nbhelpers.image_models.gemini.outcomes import from_reply
from nbhelpers.image_models.outcomes import OUTCOMES, REFUSALS, from_status
from nbhelpers.image_models.prices import price_of


def test_thought_part_is_never_taken_for_the_image():
    draft = json.loads(REPLIES["draft and image"][0]("p").body)
    assert from_reply(draft).data == png("p")


def test_every_refusal_and_class_is_described():
    assert set(OUTCOMES) > REFUSALS and {kind for _, kind in REPLIES.values()} < set(OUTCOMES)


@pytest.mark.parametrize("reply", ["[]", "3", '{"candidates": 5}', '{"candidates": [7]}', '{"promptFeedback": 1}'])
def test_reply_of_any_shape_has_a_class(reply):
    assert from_reply(reply).kind in OUTCOMES


def test_retry_after_is_obeyed_in_seconds_and_as_a_date():
    body = json.loads(gemini_server.quota())
    assert from_status(429, body, {"Retry-After": "7"}).wait == 7
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 95 < from_status(503, {}, {"retry-after": later}).wait <= 100
    assert from_status(429, json.loads(gemini_server.quota("33.5s")), {"Retry-After": "7"}).wait == 33.5
    assert from_status(429, body, {"Retry-After": "soon"}).wait is None


LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(float("nan"))
NAMES = [
    *("candidates", "content", "parts", "inlineData", "inline_data", "data", "thought", "text", "finishReason"),
    *("finishMessage", "usageMetadata", "promptTokenCount", "candidatesTokenCount", "totalTokenCount", "modality"),
    *("candidatesTokensDetails", "tokenCount", "promptFeedback", "blockReason", "responseId", "modelVersion"),
    *("error", "code", "message", "status", "details", "violations", "quotaId", "quotaValue", "retryDelay", "metadata"),
]
ANY = st.recursive(
    LEAF | st.sampled_from(["STOP", "PUP_LIMITED_DISABLED", "IMAGE_OTHER", "iVBORw0KGgo="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=20,
)
REPLY = st.dictionaries(st.sampled_from(NAMES), ANY, max_size=6)
SHAPED = st.fixed_dictionaries(
    {
        "candidates": st.lists(
            st.fixed_dictionaries({"content": st.fixed_dictionaries({"parts": st.lists(REPLY)})}) | REPLY
        )
    },
    optional={name: ANY for name in NAMES[1:]},
)


@given(REPLY | SHAPED)
def test_nothing_that_a_reply_may_hold_escapes_or_leaves_what_json_lacks(reply):
    outcome = from_reply(json.dumps(reply))
    assert outcome.kind in OUTCOMES
    json.dumps([outcome.detail, outcome.facts], allow_nan=False)
    assert 0 <= price_of("gemini", "gemini-nano-banana-2.1").cost(outcome.facts.get("usage"), 1) < 50
    assert from_status(429, reply).kind.startswith("quota")


@pytest.mark.parametrize("named", [True, False])
def test_a_broken_picture_beside_a_draft_is_no_reason_to_pay_again(named):
    draft = json.loads(REPLIES["draft alone"][0]("p").body)
    draft["candidates"][0]["content"]["parts"].append({"inlineData": {"data": "@@" if named else "iVBORw0KGgo="}})
    outcome = from_reply(draft)
    assert outcome.kind == "ok" and outcome.data == png("draft of p") and outcome.facts["draft"]
