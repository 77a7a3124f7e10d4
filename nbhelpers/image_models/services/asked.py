"""What services asked over HTTP have in common: statuses as outcomes, the one error that stops a run, prices."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import SERVICES, api_key, endpoint
from nbhelpers.image_models.outcomes import Outcome, as_mapping, line, retry_after
from nbhelpers.image_models.prices import Price
from nbhelpers.image_models.purchases import Terms
from nbhelpers.images.files import decode, sniff_format
from nbhelpers.runs.parameters import read_yaml, suggest

PRICES = Path(__file__).with_name("prices.yaml")
# By the codes that services give; whether an answer or a prompt was held back is told where it is known.
_BLOCKED = re.compile(r"moderation|sensitive|content_policy|content_filter|safety|copyright", re.IGNORECASE)
_NO_CREDIT = re.compile(r"insufficient_quota|billing|overdue|insufficient.?(credit|balance)|credits", re.IGNORECASE)


@dataclass
class HttpService:
    """The common part of a service: `options` are its own settings, over the defaults of `OPTIONS`."""

    model: str
    price: Price
    terms: Terms
    options: Mapping[str, Any] = field(default_factory=dict)

    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {}  # name: type and default
    name: ClassVar[str] = ""  # of `access.SERVICES`
    masks: ClassVar[bool] = False  # whether a mask can be sent
    sized: ClassVar[bool] = True  # whether an edit's size can be asked for

    def __post_init__(self) -> None:
        self.listed = listed_of(self.name, self.model)

    def side(self, wanted: int) -> int:
        """Pixels of the square that can be asked for, where `wanted` are wanted."""
        sides = self.listed.get("sides")
        return min(sides, key=lambda one: abs(one - wanted)) if sides else max(wanted, self.listed.get("least_side", 0))

    def check(self) -> None:
        """A `UserError` without a key or a usable endpoint; the model is known to be gone when it is asked."""
        api_key(self.name)
        endpoint(self.name)

    def stop_message(self, outcome: Outcome) -> UserError:
        """The one error that a user sees when no request can succeed."""
        detail, access = outcome.detail, SERVICES[self.name]
        if detail.startswith("the endpoint"):
            return UserError(detail, access.endpoint, "give a whole URL, such as https://example.org")
        if detail.startswith(("404", "410")):
            what = f"model {self.model!r} is withdrawn, closed to this key, or unknown: {detail}"
            return UserError(what, self.name, "check the id of the model, and that of the endpoint's region")
        if detail.startswith("401"):
            return UserError(f"the API key is refused: {detail}", "environment", f"check {access.keys[-1]}")
        if detail.startswith("403"):
            do = f"check the account behind {access.keys[-1]}: some models want a verified organisation"
            return UserError(f"not open to this key: {detail}", self.name, do)
        return UserError(f"the request is refused: {detail}", f"{self.name}, {self.model}", "correct the settings")


def from_status(status: int, body: object, headers: Mapping[str, str] | None = None) -> Outcome:
    """Class of an HTTP error (or of an error object within a reply), from its status, body and headers."""
    if isinstance(body, (str, bytes)):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            body = {"message": body}
    told = as_mapping(body)
    error = as_mapping(told.get("error")) or told
    code = str(error.get("code") or error.get("type") or "")
    message = error.get("message") or error.get("detail") or (error.get("error") if error else body) or ""
    said = line(f"{status} {code} {message}")
    wait = retry_after(headers or {})
    if status == 402 or (status in (400, 403, 429) and _NO_CREDIT.search(code)):
        return Outcome("quota_day", said, billed=False, fatal=True)
    if status < 500 and _BLOCKED.search(code):
        return Outcome("image_blocked" if "output" in code.lower() else "prompt_blocked", said, billed=False)
    if status == 429:
        return Outcome("quota_minute", said, wait=wait, billed=False)
    if status in (408, 409, 425, 499) or status >= 500:
        return Outcome("server", said, wait=wait, billed=False)
    return Outcome("configuration", said, billed=False, fatal=status not in (400, 413, 422))


def from_bytes(data: bytes, facts: Mapping[str, Any]) -> Outcome:
    """The outcome of a picture that came as bytes: `ok` where it can be decoded, else `corrupt`."""
    try:
        if sniff_format(data) is None:
            raise UserError("the image format is unknown")
        decode(data)
    except UserError as error:
        return Outcome("corrupt", error.what, data, facts=dict(facts))
    return Outcome("ok", "", data, facts=dict(facts))


def listed_of(service: str, model: str, path: Path = PRICES) -> dict[str, Any]:
    """What the list knows of a model; empty where it does not know it."""
    known: dict[str, Any] = read_yaml(path)["models"].get(service, {})
    return dict(known.get(model.removeprefix("doubao-"), {}))


def price_of(
    service: str, model: str, own_usd: float | None = None, quality: str | None = None, path: Path = PRICES
) -> Price:
    """Price of an image of `model`; the user's own (`own_usd`) goes before the list, as it is.

    A `UserError` where neither knows one: what costs an unknown sum is not bought.
    """
    listed, prices = listed_of(service, model, path), read_yaml(path)
    if own_usd is None and not listed:
        near = suggest(model, prices["models"].get(service, {}))
        do = f"{near}; or set price_usd to the price of one image"
        raise UserError(f"no price is known for model {model!r}", str(path), do)
    rates = {kind: float(usd) / 1e6 for kind, usd in listed.get("rates", {}).items()}
    if own_usd is not None:
        return Price(own_usd)
    tokens = listed.get("tokens", {})
    if quality is not None and tokens and quality not in tokens:
        what = f"no price is known for quality {quality!r} of model {model!r}"
        raise UserError(what, str(path), f"{suggest(quality, tokens)}; or set price_usd to the price of one image")
    # Without a quality the service chooses: what is set aside is the dearest.
    count = (tokens.get(quality) if quality else max(tokens.values())) if tokens else None
    usd = float(listed["usd"]) if count is None else count * rates["image"]
    aside, by_area = float(listed.get("aside", 0.0)), bool(listed.get("by_area", tokens))
    return Price(usd, count, rates, date=str(prices["date"]), aside=aside, by_area=by_area)


def standing(service: str, model: str, path: Path = PRICES) -> str:
    """One line on a model that the list knows to end; else empty."""
    ends = listed_of(service, model, path).get("ends")
    return f"{model} ends on {ends} (list of {read_yaml(path)['date']})" if ends else ""
