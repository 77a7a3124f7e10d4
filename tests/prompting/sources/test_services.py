"""Sources `openai`, `ark` and `bfl`: the same prompts, one table and ledger as for Gemini."""

import pytest
from image_models.gemini_fixture import design
from image_models.services_fixture import SECRETS, lines_of
from image_models.services_server import OPENAI, Reply, picture, png

from nbhelpers.errors import UserError
from nbhelpers.prompting import costs, drawing

MODELS = {
    "openai": {"model": "gpt-image-2.5-flare", "quality": "medium"},
    "ark": {"model": "seedream-4-0-250828"},
    "bfl": {"model": "flux-2-pro", "size": 1024},
}
ARMS = {name: {"source": name, "crop": "none"} for name in MODELS}


def parameters(**more):
    return {"image_models": MODELS, "image_budget_usd": 5.0, "gemini_partial": False} | more


def test_each_service_draws_the_design_and_a_second_run_buys_nothing(services, tmp_path):
    plan = costs.expected_cost(ARMS, design(4), parameters(), tmp_path).set_index("source")
    assert plan["still_wanted"].tolist() == [4] * 3 and plan.loc["ark", "estimate_usd"] == pytest.approx(4 * 0.0315)
    assert costs.check_affordable(plan.reset_index()).startswith("affordable: ok")
    images = drawing.draw_all(ARMS, design(4), parameters(), tmp_path)
    assert (images["status"] == "ok").all() and len(services.asked) == 12 == len(images)
    assert set(images["model"]) == {own["model"] for own in MODELS.values()} and not images["simulated"].any()
    row = images[(images["source"] == "ark") & (images["image_id"] == "i0001")].iloc[0]
    assert (tmp_path / "ark" / row["path"]).read_bytes() == png("chest radiograph number 1")
    assert row["cost_usd"] == pytest.approx(0.03) and row["size_asked"] == "1024 x 1024" and not row["as_asked"]
    asked = {call.service: call for call in services.asked}
    assert asked["openai"].path.endswith("/generations") and asked["openai"].fields["size"] == "1024x1024"
    assert "input_image" not in asked["bfl"].fields and "image" not in asked["ark"].fields
    again = drawing.draw_all(ARMS, design(4), parameters(), tmp_path)
    assert len(services.asked) == 12 and again["sha256"].tolist() == images["sha256"].tolist()
    table = costs.request_outcomes(images, tmp_path)
    assert table["requests"].sum() == 12 and table["usd"].sum() == pytest.approx(images["cost_usd"].sum(), abs=1e-3)


def test_what_is_refused_is_told_and_what_may_still_come_stops_the_run(services, tmp_path):
    services.scripts["openai"] = lambda call: (
        OPENAI["400 moderation"][0](call.prompt) if "number 1" in call.prompt else Reply(body=picture(call.prompt))
    )
    arms = {"a": ARMS["openai"]}
    images = drawing.draw_all(arms, design(4), parameters(), tmp_path)
    assert images["status"].tolist() == ["ok", "given up: prompt_blocked", "ok", "ok"]
    assert len([line for line in lines_of(tmp_path / "openai") if line.get("outcome") == "prompt_blocked"]) == 3
    services.scripts["openai"] = lambda call: OPENAI["429 no credit"][0](call.prompt)
    images = drawing.draw_all(arms, design(6), parameters(), tmp_path)
    with pytest.raises(UserError, match=r"not yet: quota_day"):
        costs.check_complete(images)


def test_the_key_the_budget_and_the_model_are_asked_for_before_anything_is_sent(services, tmp_path, monkeypatch):
    plan = costs.expected_cost(ARMS, design(4), parameters(image_budget_usd=0.01), tmp_path)
    with pytest.raises(UserError, match="over the budget"):
        costs.check_affordable(plan)
    with pytest.raises(UserError, match="over the budget") as told:
        drawing.draw_all(ARMS, design(4), parameters(image_budget_usd=0.01), tmp_path)
    assert told.value.where == "image_budget_usd"
    with pytest.raises(UserError, match="no model is named"):
        drawing.make_source("openai", {})
    with pytest.raises(UserError, match=r"did you mean 'quality'") as told:
        drawing.make_source("openai", {"image_models": {"openai": {"model": "gpt-image-2", "qualty": "low"}}})
    assert told.value.where == "image_models, openai"
    for name in SECRETS:
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match=r"no API key for Ark"):
        drawing.draw_all({"a": ARMS["ark"]}, design(4), parameters(), tmp_path)
    assert not services.asked
