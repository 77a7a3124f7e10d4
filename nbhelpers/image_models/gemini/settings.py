"""The `gemini_*` parameters, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.client import Request
from nbhelpers.image_models.prices import Price, check_options, price_of
from nbhelpers.image_models.purchases import Terms

MODES = ("online", "batch")


@dataclass(kw_only=True)
class Settings(Terms):
    """The `gemini_*` parameters, checked."""

    request: Request
    price: Price
    batch_price: Price
    mode: str = "online"
    budget_usd: float = 10.0
    poll_s: float = 30.0
    batch_images: int = 500
    batch_hours: float = 26.0
    batch_cancel: bool = False
    lookup_s: float = 120.0  # how long a job whose making had no reply is looked for

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Settings:
        """Settings from an experiment's parameters; a value out of range, or a model without a price, is an error."""
        # An experiment has an `image_size` of its own: the network's.
        given = {name[7:]: value for name, value in parameters.items() if name.startswith("gemini_")}
        made_here = ("request", "price", "batch_price", "backoff_s", "lookup_s")
        own = {name: given[name] for name in cls.__dataclass_fields__ if name in given and name not in made_here}
        mode = own.get("mode", cls.mode)
        if mode not in MODES:
            raise UserError(f"gemini_mode = {mode!r}", "parameters", f"use one of {', '.join(MODES)}")
        request = Request(**{name: given[name] for name in Request.__dataclass_fields__ if name in given})
        check_options(request.model, request.image_size, request.aspect_ratio, request.thinking, "gemini_")
        priced = "gemini", request.model, given.get("price_usd"), request.image_size
        half, full = (price_of(*priced, batch=batch, prefix="gemini_") for batch in (True, False))
        settings = cls(request=request, price=half if mode == "batch" else full, batch_price=half, **own)
        may_be_zero = ("requests_per_minute", "budget_usd")
        positive = ("concurrency", "attempts", "deadline_s", "patience_s", "poll_s", "batch_images", "batch_hours")
        for name in (*positive, *may_be_zero):
            value = getattr(settings, name)
            if not 0 <= value < float("inf") or (value == 0 and name in positive):
                do = "give a positive number" if name in positive else "give zero or more"
                raise UserError(f"gemini_{name} = {value}", "parameters", do)
        return settings
