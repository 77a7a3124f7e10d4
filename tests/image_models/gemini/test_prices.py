"""What an image costs: the arithmetic of the price list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_models import gemini_server

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.outcomes import usage_of
from nbhelpers.image_models.gemini.prices import PRICES, check_options, price_of, standing
from nbhelpers.runs.parameters import read_yaml


def test_cost_is_the_price_lists_arithmetic():
    assert price_of("gemini-2.5-flash-image").cost(gemini_server.USAGE, 1) == pytest.approx(
        1290 * 30 / 1e6 + 40 * 0.3 / 1e6
    )
    assert price_of("gemini-2.5-flash-image", batch=True).cost(gemini_server.USAGE, 1) == pytest.approx(
        (1290 * 30 / 1e6 + 40 * 0.3 / 1e6) / 2
    )
    assert price_of("gemini-3-pro-image").cost({}, 1) == pytest.approx(0.134, rel=0.01)
    assert price_of("another", 0.5).cost(gemini_server.USAGE, 1) == 0.5
    assert price_of("gemini-2.5-flash-image").cost({"promptTokenCount": 40}, 0) == pytest.approx(1.2e-5)
    with pytest.raises(UserError, match="did you mean 'gemini-3-pro-image'"):
        price_of("gemini-3-pro-imagee")
    assert read_yaml(PRICES)["date"]


def test_every_kind_of_token_is_billed_at_its_own_rate():
    price = price_of("gemini-nano-banana-2.1")
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
    assert price_of("gemini-nano-banana-2.1", batch=True).cost(usage_of(told), 1) == pytest.approx(by_hand / 2)
    assert price_of("gemini-nano-banana-2.1", size="4K").usd_per_image == pytest.approx(2520 * 30 / 1e6)


COUNTS = [f"{name}TokenCount" for name in ("prompt", "candidates", "thoughts", "total", "toolUsePrompt")]
NO_COUNT = st.one_of(
    st.floats(max_value=-0.01), st.floats(min_value=1e8), st.just(float("nan")), st.text(), st.integers(min_value=2**24)
) | st.sampled_from([True, [], {}, -1, 0.5, "40", 10**400])


@given(st.sampled_from(COUNTS), NO_COUNT)
def test_a_count_that_is_none_makes_the_usage_unknown(name, value):
    assert usage_of({**gemini_server.USAGE, name: value})["unknown"]


@given(st.dictionaries(st.sampled_from(COUNTS), NO_COUNT | st.integers(0, 2000)))
def test_the_cost_of_any_usage_is_a_finite_sum_from_zero_up(told):
    assert 0 <= price_of("gemini-nano-banana-2.1").cost(usage_of(told), 1) < 50


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
    with pytest.raises(UserError, match=f"not accepted by model '{model}' takes"):
        check_options(model, **wrong)


def test_the_live_model_takes_fourteen_shapes_three_sizes_and_three_levels():
    listed = read_yaml(PRICES)["models"]["gemini-nano-banana-2.1"]
    assert len(listed["ratios"]) == 14
    for ratio in listed["ratios"]:
        for size, level in (("1K", "minimal"), ("2K", "medium"), ("4K", "high")):
            check_options("gemini-nano-banana-2.1", size, ratio, level)
    check_options("gemini-3.1-flash-image", "512")
    check_options("a model of another list", "512", "7:5", "high")


def test_a_model_that_is_closed_is_told_with_its_substitute():
    said = standing("gemini-2.5-flash-image")
    assert "2026-09-18" in said and "gemini-nano-banana-2.1" in said and "not the paper's model" in said
    assert standing("gemini-nano-banana-2.1") == "" and standing("another") == ""
