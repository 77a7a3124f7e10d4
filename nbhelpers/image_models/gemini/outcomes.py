"""What a Gemini reply is: put in the classes of `image_models.outcomes`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nbhelpers.image_models.outcomes import Outcome, as_list, as_mapping, body_of, decoded, error_in, line
from nbhelpers.image_models.prices import usage_of

_BLOCKED = {"SAFETY", "IMAGE_SAFETY", "RECITATION", "IMAGE_RECITATION", "PROHIBITED_CONTENT"}
_BLOCKED |= {"IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "ESCALATION", "MODEL_ARMOR"}
# The account is limited or disabled for what it asked for: nothing else of it will be drawn.
_CLOSED = "PUP_LIMITED_DISABLED"


def from_reply(body: str | bytes | Mapping[str, Any]) -> Outcome:
    """Class of a reply with HTTP status 200, from its JSON text or object.

    Success is an image that decodes completely; status and finish reason are not enough. A draft (`thought`) counts
    only where no other picture can be decoded: then the last one is taken, and `facts` has `draft`.
    """
    found = error_in(body) or body if isinstance(body, Mapping) else body_of(body or "{}")
    if isinstance(found, Outcome):
        return found
    body = found
    candidates = [entry for entry in as_list(body.get("candidates")) if isinstance(entry, Mapping)]
    reasons = [str(entry["finishReason"]) for entry in candidates if entry.get("finishReason")]
    facts = {
        "response_id": _name(body.get("responseId")),
        "model_version": _name(body.get("modelVersion")),
        "finish_reason": _name(reasons[0] if reasons else None),
        "usage": usage_of(body.get("usageMetadata")),
    }
    messages = "; ".join(str(entry["finishMessage"]) for entry in candidates if entry.get("finishMessage"))
    reason = ", ".join(reasons) + (f": {messages}" if messages else "")
    good, broken = decoded(_images(_parts(candidates)))
    if good:
        return Outcome("ok", line(reason), good[0], tuple(good[1:]), facts=facts)
    drafts, _ = decoded(_images(_parts(candidates, drafts=True)))
    if drafts:
        spare = tuple(data for _, data in broken if data)
        said = f"only a draft was received, which is kept; {reason}"
        return Outcome("ok", line(said), drafts[-1], spare, facts=facts | {"draft": True})
    if _CLOSED in reasons:
        said = f"{_CLOSED}: the account is limited or disabled under Google's Prohibited Use Policy {messages}"
        return Outcome("configuration", line(said), fatal=True, facts=facts)
    if broken:
        return Outcome("corrupt", line(broken[0][0]), broken[0][1], facts=facts)
    feedback = as_mapping(body.get("promptFeedback"))
    if feedback.get("blockReason"):
        detail = f"{feedback['blockReason']} {feedback.get('blockReasonMessage') or ''}"
        return Outcome("prompt_blocked", line(detail), facts=facts)
    if _BLOCKED & set(reasons):
        return Outcome("image_blocked", line(reason), facts=facts)
    text = " ".join(str(part["text"]) for part in _parts(candidates) if part.get("text"))
    if text:
        return Outcome("text_only", line(text), facts=facts)
    return Outcome("no_image", line(reason) or "empty reply", facts=facts)


def text_of(body: str | bytes) -> str:
    """All text of a reply with status 200, thoughts left out."""
    candidates = [entry for entry in as_list(json.loads(body).get("candidates")) if isinstance(entry, Mapping)]
    return "".join(str(part["text"]) for part in _parts(candidates) if part.get("text"))


def _parts(candidates: list[Any], drafts: bool = False) -> Iterator[Mapping[str, Any]]:
    for candidate in candidates:
        for part in as_list(as_mapping(candidate.get("content")).get("parts")):
            if isinstance(part, Mapping) and bool(part.get("thought")) == drafts:
                yield part


def _images(parts: Iterator[Mapping[str, Any]]) -> Iterator[object]:
    for part in parts:
        inline = as_mapping(part.get("inlineData") or part.get("inline_data"))
        if inline.get("data") is not None:
            yield inline["data"]


def _name(value: object) -> str | None:
    return None if value is None else line(value, 200)
