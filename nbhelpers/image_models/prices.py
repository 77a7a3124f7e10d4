"""What an image of a paid service costs: the dated lists, usage turned into US dollars, what a request may cost."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.outcomes import as_list, as_mapping
from nbhelpers.runs.parameters import read_yaml, suggest

PAPER = "gemini-2.5-flash-image"  # "Nano Banana", which the paper's images are from

# What a usage counts, and the most tokens of it that a reply can have; anything else is no count.
_COUNTS = {"promptTokenCount": 2**21, "toolUsePromptTokenCount": 2**21, "totalTokenCount": 2**22}
_COUNTS |= {"candidatesTokenCount": 2**18, "thoughtsTokenCount": 2**18}
_SPLIT = {"imageInput": 2**21}  # of `promptTokenCount`, the tokens of pictures


@dataclass(frozen=True)
class Price:
    """Price of one image, US dollars, and the rates behind it where they are known."""

    usd_per_image: float
    output_tokens: int | None = None  # what one image is billed as
    rates: Mapping[str, float] = field(default_factory=dict)  # dollars a token: `input`, `input_image`, `text`, `image`
    thoughts: int = 0  # tokens set aside for what the model thinks
    aside: float = 0.0  # dollars set aside for the pictures that a request brings
    by_area: bool = False  # whether the price is that of 1024 x 1024 pixels, and grows with them
    date: str = ""  # when the list was read; empty for a price of the user's own

    def cost(self, usage: Mapping[str, Any] | None, images: int) -> float:
        """US dollars of one reply, from its usage (`outcomes.usage_of`) and the images that it held.

        Input, tools' included, at the rate of input; output that is an image at the rate of images; words, thoughts and
        what the total holds beyond the parts at the rate of text. Output whose kind is not told counts as image, so
        that no bill is larger than what is counted here. Images without any token count at the price of an image. A
        usage in dollars (`usd`) is taken as it is.
        """
        usage = usage or {}
        if "usd" in usage:
            return float(usage["usd"])
        asked = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
        made, thought = usage.get("candidatesTokenCount", 0), usage.get("thoughtsTokenCount", 0)
        words = min(usage.get("text", 0), made)
        # Also where the thoughts have no field of their own.
        thought += max(usage.get("totalTokenCount", 0) - asked - made - thought, 0)
        text = asked * self.rates.get("input", 0.0) + (words + thought) * self.rates.get("text", 0.0)
        seen = min(usage.get("imageInput", 0), asked)
        text += seen * (self.rates.get("input_image", 0.0) - self.rates.get("input", 0.0)) if seen else 0.0
        if self.output_tokens is None or (images and not made):
            return text + images * self.usd_per_image
        return text + (made - words) * self.usd_per_image / self.output_tokens

    def reserve(self, prompt: str, side: int = 1024) -> float:
        """US dollars that one request may cost: an image (of `side` pixels a side), its thoughts, and what is sent.

        A prompt counts as a token per two characters.
        """
        words = len(prompt) / 2 * self.rates.get("input", 0.0) + self.thoughts * self.rates.get("text", 0.0)
        return self.usd_per_image * (max(1.0, (side / 1024) ** 2) if self.by_area else 1.0) * 1.05 + words + self.aside


def usage_of(told: object) -> dict[str, Any]:
    """The token counts of a reply, by Gemini's names for them (`usageMetadata`), as far as they can be counted.

    `text` are the output tokens that are words, where the reply splits them. `unknown` is set when a count is none: not
    a whole number from zero to what a reply can have; then nothing of it is to be relied on.
    """
    usage: dict[str, Any] = {}
    if told is not None and not isinstance(told, Mapping):
        return {"unknown": True}
    told = as_mapping(told)
    for name, most in (_COUNTS | _SPLIT).items():
        if told.get(name) is None:
            continue
        count = _count(told[name], most)
        usage |= {"unknown": True} if count is None else {name: count}
    for split in as_list(told.get("candidatesTokensDetails")):
        part = as_mapping(split)
        count = _count(part.get("tokenCount", 0), _COUNTS["candidatesTokenCount"])
        if count is None:
            usage["unknown"] = True
        elif part.get("modality") == "TEXT":
            usage["text"] = usage.get("text", 0) + count
    parts = sum(usage.get(name, 0) for name in _COUNTS if name != "totalTokenCount")
    if usage.get("totalTokenCount", 0) - parts > _COUNTS["thoughtsTokenCount"]:
        usage["unknown"] = True
    return usage


def _count(value: object, most: int) -> int | None:
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most
    return int(value) if whole and value == int(value) else None  # type: ignore[call-overload]


def list_of(service: str) -> Path:
    """The file that lists a service's models."""
    return Path(__file__).parent / ("gemini" if service == "gemini" else "services") / "prices.yaml"


def listed_of(service: str, model: str) -> dict[str, Any]:
    """What its service's list knows of a model; empty where it does not know it."""
    # An id of Ark's Chinese platform is that of the other one behind a prefix.
    return dict(read_yaml(list_of(service))["models"].get(service, {}).get(model.removeprefix("doubao-"), {}))


def price_of(
    service: str, model: str, own_usd: float | None = None, choice: str | None = None, *,
    batch: bool = False, prefix: str = "",
) -> Price:  # fmt: skip
    """Price of an image of `model`, in batch mode with `batch`; the user's own goes before the list.

    `choice` is a size or quality that the list has tokens of; None is the list's `default`, or the dearest. `prefix`
    stands before the names of parameters in errors. A `UserError` where neither knows a price: what costs an unknown
    sum is not bought.
    """
    prices, listed = read_yaml(list_of(service)), listed_of(service, model)
    do = f"set {prefix}price_usd to the price of one image"
    if own_usd is None and not listed:
        near = suggest(model, prices["models"].get(service, {}))
        raise UserError(f"no price is known for model {model!r}", str(list_of(service)), f"{near}; or {do}")
    factor = float(prices["batch_factor"]) if batch else 1.0
    rates = {kind: float(usd) / 1e6 * factor for kind, usd in listed.get("rates", {}).items()}
    facts = {name: listed[name] for name in ("thoughts", "aside") if name in listed}
    if own_usd is not None:
        if not 0 <= own_usd < float("inf"):
            raise UserError(f"{prefix}price_usd = {own_usd}", "parameters", "give dollars for one image, from zero up")
        return Price(float(own_usd), None, rates, **facts)
    tokens = listed.get("tokens", {})
    choice = choice or prices.get("default")
    if choice is not None and tokens and choice not in tokens:
        what = f"no price is known for {choice!r} of model {model!r}"
        raise UserError(what, str(list_of(service)), f"{suggest(choice, tokens)}; or {do}")
    count = (tokens[choice] if choice else max(tokens.values())) if tokens else None
    usd = float(listed["usd"]) if count is None else count * rates["image"]
    by_area = bool(listed.get("by_area"))
    return Price(usd, count, rates, by_area=by_area, date=str(prices["date"]), **facts)


def check_options(
    model: str, size: str | None = None, ratio: str = "1:1", thinking: str | None = None, prefix: str = ""
) -> None:
    """Raise a `UserError` for what a listed Gemini model does not take, before anything is sent."""
    listed = listed_of("gemini", model)
    taken = {"image_size": (size, [*listed.get("tokens", {})])}
    taken |= {"aspect_ratio": (ratio, listed.get("ratios", [])), "thinking": (thinking, listed.get("thinking", []))}
    for name, (value, known) in taken.items():
        if listed and value is not None and value not in known:
            do = f"use one of {', '.join(known)}" if known else "leave it null"
            raise UserError(f"{prefix}{name} = {value!r} is not accepted by model {model!r}", "parameters", do)


def standing(service: str, model: str) -> str:
    """One line on a model that the list knows to be closed or to end, with what to take instead; else empty."""
    listed, today = listed_of(service, model), datetime.datetime.now(datetime.UTC).date()
    said = [f"closed to new keys since {listed['closed']}"] if "closed" in listed else []
    if "ends" in listed:
        said.append(f"{'withdrawn' if listed['ends'] <= today else 'to end'} on {listed['ends']}")
    told = f"{model} is {' and '.join(said)} (list of {read_yaml(list_of(service))['date']})" if said else ""
    return f"{told}; {instead(model)}" if told and service == "gemini" else told


def instead(model: str) -> str:
    """What to do without a Gemini model: the live one, and whether it is the paper's."""
    live = str(read_yaml(list_of("gemini"))["live"])
    if model == live:
        return "check the id and gemini_api_version"
    return f"the live model is gemini_model: {live}" + (", which is not the paper's model" if model == PAPER else "")
