"""What a request came to, whoever was asked: every reply and every failure in one of a few classes, as data."""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.utils
import importlib
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
