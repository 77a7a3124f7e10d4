"""What a Gemini request came to: its replies and errors put in the classes of `image_models.outcomes`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbhelpers.image_models.outcomes import Outcome, as_list, as_mapping, decoded, line, retry_after
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
    if not isinstance(body, Mapping):
        try:
            body = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            return Outcome("transport", "the reply is not JSON: " + line(body), billed=None)
        if not isinstance(body, Mapping):
            return Outcome("transport", "the reply is not JSON object", billed=None)
    if body.get("error"):
        error = as_mapping(body["error"])
        code = error.get("code")
        return from_status(code if isinstance(code, int) and 400 <= code < 600 else 500, body)
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


def from_status(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Outcome:
    """Class of an HTTP error (or of an error object within a reply), from its status, body and headers."""
    error = as_mapping(as_mapping(body).get("error")) or as_mapping(body)
    message = str(error.get("message") or body or "")
    details = [entry for entry in as_list(error.get("details")) if isinstance(entry, Mapping)]
    name = str(error.get("status") or "")
    said = line(f"{status} {name} {message}")
    wait = _retry_info(details, headers or {})
    if status == 429:
        if _is_hopeless(details, message):
            return Outcome("quota_day", said, billed=False, fatal=True)
        return Outcome("quota_minute", said, wait=wait, billed=False)
    if status in (408, 499) or status >= 500:
        return Outcome("server", said, wait=wait, billed=False)
    # A 400 may be this prompt's own fault; the rest is the key's, the project's or the model's, and so everybody's.
    reasons = {str(entry.get("reason")) for entry in details}
    own = status in (400, 413, 422) and name not in ("FAILED_PRECONDITION", "UNAUTHENTICATED")
    own = own and not any(reason.startswith(("API_KEY", "SERVICE_DISABLED", "BILLING")) for reason in reasons)
    own = own and "api key" not in message.lower()
    return Outcome("configuration", said, billed=False, fatal=not own)


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


def _is_hopeless(details: list[Mapping[str, Any]], message: str) -> bool:
    """Whether a 429 is one that no wait of minutes heals: the day's quota, or a quota of zero."""
    for detail in details:
        for violation in as_list(detail.get("violations")):
            quota = as_mapping(violation)
            if "PerDay" in str(quota.get("quotaId")) or _zero(quota.get("quotaValue")):
                return True
        if _zero(as_mapping(detail.get("metadata")).get("quota_limit_value")):
            return True
    return bool(re.search(r"limit: 0\b", message))


def _zero(value: object) -> bool:
    return value is not None and str(value).strip() in ("0", "0.0")


def _retry_info(details: list[Mapping[str, Any]], headers: Mapping[str, str]) -> float | None:
    for detail in details:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)s\s*", str(detail.get("retryDelay", "")))
        if match:
            return float(match.group(1))
    return retry_after(headers)


def _name(value: object) -> str | None:
    return None if value is None else line(value, 200)
