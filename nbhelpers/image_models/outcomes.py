"""What a request came to, whoever was asked: every reply and every failure in one of a few classes, as data."""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.utils
import importlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.redaction import clean, redact
from nbhelpers.images.files import decode, sniff_format

OUTCOMES = {
    "ok": "an image was received",
    "prompt_blocked": "the prompt was refused",
    "image_blocked": "the image was withheld (safety, recitation)",
    "no_image": "a reply without an image",
    "text_only": "a reply of text alone",
    "corrupt": "an image that cannot be decoded",
    "quota_minute": "too many requests for now",
    "quota_day": "the day's quota or the account's credit is used up, or is zero",
    "server": "the server failed",
    "transport": "no complete reply (network, deadline)",
    "configuration": "key, model or request is wrong",
    "unknown": "this process ended before the reply",
}
# Asking again may bring an image, and each try may be billed: so they are counted and bounded, over all runs.
REFUSALS = frozenset({"prompt_blocked", "image_blocked", "no_image", "text_only", "corrupt"})
# The fault is not the prompt's: asked again after a wait.
TRANSIENT = frozenset({"quota_minute", "server", "transport"})
# By the codes that services give; whether an answer or a prompt was held back is told where it is known.
_BLOCKED = re.compile(r"moderation|sensitive|content_policy|content_filter|safety|copyright", re.IGNORECASE)
_NO_CREDIT = re.compile(r"insufficient_quota|billing|overdue|insufficient.?(credit|balance)|credits", re.IGNORECASE)


def _exceptions(*names: str) -> tuple[type[BaseException], ...]:
    """Those of the named exception types (`module.Name`) whose HTTP library is installed: the SDK may use any."""
    found: list[type[BaseException]] = []
    for name in names:
        module, _, attribute = name.partition(".")
        with contextlib.suppress(ImportError):
            found.append(getattr(importlib.import_module(module), attribute))
    return tuple(found)


FAILED: tuple[type[BaseException], ...] = (
    OSError,
    *_exceptions("httpx2.HTTPError", "httpx.HTTPError", "aiohttp.ClientError"),
)
UNSENT = _exceptions(
    *("httpx2.ConnectError", "httpx2.ConnectTimeout", "httpx2.PoolTimeout", "httpx2.ProxyError"),
    *("httpx.ConnectError", "httpx.ConnectTimeout", "httpx.PoolTimeout", "httpx.ProxyError"),
    *("aiohttp.ClientConnectorError", "aiohttp.ClientHttpProxyError"),
)
UNUSABLE = _exceptions(
    *("httpx2.InvalidURL", "httpx2.UnsupportedProtocol", "httpx2.LocalProtocolError"),
    *("httpx.InvalidURL", "httpx.UnsupportedProtocol", "httpx.LocalProtocolError", "aiohttp.InvalidURL"),
)


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


def from_network(error: Exception, late: str = "no whole reply in time") -> Outcome:
    """Class of what an HTTP library raised; what is no failure of the network is raised again."""
    said = line(f"{type(error).__name__}: {error}", 400)
    if isinstance(error, UNUSABLE):
        return Outcome("configuration", f"the endpoint cannot be used: {said}", billed=False, fatal=True)
    if isinstance(error, UNSENT):
        return Outcome("transport", f"not connected: {said}", billed=False)
    if isinstance(error, TimeoutError):
        return Outcome("transport", late, billed=None)
    if isinstance(error, FAILED):
        # The request went out: whether it was carried out, and billed, nobody here can know.
        return Outcome("transport", said, billed=None)
    raise error


def from_status(status: int, body: object, headers: Mapping[str, str] | None = None) -> Outcome:
    """Class of an HTTP error (or of an error object within a reply), from its status, body and headers.

    Google's services name a status and give details, the others a code or a type.
    """
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            body = {"message": body}
    told = as_mapping(body)
    error = as_mapping(told.get("error")) or told
    details = [entry for entry in as_list(error.get("details")) if isinstance(entry, Mapping)]
    name = next((one for one in map(error.get, ("status", "code", "type")) if isinstance(one, str) and one), "")
    message = str(error.get("message") or error.get("detail") or (error.get("error") if error else body) or "")
    said, wait = line(f"{status} {name} {message}"), _retry_info(details, headers or {})
    if status == 402 or (status in (400, 403, 429) and _NO_CREDIT.search(name)):
        return Outcome("quota_day", said, billed=False, fatal=True)
    if status == 429:
        hopeless = _is_hopeless(details, message)
        return Outcome("quota_day" if hopeless else "quota_minute", said, wait=wait, billed=False, fatal=hopeless)
    if status in (408, 409, 425, 499) or status >= 500:
        return Outcome("server", said, wait=wait, billed=False)
    if _BLOCKED.search(name):
        return Outcome("image_blocked" if "output" in name.lower() else "prompt_blocked", said, billed=False)
    # A 400 may be this prompt's own fault; the rest is the key's, the project's or the model's, and so everybody's.
    reasons = {str(entry.get("reason")) for entry in details}
    own = status in (400, 413, 422) and name not in ("FAILED_PRECONDITION", "UNAUTHENTICATED")
    own = own and not any(reason.startswith(("API_KEY", "SERVICE_DISABLED", "BILLING")) for reason in reasons)
    return Outcome("configuration", said, billed=False, fatal=not (own and "api key" not in message.lower()))


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


def body_of(data: str | bytes) -> Mapping[str, Any] | Outcome:
    """The JSON object that a reply with status 200 holds, or the outcome of what is none, or holds an error."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return Outcome("transport", "the reply is not JSON: " + line(data), billed=None)
    if not isinstance(body, Mapping):
        return Outcome("transport", "the reply is not a JSON object", billed=None)
    return error_in(body) or body


def error_in(body: Mapping[str, Any]) -> Outcome | None:
    """The outcome of an error object within a reply; None where there is none."""
    if not body.get("error"):
        return None
    code = as_mapping(body["error"]).get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return from_status(code, body)
    # The service's fault, unless its code says more.
    told = from_status(400, {"error": {"code": code}})
    return from_status(500 if told.kind == "configuration" else 400, body)


def decoded(encoded: Iterable[object]) -> tuple[list[bytes], list[tuple[str, bytes | None]]]:
    """Images in base64 that decode completely, and of the others what is wrong and what their base64 held."""
    good: list[bytes] = []
    broken: list[tuple[str, bytes | None]] = []
    for text in encoded:
        data: bytes | None = None
        try:
            data = _bytes(text)
            if sniff_format(data) is None:
                raise UserError("the image format is unknown")
            decode(data)
            good.append(data)
        except UserError as error:
            broken.append((error.what, data))
    return good, broken


def _bytes(encoded: object) -> bytes:
    try:
        # Both alphabets of base64 are in use, with and without padding; any other sign is damage.
        text = str(encoded).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the image is not base64: {error}") from None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply's headers ask to wait; None where they ask for nothing."""
    told = {str(name).lower(): str(text) for name, text in headers.items()}
    with contextlib.suppress(KeyError, ValueError):
        return max(float(told["retry-after-ms"]) / 1000, 0.0)
    value = told.get("retry-after")
    if value is None:
        return None
    with contextlib.suppress(ValueError):
        return max(float(value), 0.0)
    with contextlib.suppress(ValueError):
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    return None


def line(text: object, limit: int = 300) -> str:
    """What came from outside as one line of at most `limit` characters, without any key."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # The key goes before the last cut: fewer than eight letters of it, left by the limit, would not be found.
    said = " ".join(redact(str(text)[: 64 * limit]).split())
    return said if len(said) <= limit else said[: limit - 1] + "…"


def as_mapping(value: object) -> Mapping[str, Any]:
    """`value`, or an empty mapping where it is none."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """`value`, or an empty list where it is none."""
    return value if isinstance(value, list) else []
