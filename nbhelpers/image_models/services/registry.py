"""A service by its name and settings, Gemini too."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, MultipleOf
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import DEADLINE_S
from nbhelpers.image_models.online import Service
from nbhelpers.image_models.purchases import Terms
from nbhelpers.image_models.services.asked import price_of

# Modules are imported when they are used: each brings its SDK.
SERVICES = {
    "openai": "nbhelpers.image_models.services.openai_images:OpenAIService",
    "ark": "nbhelpers.image_models.services.openai_images:ArkService",
    "bfl": "nbhelpers.image_models.services.bfl:BflService",
}
TERMS: dict[str, tuple[Any, Any]] = {
    "concurrency": (PositiveInt, 4),
    "requests_per_minute": (NonNegativeInt, 0),
    "attempts": (PositiveInt, 3),
    "deadline_s": (PositiveFloat, DEADLINE_S),
    "patience_s": (PositiveFloat, 900.0),
}
COMMON: dict[str, tuple[Any, Any]] = {
    "model": (str, ""),
    "price_usd": (PositiveFloat | None, None),
    "size": (Annotated[int, Ge(64), Le(4096), MultipleOf(16)] | None, None),
    **TERMS,
}
GEMINI: dict[str, tuple[Any, Any]] = {
    "image_size": (Literal["512", "1K", "2K", "4K"] | None, None),
    "thinking": (Literal["minimal", "medium", "high"] | None, None),
    "api_version": (str, "v1beta"),
}


def _class_of(service: str) -> Any:
    module, _, name = SERVICES[service].partition(":")
    return getattr(importlib.import_module(module), name)


def options_of(service: str) -> dict[str, tuple[Any, Any]]:
    """Every setting that a service has: its type and its default."""
    return COMMON | (GEMINI if service == "gemini" else _class_of(service).OPTIONS)


def make_service(service: str, own: Mapping[str, Any]) -> Service:
    """A service from its settings (`options_of`, all of them); a model without a price is a `UserError`."""
    model, terms = own["model"], Terms(**{name: own[name] for name in TERMS})
    if not model:
        raise UserError("no model is named", service, "set model: to its id")
    if service == "gemini":
        from nbhelpers.image_models.gemini import client, online, prices

        more = {name: own[name] for name in GEMINI}
        request = client.Request(model=model, **more)
        try:
            prices.check_options(model, request.image_size, request.aspect_ratio, request.thinking)
            price = prices.price_of(model, own["price_usd"], size=request.image_size)
        except UserError as error:
            # As notebook 01's parameters, these would have the service's name before them.
            raise UserError(error.what.replace("gemini_", ""), service, error.do.replace("gemini_", "")) from None
        return online.GeminiService(request, price, terms)
    kind = _class_of(service)
    options = {name: own[name] for name in kind.OPTIONS}
    price = price_of(service, model, own["price_usd"], options.get("quality"))
    made: Service = kind(model, price, terms, options)
    return made


def deciding(own: Mapping[str, Any]) -> dict[str, Any]:
    """Of a service's settings those that decide what an answer is, beside the model.

    What is not set is left out: a setting that is new some day must not make what was bought another thing.
    """
    beside = (*TERMS, "price_usd", "model")
    return {name: value for name, value in own.items() if value is not None and name not in beside}
