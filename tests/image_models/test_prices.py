"""What an image costs: usage turned into US dollars, and the dated lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_models import gemini_server

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import SERVICES
from nbhelpers.image_models.prices import Price, check_options, list_of, listed_of, price_of, standing, usage_of
from nbhelpers.runs.parameters import read_yaml

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


def test_cost_is_the_price_lists_arithmetic():
    assert price_of("gemini", "gemini-2.5-flash-image").cost(gemini_server.USAGE, 1) == pytest.approx(
        1290 * 30 / 1e6 + 40 * 0.3 / 1e6
    )
    assert price_of("gemini", "gemini-2.5-flash-image", batch=True).cost(gemini_server.USAGE, 1) == pytest.approx(
        (1290 * 30 / 1e6 + 40 * 0.3 / 1e6) / 2
    )
    assert price_of("gemini", "gemini-3-pro-image").cost({}, 1) == pytest.approx(0.134, rel=0.01)
    assert price_of("gemini", "another", 0.5).cost(gemini_server.USAGE, 1) == 0.5
    assert price_of("gemini", "gemini-2.5-flash-image").cost({"promptTokenCount": 40}, 0) == pytest.approx(1.2e-5)
    with pytest.raises(UserError, match="did you mean 'gemini-3-pro-image'"):
        price_of("gemini", "gemini-3-pro-imagee")
    assert read_yaml(list_of("gemini"))["date"]


def test_every_kind_of_token_is_billed_at_its_own_rate():
    price = price_of("gemini", "gemini-nano-banana-2.1")
    assert price.cost({"candidatesTokenCount": 1120}, 1) == pytest.approx(0.0336)
    told = {
        "promptTokenCount": 300,  # text and an image of the request
        "toolUsePromptTokenCount": 10,
        "candidatesTokenCount": 1150,
        "thoughtsTokenCount": 400,
        "totalTokenCount": 1860,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}, {"modality": "TEXT", "tokenCount": 30}],
    }
    by_hand = (310 * 1.50 + (30 + 400) * 7.50 + 1120 * 30.00) / 1e6
    assert price.cost(usage_of(told), 1) == pytest.approx(by_hand)
    # Thoughts that only the total holds are billed too.
    without = {name: value for name, value in told.items() if name != "thoughtsTokenCount"}
    assert price.cost(usage_of(without), 1) == pytest.approx(by_hand)
    assert price_of("gemini", "gemini-nano-banana-2.1", batch=True).cost(usage_of(told), 1) == pytest.approx(
        by_hand / 2
    )
    assert price_of("gemini", "gemini-nano-banana-2.1", choice="4K").usd_per_image == pytest.approx(2520 * 30 / 1e6)


COUNTS = [f"{name}TokenCount" for name in ("prompt", "candidates", "thoughts", "total", "toolUsePrompt")]
NO_COUNT = st.one_of(
    st.floats(max_value=-0.01), st.floats(min_value=1e8), st.just(float("nan")), st.text(), st.integers(min_value=2**24)
) | st.sampled_from([True, [], {}, -1, 0.5, "40", 10**400])


@given(st.sampled_from(COUNTS), NO_COUNT)
def test_a_count_that_is_none_makes_the_usage_unknown(name, value):
    assert usage_of({**gemini_server.USAGE, name: value})["unknown"]


@given(st.dictionaries(st.sampled_from(COUNTS), NO_COUNT | st.integers(0, 2000)))
def test_the_cost_of_any_usage_is_a_finite_sum_from_zero_up(told):
    assert 0 <= price_of("gemini", "gemini-nano-banana-2.1").cost(usage_of(told), 1) < 50


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        ("gemini-nano-banana-2.1", {"size": "512"}),
        ("gemini-2.5-flash-image", {"size": "2K"}),
        ("gemini-2.5-flash-image", {"ratio": "1:8"}),
        ("gemini-nano-banana-2.1", {"ratio": "7:5"}),
        ("gemini-2.5-flash-image", {"thinking": "high"}),
        ("gemini-3.1-flash-image", {"thinking": "medium"}),
    ],
)
def test_what_a_model_does_not_take_is_refused_with_what_it_takes(model, wrong):
    with pytest.raises(UserError, match=f"not accepted by model '{model}'"):
        check_options(model, **wrong)


def test_the_live_model_takes_fourteen_shapes_three_sizes_and_three_levels():
    listed = listed_of("gemini", "gemini-nano-banana-2.1")
    assert len(listed["ratios"]) == 14
    for ratio in listed["ratios"]:
        for size, level in (("1K", "minimal"), ("2K", "medium"), ("4K", "high")):
            check_options("gemini-nano-banana-2.1", size, ratio, level)
    check_options("gemini-3.1-flash-image", "512")
    check_options("a model of another list", "512", "7:5", "high")


def test_a_model_that_is_closed_is_told_with_its_substitute():
    said = standing("gemini", "gemini-2.5-flash-image")
    assert "2026-09-18" in said and "gemini-nano-banana-2.1" in said and "not the paper's model" in said
    assert standing("gemini", "gemini-nano-banana-2.1") == "" and standing("gemini", "another") == ""


def test_every_listed_model_has_a_price_of_each_quality_and_the_list_is_dated():
    found = [
        (name, one, models)
        for one in map(read_yaml, {list_of(s) for s in SERVICES})
        for name, models in one["models"].items()
    ]
    assert {name for name, _, _ in found} == set(SERVICES)
    for name, prices, models in found:
        for model, listed in models.items():
            for quality in [None, *listed.get("tokens", {})]:
                assert 0.005 < price_of(name, model, choice=quality).usd_per_image < 0.3
            assert price_of(name, model).date == str(prices["date"])


def test_prices_are_those_of_the_list():
    assert price_of("openai", "gpt-image-2", choice="high").usd_per_image == pytest.approx(0.219)
    assert price_of("openai", "gpt-image-2").usd_per_image == pytest.approx(0.219), "where the service may choose"
    assert price_of("openai", "gpt-image-2", choice="low").reserve("", 2048) > 4 * 0.015
    assert price_of("ark", "doubao-seedream-4-0-250828").usd_per_image == 0.03
    assert price_of("bfl", "flux-2-pro", own_usd=0.2).cost({}, 1) == 0.2


def test_a_model_or_quality_without_a_price_is_refused_and_one_that_ends_is_told():
    with pytest.raises(UserError, match=r"did you mean 'flux-2-max'.*price_usd"):
        price_of("bfl", "flux-2-maxi")
    with pytest.raises(UserError, match="'xhigh' of model"):
        price_of("openai", "gpt-image-2", choice="xhigh")
    assert "to end on 2026-12-01" in standing("openai", "gpt-image-1.5") and not standing("openai", "gpt-image-2")
