"""A service by its name and settings."""

import pytest
from image_models.services_fixture import service

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import SERVICES
from nbhelpers.image_models.services.registry import deciding, make_service, options_of


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_made_from_its_settings(name):
    model = {"gemini": "gemini-3-pro-image", "openai": "gpt-image-2", "ark": "seedream-5-0-260128", "bfl": "flux-2-max"}
    asked = service(name, model=model[name], concurrency=2)
    assert asked.model == model[name] and asked.terms.concurrency == 2 and asked.price.usd_per_image > 0
    with pytest.raises(UserError, match="no model is named"):
        service(name)


def test_settings_that_decide_an_answer_are_all_but_how_it_is_asked_and_paid():
    own = {name: default for name, (_, default) in options_of("openai").items()}
    assert deciding(own) == {}, "what is not set is left out"
    assert deciding(own | {"size": 1024, "quality": "low", "price_usd": 0.1, "attempts": 9, "model": "x"}) == {
        **{"size": 1024, "quality": "low"}
    }


def test_what_a_gemini_model_does_not_take_is_refused():
    own = {name: default for name, (_, default) in options_of("gemini").items()}
    with pytest.raises(UserError, match=r"^image_size = '4K' is not accepted by model"):
        make_service("gemini", own | {"model": "gemini-2.5-flash-image", "image_size": "4K"})
    with pytest.raises(UserError, match="or set price_usd to"):
        make_service("gemini", own | {"model": "gemini-9"})
