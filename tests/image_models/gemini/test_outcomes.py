"""Replies and errors as data: each in its class, whatever its shape."""

import json
import time

import pytest
from image_models import gemini_server
from image_models.gemini_server import REPLIES, png

from nbhelpers.image_models.gemini.outcomes import OUTCOMES, REFUSALS, from_reply, from_status


def test_thought_part_is_never_taken_for_the_image():
    draft = json.loads(REPLIES["draft and image"][0]("p").body)
    assert from_reply(draft).data == png("p")


def test_a_draft_alone_is_no_answer_but_is_kept_the_last_that_decodes():
    draft = json.loads(REPLIES["draft alone"][0]("p").body)
    parts = draft["candidates"][0]["content"]["parts"]
    parts.append({"thought": True, "inlineData": {"mimeType": "image/png", "data": "AAAA"}})
    outcome = from_reply(draft)
    assert outcome.kind == "no_image" and outcome.data == png("draft of p")


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
