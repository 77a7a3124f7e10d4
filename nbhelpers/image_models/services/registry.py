"""A service by its name and settings, Gemini too."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le, MultipleOf
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import DEADLINE_S
from nbhelpers.image_models.online import Service
from nbhelpers.image_models.purchases import Terms

# Modules are imported when they are used: each brings its SDK.
SERVICES = {
    "gemini": "nbhelpers.image_models.gemini.online:GeminiService",
    "openai": "nbhelpers.image_models.services.openai_images:OpenAIService",
    "ark": "nbhelpers.image_models.services.openai_images:ArkService",
    "bfl": "nbhelpers.image_models.services.bfl:BflService",
}
# What answers in words about pictures.
TEXT = {
    "gemini": "nbhelpers.image_models.gemini.online:GeminiTextService",
    "openai": "nbhelpers.image_models.services.chat:ChatService",
    "ark": "nbhelpers.image_models.services.chat:ArkChatService",
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


def _class_of(service: str, as_text: bool = False) -> type[Service]:
    module, _, name = (TEXT if as_text else SERVICES)[service].partition(":")
    found: type[Service] = getattr(importlib.import_module(module), name)
    return found


def options_of(service: str, as_text: bool = False) -> dict[str, tuple[Any, Any]]:
    """Every setting that a service has, asked for pictures or for words about them: its type and its default."""
    return COMMON | _class_of(service, as_text).OPTIONS


def make_service(service: str, own: Mapping[str, Any], as_text: bool = False) -> Service:
    """A service from its settings (`options_of`, all of them); a model without a price is a `UserError`."""
    kind, terms = _class_of(service, as_text), Terms(**{name: own[name] for name in TERMS})
    if not own["model"]:
        raise UserError("no model is named", service, "set model: to its id")
    return kind.made(own["model"], own["price_usd"], terms, {name: own[name] for name in kind.OPTIONS})


def deciding(own: Mapping[str, Any]) -> dict[str, Any]:
    """Of a service's settings those that decide what an answer is, beside the model.

    What is not set is left out: a setting that is new some day must not make what was bought another thing.
    """
    beside = (*TERMS, "price_usd", "model")
    return {name: value for name, value in own.items() if value is not None and name not in beside}
