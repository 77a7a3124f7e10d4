"""What a Gemini request came to: every reply and every error put in one of a few classes, as data."""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.utils
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.redaction import clean, redact
from nbhelpers.images.files import decode, sniff_format

OUTCOMES = {
    "ok": "an image arrived",
    "prompt_blocked": "the prompt was refused",
    "image_blocked": "the image was held back (safety, recitation)",
    "no_image": "a reply without an image",
    "text_only": "a reply of text alone",
    "corrupt": "an image that cannot be decoded",
    "quota_minute": "too many requests for now",
    "quota_day": "the day's quota is used up, or is zero",
    "server": "the server failed",
    "transport": "no whole reply came (network, deadline)",
    "configuration": "key, model or request is wrong",
    "unknown": "this process ended before the reply",
}
# Asking again may bring an image, and each try may be billed: so they are counted and bounded, over all runs.
REFUSALS = frozenset({"prompt_blocked", "image_blocked", "no_image", "text_only", "corrupt"})
# The fault is not the prompt's: asked again after a wait.
TRANSIENT = frozenset({"quota_minute", "server", "transport"})

_BLOCKED = {"SAFETY", "IMAGE_SAFETY", "RECITATION", "IMAGE_RECITATION", "PROHIBITED_CONTENT"}
_BLOCKED |= {"IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "ESCALATION", "MODEL_ARMOR"}
# The account is limited or disabled for what it asked for: nothing else of it will be drawn.
_CLOSED = "PUP_LIMITED_DISABLED"
# What a usage counts, and the most tokens of it that a reply can have; anything else is no count.
_COUNTS = {"promptTokenCount": 2**21, "toolUsePromptTokenCount": 2**21, "totalTokenCount": 2**22}
_COUNTS |= {"candidatesTokenCount": 2**18, "thoughtsTokenCount": 2**18}


@dataclass(frozen=True)
class Outcome:
    """What one request came to; `facts` are the reply's `response_id, model_version, finish_reason, usage, draft`.

    What is said here came from outside: no key of the environment is left in it, whoever makes the outcome.
    """

    kind: str  # a key of `OUTCOMES`
    detail: str = ""  # what the service said, in a line
    data: bytes | None = None  # the image as it came; of a `corrupt` one what its base64 held, if that could be read
    more: tuple[bytes, ...] = ()  # further images of the same reply, as they came
    wait: float | None = None  # seconds that the service asks to wait
    billed: bool | None = True  # by its usage (True), nothing (False), or not known (None): then at the estimate
    fatal: bool = False  # no other request can do better, so that the run stops
    facts: dict[str, Any] = field(default_factory=dict)
    image: dict[str, Any] = field(default_factory=dict)  # `originals.describe`, once the image is kept

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redact(self.detail))
        object.__setattr__(self, "facts", clean(self.facts))


def from_reply(body: str | bytes | Mapping[str, Any]) -> Outcome:
    """Class of a reply with HTTP status 200, from its JSON text or object.

    Success is an image that decodes completely; status and finish reason are not enough. A draft (`thought`) counts
    only where no other picture can be decoded: then the last one is taken, and `facts` has `draft`.
    """
    if not isinstance(body, Mapping):
        try:
            body = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            return Outcome("transport", "the reply is no JSON: " + _line(body), billed=None)
        if not isinstance(body, Mapping):
            return Outcome("transport", "the reply is no JSON object", billed=None)
    if body.get("error"):
        error = _mapping(body["error"])
        code = error.get("code")
        return from_status(code if isinstance(code, int) and 400 <= code < 600 else 500, body)
    candidates = [entry for entry in _list(body.get("candidates")) if isinstance(entry, Mapping)]
    reasons = [str(entry["finishReason"]) for entry in candidates if entry.get("finishReason")]
    facts = {
        "response_id": _name(body.get("responseId")),
        "model_version": _name(body.get("modelVersion")),
        "finish_reason": _name(reasons[0] if reasons else None),
        "usage": usage_of(body.get("usageMetadata")),
    }
    messages = "; ".join(str(entry["finishMessage"]) for entry in candidates if entry.get("finishMessage"))
    reason = ", ".join(reasons) + (f": {messages}" if messages else "")
    good, broken = _decoded(_images(_parts(candidates)))
    if good:
        return Outcome("ok", _line(reason), good[0], tuple(good[1:]), facts=facts)
    drafts, _ = _decoded(_images(_parts(candidates, drafts=True)))
    if drafts:
        spare = tuple(data for _, data in broken if data)
        said = f"only a draft came, which is kept; {reason}"
        return Outcome("ok", _line(said), drafts[-1], spare, facts=facts | {"draft": True})
    if _CLOSED in reasons:
        said = f"{_CLOSED}: the account is limited or disabled under Google's Prohibited Use Policy {messages}"
        return Outcome("configuration", _line(said), fatal=True, facts=facts)
    if broken:
        return Outcome("corrupt", _line(broken[0][0]), broken[0][1], facts=facts)
    feedback = _mapping(body.get("promptFeedback"))
    if feedback.get("blockReason"):
        detail = f"{feedback['blockReason']} {feedback.get('blockReasonMessage') or ''}"
        return Outcome("prompt_blocked", _line(detail), facts=facts)
    if _BLOCKED & set(reasons):
        return Outcome("image_blocked", _line(reason), facts=facts)
    text = " ".join(str(part["text"]) for part in _parts(candidates) if part.get("text"))
    if text:
        return Outcome("text_only", _line(text), facts=facts)
    return Outcome("no_image", _line(reason) or "empty reply", facts=facts)


def text_of(body: str | bytes) -> str:
    """All text of a reply with status 200, thoughts left out."""
    candidates = [entry for entry in _list(json.loads(body).get("candidates")) if isinstance(entry, Mapping)]
    return "".join(str(part["text"]) for part in _parts(candidates) if part.get("text"))


def usage_of(told: object) -> dict[str, Any]:
    """The token counts of a reply's `usageMetadata`, as far as they can be counted.

    `text` are the output tokens that are words, where the reply splits them. `unknown` is set when a count is none: not
    a whole number from zero to what a reply can have; then nothing of it is to be relied on.
    """
    usage: dict[str, Any] = {}
    if told is not None and not isinstance(told, Mapping):
        return {"unknown": True}
    told = _mapping(told)
    for name, most in _COUNTS.items():
        if told.get(name) is None:
            continue
        count = _count(told[name], most)
        usage |= {"unknown": True} if count is None else {name: count}
    for split in _list(told.get("candidatesTokensDetails")):
        part = _mapping(split)
        count = _count(part.get("tokenCount", 0), _COUNTS["candidatesTokenCount"])
        if count is None:
            usage["unknown"] = True
        elif part.get("modality") == "TEXT":
            usage["text"] = usage.get("text", 0) + count
    parts = sum(usage.get(name, 0) for name in _COUNTS if name != "totalTokenCount")
    if usage.get("totalTokenCount", 0) - parts > _COUNTS["thoughtsTokenCount"]:
        usage["unknown"] = True
    return usage


def _count(value: object, most: int) -> int | None:
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
    return int(value) if whole and value == int(value) else None  # type: ignore[call-overload]


def from_status(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Outcome:
    """Class of an HTTP error (or of an error object within a reply), from its status, body and headers."""
    error = _mapping(_mapping(body).get("error")) or _mapping(body)
    message = str(error.get("message") or body or "")
    details = [entry for entry in _list(error.get("details")) if isinstance(entry, Mapping)]
    name = str(error.get("status") or "")
    said = _line(f"{status} {name} {message}")
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


def _bytes(encoded: object) -> bytes:
    try:
        # Both alphabets of base64 are in use, with and without padding; any other sign is damage.
        text = str(encoded).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the image is no base64: {error}") from None


def _parts(candidates: list[Any], drafts: bool = False) -> Iterator[Mapping[str, Any]]:
    for candidate in candidates:
        for part in _list(_mapping(candidate.get("content")).get("parts")):
            if isinstance(part, Mapping) and bool(part.get("thought")) == drafts:
                yield part


def _decoded(encoded: Iterator[object]) -> tuple[list[bytes], list[tuple[str, bytes | None]]]:
    """Images that decode completely, and of the others what is wrong and what their base64 held."""
    good: list[bytes] = []
    broken: list[tuple[str, bytes | None]] = []
    for text in encoded:
        data: bytes | None = None
        try:
            data = _bytes(text)
            if sniff_format(data) is None:
                raise UserError("the image is of no known format")
            decode(data)
            good.append(data)
        except UserError as error:
            broken.append((error.what, data))
    return good, broken


def _images(parts: Iterator[Mapping[str, Any]]) -> Iterator[object]:
    for part in parts:
        inline = _mapping(part.get("inlineData") or part.get("inline_data"))
        if inline.get("data") is not None:
            yield inline["data"]


def _is_hopeless(details: list[Mapping[str, Any]], message: str) -> bool:
    """Whether a 429 is one that no wait of minutes heals: the day's quota, or a quota of zero."""
    for detail in details:
        for violation in _list(detail.get("violations")):
            quota = _mapping(violation)
            if "PerDay" in str(quota.get("quotaId")) or _zero(quota.get("quotaValue")):
                return True
        if _zero(_mapping(detail.get("metadata")).get("quota_limit_value")):
            return True
    return bool(re.search(r"limit: 0\b", message))


def _zero(value: object) -> bool:
    return value is not None and str(value).strip() in ("0", "0.0")


def _retry_info(details: list[Mapping[str, Any]], headers: Mapping[str, str]) -> float | None:
    for detail in details:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)s\s*", str(detail.get("retryDelay", "")))
        if match:
            return float(match.group(1))
    value = {str(name).lower(): str(text) for name, text in headers.items()}.get("retry-after")
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return max(float(value), 0.0)
    with contextlib.suppress(ValueError):
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    return None


def _name(value: object) -> str | None:
    return None if value is None else _line(value, 200)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _line(text: object, limit: int = 300) -> str:
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # The key goes before the last cut: fewer than eight letters of it, left by the limit, would not be found.
    line = " ".join(redact(str(text)[: 64 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
