"""Black Forest Labs' FLUX models by plain HTTP: a request, a wait at the address that it is given, and the picture."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

import httpx2

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import api_key, endpoint
from nbhelpers.image_models.online import Service
from nbhelpers.image_models.outcomes import Outcome, as_mapping, from_network, from_status, line
from nbhelpers.image_models.purchases import Row
from nbhelpers.images.files import decode

DOMAIN = "bfl.ai"  # whose hosts may be told the key, where the endpoint is one of them
POLL_S, LONGEST_POLL_S = 0.5, 4.0  # between two looks, at first and at most
MOST_BYTES = 2**26  # of a picture
ADDRESSES = 3  # pictures' addresses that are tried: each dies after ten minutes


class BflService(Service):
    """One FLUX model. Its size follows the picture that it is given."""

    name = "bfl"
    sized = False
    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {"safety_tolerance": (int | None, None)}

    async def open(self) -> None:
        """Make the client; it follows no redirect, and holds no key."""
        self._client = httpx2.AsyncClient(timeout=self.terms.deadline_s, follow_redirects=False)
        self._key = {"x-key": api_key(self.name)}
        self._base = endpoint(self.name)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, row: Row) -> tuple[bytes, dict[str, Any]] | Outcome:
        """The picture's bytes and what was told of it, or the outcome of what was none; one deadline for the whole."""
        late = f"not ready within {self.terms.deadline_s:g} s"
        try:
            async with asyncio.timeout(self.terms.deadline_s):
                made = await self._client.post(f"{self._base}/v1/{self.model}", headers=self._key, json=self._body(row))
                if made.status_code != 200:
                    return from_status(made.status_code, made.content, made.headers)
                return await self._result(_json(made))
        except Exception as error:
            return from_network(error, late)

    def _body(self, row: Row) -> dict[str, Any]:
        own: dict[str, Any] = {"prompt": row.prompt, "seed": row.seed % 2**31, "output_format": "png"}
        own |= {name: value for name, value in self.options.items() if value is not None}
        kontext = "kontext" in self.model
        own |= {"aspect_ratio": "1:1"} if kontext else {}
        if row.image is not None:
            return own | {"input_image": base64.b64encode(row.image).decode()}
        return own if kontext else own | {"width": row.side, "height": row.side}

    async def _result(self, made: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]] | Outcome:
        """Wait until the request is done, and fetch its picture.

        It is paid: looking is tried again until the deadline, and where no look brings a picture that counts as a
        refusal does, bounded over all runs, since another request would be paid too.
        """
        address, usd = str(made.get("polling_url") or ""), _dollars(made.get("cost"))
        facts = {"response_id": line(made.get("id") or "", 200), "usage": {} if usd is None else {"usd": usd}}
        billed = None if usd is None else True
        if not address:
            return Outcome("transport", "no polling_url: " + line(dict(made)), billed=None)
        if not self._may_know_the_key(urlsplit(address)):
            said = f"the endpoint is answered from elsewhere: {line(urlsplit(address).netloc, 100)} is told no key"
            return Outcome("configuration", said, billed=None, fatal=True, facts=facts)
        pause, gone = POLL_S, 0
        while True:
            reply = await self._get(address, self._key)
            told = _json(reply) if reply is not None and reply.status_code in (200, 404) else {}
            if reply is not None and reply.status_code in (401, 402, 403):
                kept_back = from_status(reply.status_code, reply.content)
                return Outcome("configuration", kept_back.detail, billed=billed, fatal=True, facts=facts)
            state = str(told.get("status") or "").lower()
            if state == "ready":
                sample = str(as_mapping(told.get("result")).get("sample") or "")
                found = await self._sample(sample)
                if isinstance(found, bytes):
                    return found, facts
                gone += 1
                if gone >= ADDRESSES:
                    return Outcome("no_image", f"no picture at its address: {found}", billed=billed, facts=facts)
            elif "moderated" in state:
                kind = "prompt_blocked" if "request" in state else "image_blocked"
                return Outcome(kind, line(told.get("details") or told["status"]), billed=billed, facts=facts)
            elif state in ("error", "failed") or "not found" in state:
                return Outcome("no_image", line(dict(told)), billed=billed, facts=facts)
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_POLL_S)

    def _may_know_the_key(self, address: SplitResult) -> bool:
        """Whether an address is the API's own host, or one of the same domain, by the same scheme and port."""
        own, host = urlsplit(self._base), address.hostname or ""
        try:
            alike = address.scheme == own.scheme and address.port == own.port and address.username is None
        except ValueError:
            return False
        family = (own.hostname or "").endswith(f".{DOMAIN}") and host.endswith(f".{DOMAIN}")
        return alike and (host == own.hostname or family)

    async def _get(self, address: str, headers: Mapping[str, str]) -> httpx2.Response | None:
        """A reply that says something, or None: of a service that fails or is busy, or of a network that does."""
        try:
            reply = await self._client.get(address, headers=headers)
        except httpx2.HTTPError:
            return None
        return None if reply.status_code in (408, 429) or reply.status_code >= 500 else reply

    async def _sample(self, address: str) -> bytes | str:
        """The picture at an address that is told no key, or why there is none."""
        parts = urlsplit(address)
        if parts.scheme != "https" and parts.netloc != urlsplit(self._base).netloc:
            return "it is neither encrypted nor the service's own"
        data = bytearray()
        try:
            async with self._client.stream("GET", address) as reply:
                if reply.status_code != 200:
                    return f"status {reply.status_code}"
                async for part in reply.aiter_bytes():
                    data += part
                    if len(data) > MOST_BYTES:
                        return f"more than {MOST_BYTES} bytes"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return type(error).__name__
        return bytes(data)

    def read(self, answer: tuple[bytes, dict[str, Any]]) -> Outcome:
        """Outcome of a picture's bytes: `ok` where they can be decoded, else `corrupt`."""
        data, facts = answer
        try:
            decode(data)
        except UserError as error:
            return Outcome("corrupt", error.what, data, facts=facts)
        return Outcome("ok", "", data, facts=facts)


def _json(reply: httpx2.Response) -> Mapping[str, Any]:
    try:
        return as_mapping(json.loads(reply.content))
    except (ValueError, RecursionError):
        return {}


def _dollars(credits: object) -> float | None:
    """US dollars of what is told in credits of a cent; None where it is no number from zero up."""
    if isinstance(credits, bool) or not isinstance(credits, (int, float)):
        return None
    return credits / 100 if math.isfinite(credits) and 0 <= credits < 1e6 else None
