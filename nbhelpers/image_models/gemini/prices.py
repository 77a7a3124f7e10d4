"""What Gemini's image models cost and take: the dated price list, and usage turned into US dollars."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters

PRICES = Path(__file__).with_name("prices.yaml")
PAPER = "gemini-2.5-flash-image"  # "Nano Banana", which the paper's images are from


@dataclass(frozen=True)
class Price:
    """Price of one image, US dollars, and the rates behind it where they are known."""

    usd_per_image: float
    output_tokens: int | None = None  # what one image is billed as
    rates: Mapping[str, float] = field(default_factory=dict)  # dollars a token of `input`, `text`, `image`
    thoughts: int = 0  # tokens set aside for what the model thinks
    date: str = ""  # when the list was read; empty for a price of the user's own

    def cost(self, usage: Mapping[str, Any] | None, images: int) -> float:
        """US dollars of one reply, from its usage (`outcomes.usage_of`) and the images that it held.

        Input, tools' included, at the rate of input; output that is an image at the rate of images; words, thoughts and
        what the total holds beyond the parts at the rate of text. Output whose kind is not told counts as image, so
        that no bill is larger than what is counted here. Images without any token count at the price of an image.
        """
        usage = usage or {}
        asked = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
        made, thought = usage.get("candidatesTokenCount", 0), usage.get("thoughtsTokenCount", 0)
        words = min(usage.get("text", 0), made)
        # Also where the thoughts have no field of their own.
        thought += max(usage.get("totalTokenCount", 0) - asked - made - thought, 0)
        text = asked * self.rates.get("input", 0.0) + (words + thought) * self.rates.get("text", 0.0)
        if self.output_tokens is None or (images and not made):
            return text + images * self.usd_per_image
        return text + (made - words) * self.usd_per_image / self.output_tokens

    def reserve(self, prompt: str) -> float:
        """US dollars that one request may cost: an image, its thoughts, and a prompt of a token per two characters."""
        words = len(prompt) / 2 * self.rates.get("input", 0.0) + self.thoughts * self.rates.get("text", 0.0)
        return self.usd_per_image * 1.05 + words


def price_of(
    model: str, own_usd: float | None = None, batch: bool = False, size: str | None = None, path: Path = PRICES
) -> Price:
    """Price of an image of `model`, in batch mode with `batch`; the user's own goes before the list, as it is.

    `size` is `512`, `1K` (also when None), `2K` or `4K`. A `UserError` where neither knows a price: what costs an
    unknown sum is not bought.
    """
    prices = parameters.read_yaml(path)
    listed = prices["models"].get(model, {})
    if own_usd is not None and not 0 <= own_usd < float("inf"):
        raise UserError(f"gemini_price_usd = {own_usd}", "parameters", "give dollars for one image, from zero up")
    if own_usd is None and not listed:
        raise UserError(
            f"no price is known for model {model!r}",
            str(path),
            f"{parameters.suggest(model, prices['models'])}; or set gemini_price_usd to the price of one image",
        )
    factor = float(prices["batch_factor"]) if batch else 1.0
    rates = {kind: float(usd) / 1e6 * factor for kind, usd in listed.get("rates", {}).items()}
    tokens = {str(name): int(count) for name, count in listed.get("sizes", {}).items()}.get(size or "1K")
    if own_usd is None and tokens is None:
        check_options(model, size, path=path)
    usd = float(own_usd) if own_usd is not None else (tokens or 0) * rates["image"]
    thoughts = int(listed.get("thoughts", 0))
    if own_usd is not None:
        return Price(usd, None, rates, thoughts)
    return Price(usd, tokens, rates, thoughts, str(prices["date"]))


def check_options(
    model: str, size: str | None = None, ratio: str = "1:1", thinking: str | None = None, path: Path = PRICES
) -> None:
    """Raise a `UserError` for what a listed model does not take, before anything is sent; others are not known."""
    listed = parameters.read_yaml(path)["models"].get(model)
    if not listed:
        return
    for name, value, known in (
        ("image_size", size, [str(name) for name in listed["sizes"]]),
        ("aspect_ratio", ratio, listed["ratios"]),
        ("thinking", thinking, listed.get("thinking", [])),
    ):
        if value is not None and value not in known:
            do = f"use one of {', '.join(known)}" if known else "leave it null"
            raise UserError(f"gemini_{name} = {value!r} is not what model {model!r} takes", "parameters", do)


def standing(model: str, path: Path = PRICES) -> str:
    """One line on a model that the list knows to be closed or to end, with what to take instead; else empty."""
    prices = parameters.read_yaml(path)
    listed, today = prices["models"].get(model, {}), datetime.datetime.now(datetime.UTC).date()
    said = [f"closed to new keys since {listed['closed']}"] if "closed" in listed else []
    if "ends" in listed:
        said.append(f"{'withdrawn' if listed['ends'] <= today else 'to end'} on {listed['ends']}")
    return f"{model} is {' and '.join(said)} (list of {prices['date']}); {instead(model, path)}" if said else ""


def instead(model: str, path: Path = PRICES) -> str:
    """What to do without `model`: the live one, and whether it is the paper's."""
    live = str(parameters.read_yaml(path)["live"])
    if model == live:
        return "check the id and gemini_api_version"
    return f"the live model is gemini_model: {live}" + (", which is not the paper's model" if model == PAPER else "")
