"""What an image of a paid service costs: usage turned into US dollars, and what a request may cost at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nbhelpers.image_models.outcomes import as_list, as_mapping

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
