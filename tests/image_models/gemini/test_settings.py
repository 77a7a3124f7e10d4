"""The `gemini_*` parameters."""

import pytest

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.settings import Settings


def test_other_parameters_of_the_experiment_are_not_taken_for_the_services():
    other = {"image_size": 224, "mode": "x", "model": "resnet50", "attempts": 99, "price_usd": 5.0}
    assert Settings.of(other) == Settings.of({})


def test_a_price_of_the_users_own_goes_before_the_lists():
    listed = Settings.of({"gemini_model": "gemini-3-pro-image", "gemini_image_size": "4K"})
    assert listed.price.usd_per_image == pytest.approx(0.24)
    settings = Settings.of({"gemini_image_size": "4K", "gemini_price_usd": 0.19})
    assert settings.price.cost({"candidatesTokenCount": 5000}, 1) == pytest.approx(0.19, abs=1e-6)


OUT_OF_RANGE = [
    *({"image_size": "512"}, {"thinking": "low"}, {"aspect_ratio": "2:7"}, {"model": "unheard of"}, {"mode": "fast"}),
    *({"concurrency": 0}, {"budget_usd": -1.0}, {"budget_usd": float("nan")}, {"price_usd": -1.0}),
]


@pytest.mark.parametrize("wrong", OUT_OF_RANGE)
def test_parameter_out_of_range_is_a_user_error(wrong):
    with pytest.raises(UserError):
        Settings.of({f"gemini_{name}": value for name, value in wrong.items()})
