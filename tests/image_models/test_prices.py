"""Usage turned into US dollars."""

import pytest

from nbhelpers.image_models.prices import Price

RATES = {"input": 5e-6, "input_image": 8e-6, "image": 30e-6}


def test_pictures_that_go_in_have_a_rate_of_their_own():
    price = Price(0.06, 2000, RATES)
    usage = {"promptTokenCount": 1100, "imageInput": 1000, "candidatesTokenCount": 2000, "totalTokenCount": 3100}
    assert price.cost(usage, 1) == pytest.approx(100 * 5e-6 + 1000 * 8e-6 + 2000 * 30e-6)
    usage = {"promptTokenCount": 100, "imageInput": 10**6}
    assert price.cost(usage, 0) == pytest.approx(100 * 8e-6), "no more of them than there are tokens"


def test_a_bill_in_dollars_is_taken_as_it_is():
    assert Price(0.045).cost({"usd": 0.07}, 1) == 0.07 and Price(0.045).cost({}, 2) == 0.09


def test_what_grows_with_the_area_sets_more_aside_and_never_less_than_the_price():
    assert Price(0.04, by_area=True).reserve("", 2048) == pytest.approx(0.04 * 4 * 1.05)
    assert Price(0.04, by_area=True).reserve("", 512) == Price(0.04).reserve("", 2048) == pytest.approx(0.042)
    assert Price(0.04, aside=0.01).reserve("") == pytest.approx(0.052)
