"""What an image costs: the arithmetic of the price list."""

import pytest
from image_models import gemini_server

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.prices import PRICES, price_of
from nbhelpers.runs.parameters import read_yaml


def test_cost_is_the_price_lists_arithmetic():
    assert price_of("gemini-2.5-flash-image").cost(gemini_server.USAGE, 1) == pytest.approx(
        1290 * 30 / 1e6 + 40 * 0.3 / 1e6
    )
    assert price_of("gemini-2.5-flash-image", batch=True).cost(gemini_server.USAGE, 1) == pytest.approx(
        (1290 * 30 / 1e6 + 40 * 0.3 / 1e6) / 2
    )
    assert price_of("gemini-3-pro-image").cost({}, 1) == 0.134
    assert price_of("another", 0.5).cost(gemini_server.USAGE, 1) == 0.5
    assert price_of("gemini-2.5-flash-image").cost({"promptTokenCount": 40}, 0) == pytest.approx(1.2e-5)
    with pytest.raises(UserError, match="did you mean 'gemini-3-pro-image'"):
        price_of("gemini-3-pro-imagee")
    assert read_yaml(PRICES)["date"]
