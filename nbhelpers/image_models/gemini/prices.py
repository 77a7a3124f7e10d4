"""What an image of a Gemini model costs: the dated price list, and usage turned into US dollars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters

PRICES = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True)
class Price:
    """Price of one image, US dollars, and the rates behind it where they are known."""

    usd_per_image: float
    output_tokens: int | None = None  # what one image is billed as
    input_rate: float = 0.0  # dollars a token of prompt
    date: str = ""  # when the list was read; empty for a price of the user's own

    def cost(self, usage: Mapping[str, Any] | None, images: int) -> float:
        """US dollars of one reply, from the usage that it reports (`usageMetadata`) and the images that it held.

        Thought tokens count as output, so that no bill is larger than what is counted here.
        """
        usage = usage or {}
        prompt = _count(usage, "promptTokenCount") * self.input_rate
        output = _count(usage, "candidatesTokenCount") + _count(usage, "thoughtsTokenCount")
        if self.output_tokens is None or (images and not output):
            return prompt + images * self.usd_per_image
        return prompt + output * self.usd_per_image / self.output_tokens

    def reserve(self, prompt: str) -> float:
        """US dollars that one request may cost, from above: an image and a prompt of a token per two characters."""
        return self.usd_per_image * 1.05 + len(prompt) / 2 * self.input_rate


def _count(usage: Mapping[str, Any], name: str) -> float:
    value = usage.get(name)
    return float(value) if isinstance(value, (int, float)) and value > 0 else 0.0


def price_of(
    model: str, own_usd: float | None = None, batch: bool = False, size: str | None = None, path: Path = PRICES
) -> Price:
    """Price of an image of `model`, in batch mode with `batch`; the user's own goes before the list, as it is.

    `size` is `1K`, `2K` or `4K`; the list holds prices of 1K images alone. A `UserError` where neither knows a price:
    what costs an unknown sum is not bought.
    """
    prices = parameters.read_yaml(path)
    listed = prices["models"].get(model, {})
    if own_usd is not None and own_usd < 0:
        raise UserError(f"gemini_price_usd = {own_usd} is negative", "parameters", "give dollars for one image")
    if own_usd is None and not listed:
        raise UserError(
            f"no price is known for model {model!r}",
            str(path),
            f"{parameters.suggest(model, prices['models'])}; or set gemini_price_usd to the price of one image",
        )
    if own_usd is None and size not in (None, "1K"):
        do = "set gemini_price_usd to the price of one image of that size"
        raise UserError(f"no price is known for {size} images of model {model!r}", str(path), do)
    factor = float(prices["batch_factor"]) if batch else 1.0
    usd = float(listed["usd_per_image"]) * factor if own_usd is None else float(own_usd)
    return Price(
        usd,
        listed.get("output_tokens") if size in (None, "1K") else None,
        float(listed.get("usd_per_million_input_tokens", 0.0)) / 1e6 * factor,
        "" if own_usd is not None else str(prices["date"]),
    )
