"""OpenAI's image models, and Seedream on Ark, through the openai SDK: drawn from words, or a picture changed."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import openai

from nbhelpers.image_models.access import api_key, endpoint
from nbhelpers.image_models.online import Service
from nbhelpers.image_models.outcomes import (
    Outcome,
    as_list,
    as_mapping,
    body_of,
    decoded,
    from_network,
    from_status,
    line,
)
from nbhelpers.image_models.prices import usage_of
from nbhelpers.image_models.purchases import Row


class OpenAIService(Service):
    """One of OpenAI's image models; a mask is a hint to it, and the whole picture is drawn anew."""

    name = "openai"
    masks = True
    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {
        "quality": (Literal["low", "medium", "high", "xhigh", "max"] | None, None),
        "input_fidelity": (Literal["low", "high"] | None, None),
    }

    async def open(self) -> None:
        """Make the client; its own retries are off: they pass over the budget and may buy a picture twice."""
        for logger in ("openai", "httpx", "httpcore", "httpx2", "httpcore2"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        self._client = openai.AsyncOpenAI(
            api_key=api_key(self.name),
            base_url=endpoint(self.name),
            max_retries=0,
            timeout=self.terms.deadline_s,
            # What else the SDK takes from the environment must not decide who pays, nor go to another endpoint.
            organization=None if self.name == "openai" else "",
            project=None if self.name == "openai" else "",
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ask(self, row: Row) -> tuple[bytes, str] | Outcome:
        """Body and id of a reply with status 200, or the outcome of what was none; one deadline for the whole."""
        late = f"no whole reply within {self.terms.deadline_s:g} s"
        try:
            async with asyncio.timeout(self.terms.deadline_s):
                reply = await self._request(row)
                return reply.content, str(reply.headers.get("x-request-id") or "")
        except openai.APIStatusError as error:
            return from_status(error.status_code, error.response.content, error.response.headers)
        except openai.APIConnectionError as error:
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else ConnectionError(str(error))
            return from_network(cause, late)
        except Exception as error:
            return from_network(error, late)

    async def _request(self, row: Row) -> Any:
        # The raw reply: of a page of HTML the SDK would make a text, of what it cannot read a defect.
        images = self._client.images.with_raw_response
        own: dict[str, Any] = {"model": self.model, "prompt": row.prompt, "n": 1, "size": f"{row.side}x{row.side}"}
        own |= {name: value for name, value in self.options.items() if value is not None and name == "quality"}
        if row.image is None:
            return await images.generate(**own)
        # Named, and with their type: bare bytes would go out as a file of no kind.
        if row.mask is not None:
            own["mask"] = ("mask.png", row.mask, "image/png")
        if self.options.get("input_fidelity"):
            own["input_fidelity"] = self.options["input_fidelity"]
        return await images.edit(image=("image.png", row.image, "image/png"), **own)

    def read(self, answer: tuple[bytes, str]) -> Outcome:
        """Outcome of a body: a picture that decodes completely, or the class of what came in its place."""
        data, request_id = answer
        body = body_of(data)
        if isinstance(body, Outcome):
            return body
        items = [as_mapping(item) for item in as_list(body.get("data"))]
        good, broken = decoded(item["b64_json"] for item in items if item.get("b64_json") is not None)
        facts = {"response_id": request_id or None, "usage": self._usage(body, len(good) + len(broken))}
        facts["model_version"] = line(body["model"], 200) if body.get("model") else None
        if good:
            return Outcome("ok", "", good[0], tuple(good[1:]), facts=facts)
        if broken:
            return Outcome("corrupt", line(broken[0][0]), broken[0][1], facts=facts)
        if held := next((item["error"] for item in items if item.get("error")), None):
            told = from_status(400, {"error": held})
            kind = told.kind if told.kind.endswith("blocked") else "image_blocked"
            return Outcome(kind, told.detail, facts=facts)
        return Outcome("no_image", "a picture by its address alone" if items else "empty reply", facts=facts)

    def _usage(self, body: Mapping[str, Any], pictures: int) -> dict[str, Any]:
        """Tokens by the names that prices know; unknown where a picture came and nothing was told of them."""
        told = body.get("usage")
        if not isinstance(told, Mapping):
            return {"unknown": True} if pictures or told is not None else {}
        return usage_of(
            {
                "promptTokenCount": told.get("input_tokens"),
                "imageInput": as_mapping(told.get("input_tokens_details")).get("image_tokens"),
                "candidatesTokenCount": told.get("output_tokens"),
                "totalTokenCount": told.get("total_tokens"),
            }
        )


class ArkService(OpenAIService):
    """Seedream on ByteDance's Ark, by the same SDK: a picture to change is a field of the request that draws."""

    name = "ark"
    masks = False
    OPTIONS: ClassVar[dict[str, tuple[Any, Any]]] = {}

    async def _request(self, row: Row) -> Any:
        more: dict[str, Any] = {"watermark": False, "sequential_image_generation": "disabled"}
        if row.image is not None:
            more["image"] = "data:image/png;base64," + base64.b64encode(row.image).decode()
        size = f"{row.side}x{row.side}"
        return await self._client.images.with_raw_response.generate(
            model=self.model,
            prompt=row.prompt,
            size=size,  # type: ignore[arg-type]
            response_format="b64_json",
            extra_body=more,
        )

    def _usage(self, body: Mapping[str, Any], pictures: int) -> dict[str, Any]:
        """Billed by the picture that was returned, whether it can be decoded or not."""
        told = as_mapping(body.get("usage")).get("generated_images", 0)
        whole = isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= 100
        return {"usd": max(told if whole else 1, pictures) * self.price.usd_per_image}
