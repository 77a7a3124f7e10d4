"""Gemini as a service that is bought from: `image_models.online.Service`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from google import genai

from nbhelpers.image_models.gemini import client
from nbhelpers.image_models.gemini.client import SIZES, Request
from nbhelpers.image_models.online import Service
from nbhelpers.image_models.outcomes import Outcome
from nbhelpers.image_models.prices import Price, check_options, price_of
from nbhelpers.image_models.purchases import Row, Terms


class GeminiService(Service):
    """One Gemini model, asked by `request`."""

    name = "gemini"
    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {
        "image_size": (Literal["512", "1K", "2K", "4K"] | None, None),
        "thinking": (Literal["minimal", "medium", "high"] | None, None),
        "api_version": (str, "v1beta"),
    }

    def __init__(self, request: Request, price: Price, terms: Terms) -> None:
        super().__init__(request.model, price, terms)
        self.request = request
        self._client: genai.Client

    @classmethod
    def made(cls, model: str, own_usd: float | None, terms: Terms, options: Mapping[str, Any]) -> GeminiService:
        """The service from its settings; errors as of `Service.made`."""
        check_options(model, options["image_size"], thinking=options["thinking"])
        price = price_of(cls.name, model, own_usd, options["image_size"])
        return cls(Request(model, **options), price, terms)

    def side(self, wanted: int) -> int:
        """Pixels along a side of the square that a reply has."""
        return int(1024 * SIZES[self.request.image_size or "1K"])

    def check(self) -> None:
        """A `UserError` without a key or a usable endpoint, and for a model that is gone or closed to the key."""
        super().check()
        service = client.make_client(self.request.api_version, self.terms.deadline_s)
        client.check_model(service, self.model, self.terms.deadline_s, self.terms.backoff_s)

    async def open(self) -> None:
        """Make the client."""
        self._client = client.make_client(self.request.api_version, self.terms.deadline_s)

    async def ask(self, row: Row) -> str | Outcome:
        """The body of a reply with status 200, or the outcome of what was none."""
        pictures = [] if row.image is None else [row.image, *row.more]
        return await client.ask(self._client, self.request, row.prompt, row.seed, self.terms.deadline_s, *pictures)

    def read(self, answer: str) -> Outcome:
        """Outcome of a body."""
        return client.read_body(answer, self.request.as_text)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aio.aclose()


class GeminiTextService(GeminiService):
    """A Gemini model that is asked for words about pictures."""

    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {"api_version": (str, "v1beta")}

    @classmethod
    def made(cls, model: str, own_usd: float | None, terms: Terms, options: Mapping[str, Any]) -> GeminiService:
        """The service from its settings; a `UserError` for a model without a price."""
        return cls(Request(model, as_text=True, **options), price_of(cls.name, model, own_usd), terms)
