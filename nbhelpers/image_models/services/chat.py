"""Words about pictures by OpenAI's and Ark's models, through the openai SDK's chat completions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from nbhelpers.image_models.outcomes import Outcome, as_list, as_mapping, body_of, line
from nbhelpers.image_models.prices import usage_of
from nbhelpers.image_models.purchases import Row
from nbhelpers.image_models.services.openai_images import OpenAIService


class ChatService(OpenAIService):
    """A model of OpenAI's that sees pictures and answers in words; what it says is `ok`, in UTF-8 as the data."""

    masks = False
    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {}

    async def _request(self, row: Row) -> Any:
        pictures = [] if row.image is None else [row.image, *row.more]
        urls = ["data:image/png;base64," + base64.b64encode(picture).decode() for picture in pictures]
        content: list[Any] = [{"type": "text", "text": row.prompt}]
        content += [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return await self._client.chat.completions.with_raw_response.create(
            model=self.model, messages=[{"role": "user", "content": content}]
        )

    def read(self, answer: tuple[bytes, str]) -> Outcome:
        """Outcome of a body: words, or the class of what came in their place."""
        body = body_of(answer[0])
        if isinstance(body, Outcome):
            return body
        choice = as_mapping(next(iter(as_list(body.get("choices"))), None))
        message, told = as_mapping(choice.get("message")), body.get("usage")
        names = {"promptTokenCount": "prompt_tokens", "candidatesTokenCount": "completion_tokens"}
        usage = {one: told.get(other) for one, other in names.items()} if isinstance(told, Mapping) else None
        facts = {"response_id": answer[1] or None, "usage": usage_of(usage)}
        facts["model_version"] = line(body["model"], 200) if body.get("model") else None
        if isinstance(text := message.get("content"), str) and text.strip():
            return Outcome("ok", "", text.encode(errors="replace"), facts=facts)
        if message.get("refusal") or choice.get("finish_reason") == "content_filter":
            return Outcome("image_blocked", line(message.get("refusal") or "content_filter"), facts=facts)
        return Outcome("no_image", line(choice.get("finish_reason") or "empty reply"), facts=facts)


class ArkChatService(ChatService):
    """The same on ByteDance's Ark."""

    name = "ark"
