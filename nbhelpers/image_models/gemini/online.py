"""Gemini as a service that is bought from: `image_models.online.Service`."""

from __future__ import annotations

from dataclasses import dataclass

from google import genai

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import api_key
from nbhelpers.image_models.gemini import client
from nbhelpers.image_models.gemini.client import SIZES, Request
from nbhelpers.image_models.outcomes import Outcome
from nbhelpers.image_models.prices import Price
from nbhelpers.image_models.purchases import Row, Terms


@dataclass
class GeminiService:
    """One Gemini model, asked by `request`."""

    request: Request
    price: Price
    terms: Terms

    masks, sized = False, True  # as of `services.asked.HttpService`

    def __post_init__(self) -> None:
        self.model = self.request.model
        self._client: genai.Client

    def side(self, wanted: int) -> int:
        """Pixels along a side of the square that a reply has."""
        return int(1024 * SIZES[self.request.image_size or "1K"])

    def check(self) -> None:
        """A `UserError` without a key or a usable endpoint, and for a model that is gone or closed to the key."""
        api_key()
        service = client.make_client(self.request.api_version, self.terms.deadline_s)
        client.check_model(service, self.model, self.terms.deadline_s, self.terms.backoff_s)

    async def open(self) -> None:
        """Make the client."""
        self._client = client.make_client(self.request.api_version, self.terms.deadline_s)

    async def ask(self, row: Row) -> str | Outcome:
        """The body of a reply with status 200, or the outcome of what was none."""
        return await client.ask(self._client, self.request, row.prompt, row.seed, self.terms.deadline_s, row.image)

    def read(self, answer: str) -> Outcome:
        """Outcome of a body."""
        return client.read_body(answer, self.request.as_text)

    def stop_message(self, outcome: Outcome) -> UserError:
        """The one error when no request can succeed."""
        return client.stop_message(outcome, self.model)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aio.aclose()
