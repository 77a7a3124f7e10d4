"""What Gemini's image models cost and take: the dated price list."""

from __future__ import annotations

import datetime
from pathlib import Path

from nbhelpers.errors import UserError
from nbhelpers.image_models.prices import Price
from nbhelpers.runs import parameters

PRICES = Path(__file__).with_name("prices.yaml")
PAPER = "gemini-2.5-flash-image"  # "Nano Banana", which the paper's images are from


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
    return Price(usd, tokens, rates, thoughts, date=str(prices["date"]))


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
            raise UserError(f"gemini_{name} = {value!r} is not accepted by model {model!r} takes", "parameters", do)


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
