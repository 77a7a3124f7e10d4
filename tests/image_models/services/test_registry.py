"""A service by its name and settings."""

import pytest
from image_models.services_fixture import SECRETS, service

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import SERVICES
from nbhelpers.image_models.outcomes import Outcome
from nbhelpers.image_models.prices import listed_of
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


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ("401 no such key", r"API key is refused.*check ARK_API_KEY"),
        ("403 not verified", r"API key is refused.*check ARK_API_KEY.*verified organisation"),
        ("404 no model", "withdrawn, closed to this key, or unknown"),
        ("the endpoint cannot be used: x", "ARK_BASE_URL"),
        ("400 odd size", "correct the settings"),
    ],
)
def test_what_no_request_can_mend_is_one_error_that_says_what_to_do(detail, told):
    asked = service("ark", model="seedream-4-0-250828")
    with pytest.raises(UserError, match=told):
        raise asked.stop_message(Outcome("configuration", detail))


def test_the_square_that_can_be_asked_for_is_the_nearest():
    assert service("openai", model="gpt-image-1.5").side(512) == 1024
    assert service("openai", model="gpt-image-2").side(528) == 528
    assert service("ark", model="seedream-4-5-251128").side(1024) == 1936 and listed_of("ark", "x") == {}


def test_a_key_and_an_endpoint_are_looked_for_before_anything_is_paid(services, monkeypatch):
    asked = service("bfl", model="flux-2-pro")
    asked.check()
    monkeypatch.setenv("BFL_BASE_URL", "bfl.ai")
    with pytest.raises(UserError, match="no web address"):
        asked.check()
    monkeypatch.setenv("BFL_API_KEY", f"{SECRETS['BFL_API_KEY']} x")
    with pytest.raises(UserError, match="characters that do not occur in keys"):
        asked.check()
