"""The one door to the Gemini API: the client, and a request that ends in an outcome, whatever happens."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from google import genai
from google.genai import errors, types

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import api_key, endpoint
from nbhelpers.image_models.gemini.outcomes import from_reply, text_of
from nbhelpers.image_models.online import stop_message
from nbhelpers.image_models.outcomes import Outcome, from_network, from_status
from nbhelpers.image_models.prices import instead

SIZES = {"512": 0.5, "1K": 1, "2K": 2, "4K": 4}  # in 1,024 pixels along a side of a square
TEXT_TOKENS = 8192  # of a reply of text: masks in base64 may repeat themselves without an end
Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """What decides an image besides the prompt."""

    model: str = "gemini-nano-banana-2.1"
    api_version: str = "v1beta"  # `v1`, the SDK's default, may refuse image output
    aspect_ratio: str = "1:1"
    image_size: str | None = None  # `512`, `1K`, `2K` or `4K`; None leaves it to the model, which takes 1K
    thinking: str | None = None  # `minimal`, `medium` or `high`; None leaves it to the model
    as_text: bool = False  # ask for text (masks as JSON) in place of an image: without thinking, and bounded

    @property
    def configuration(self) -> dict[str, Any]:
        """The options as the ledger's key sees them: one that came later is left out where it is not used."""
        if self.as_text:
            return {"as_text": True}
        later = {"thinking": self.thinking} if self.thinking else {}
        return {"aspect_ratio": self.aspect_ratio, "image_size": self.image_size, **later}

    def config(self, seed: int) -> types.GenerateContentConfig:
        """The SDK's configuration for one image; the reply is left raw, since the SDK drops parts of it."""
        if self.as_text:
            return types.GenerateContentConfig(
                response_modalities=["TEXT"],
                thinking_config=types.ThinkingConfig(thinking_budget=0),
                max_output_tokens=TEXT_TOKENS,
                seed=seed,
                should_return_http_response=True,
            )
        level = types.ThinkingLevel(self.thinking.upper()) if self.thinking else None
        return types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            thinking_config=types.ThinkingConfig(thinking_level=level) if level else None,
            image_config=types.ImageConfig(aspect_ratio=self.aspect_ratio, image_size=self.image_size),
            seed=seed,
            should_return_http_response=True,
        )

    def as_json(self, prompt: str, seed: int) -> dict[str, Any]:
        """The request as a line of a batch file holds it."""
        image = {"aspectRatio": self.aspect_ratio} | ({"imageSize": self.image_size} if self.image_size else {})
        thinking = {"thinkingConfig": {"thinkingLevel": self.thinking.upper()}} if self.thinking else {}
        return {
            "contents": [{"role": "user", "parts": [{"text": prompt}]}],
            "generationConfig": {"responseModalities": ["IMAGE"], "imageConfig": image, "seed": seed} | thinking,
        }

    def fits(self, width: object, height: object) -> bool | None:
        """Whether an image has the size and shape that were asked for, as the models round them; None: not known."""
        if not (isinstance(width, int) and isinstance(height, int) and min(width, height) > 0):
            return None
        side = 1024 * SIZES.get(self.image_size or "1K", 1)
        across, down = (int(part) for part in self.aspect_ratio.split(":"))
        shape = width / height * down / across
        return 0.95 < shape < 1.05 and 0.8 < width * height / side**2 < 1.25


def make_client(api_version: str, deadline_s: float) -> genai.Client:
    """A client for the endpoint of the environment (`GOOGLE_GEMINI_BASE_URL`, or Google's own).

    Keep a reference to it: the SDK closes the connection of a client that is collected. Its own retries are off, the
    hidden one of its aiohttp path too: they pass over what the service asks for, and may buy an image twice.
    """
    endpoint()
    for name in ("google_genai", "httpx2", "httpcore2", "httpx", "httpcore", "aiohttp"):
        # What they tell below a warning holds headers and status lines as the service sent them.
        logging.getLogger(name).setLevel(logging.ERROR)
    return genai.Client(
        api_key=api_key(),
        vertexai=False,
        http_options=types.HttpOptions(
            api_version=api_version, timeout=int(deadline_s * 1000), retry_options=types.HttpRetryOptions(attempts=1)
        ),
    )


def in_time(do: Callable[[], Result], seconds: float) -> Future[Result]:
    """What `do` gives, waited for in a thread of its own: the HTTP library bounds a read alone, which a drip outlives.

    When the wait is over without it, the reply may still come: the future is not lost.
    """
    done: Future[Result] = Future()

    def work() -> None:
        try:
            done.set_result(do())
        except BaseException as error:
            done.set_exception(error)

    # A daemon: one that never ends must not keep the process either.
    threading.Thread(target=work, name="gemini", daemon=True).start()
    wait([done], seconds)
    return done


def check_model(client: genai.Client, model: str, deadline_s: float, backoff_s: float = 1.0) -> None:
    """Ask for the model before anything is paid: a `UserError` when it is withdrawn, closed to this key or unknown.

    A service that does not answer this question, such as another endpoint, stops nothing.
    """
    for tries in range(3):
        try:
            actions = in_time(lambda: client.models.get(model=model), deadline_s).result(0).supported_actions
        except Exception as error:
            told = error.details.get("error") if isinstance(error, errors.APIError) else None
            outcome = from_error(error) if isinstance(told, Mapping) and told.get("status") else None
            if outcome and outcome.fatal and outcome.kind == "configuration":
                raise stop_message(outcome, "gemini", model) from None
            time.sleep(backoff_s * 2.0**tries)
            continue
        if actions and "generateContent" not in actions:
            raise UserError(f"model {model!r} does not generate images", "gemini_model", instead(model))
        return


async def ask(
    client: genai.Client, request: Request, prompt: str, seed: int, deadline_s: float, *images: bytes
) -> str | Outcome:
    """Ask for one image: the body of a reply with status 200 (for `read_body`), or the outcome of what was none.

    `images` (PNG) are what the model is given to work on. `deadline_s` bounds the request as a whole, in seconds: a
    time-out of the HTTP library bounds one read, and a service that sends a byte now and then outlives it.
    """
    # The words first: whoever reads a request finds them in its first part.
    parts = [types.Part.from_bytes(data=image, mime_type="image/png") for image in images]
    contents: Any = [prompt, *parts] if parts else prompt
    try:
        async with asyncio.timeout(deadline_s):
            reply = await client.aio.models.generate_content(
                model=request.model, contents=contents, config=request.config(seed)
            )
    except Exception as error:
        return from_error(error, f"no whole reply within {deadline_s:g} s")
    raw = reply.sdk_http_response
    return (raw.body if raw else None) or ""


def read_body(body: str, as_text: bool = False) -> Outcome:
    """Outcome of a reply's body; decodes its image, so it is kept off the event loop.

    With `as_text` a reply of text is what was asked for: `ok`, its words in UTF-8 as the data.
    """
    outcome = from_reply(body)
    if as_text and outcome.kind == "text_only":
        outcome = replace(outcome, kind="ok", detail="", data=text_of(body).encode())
    return outcome


def from_error(error: Exception, late: str = "no whole reply in time") -> Outcome:
    """Class of an exception that the SDK raised; one that is no failure of service or network is raised again."""
    if isinstance(error, errors.APIError):
        response = getattr(error, "response", None)
        headers = getattr(response, "headers", None)
        headers = headers if isinstance(headers, Mapping) else None
        return from_status(int(error.code or 500), error.details, headers)
    return from_network(error, late)
