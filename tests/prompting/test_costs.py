"""What drawing will cost, did cost, and what is missing."""

import numpy as np
import pandas as pd
import pytest
from prompting.images_fixture import table_of

from nbhelpers.errors import UserError
from nbhelpers.image_models.ledger import Ledger
from nbhelpers.prompting import costs

ARMS = {"a": {"source": "gemini", "crop": "none"}, "b": {"source": "simulator", "crop": "none"}}


DESIGN = pd.DataFrame({"image_id": ["a", "b"], "prompt": ["one", "two"], "label": ["normal", "pneumonia"]})


def test_expected_cost_has_a_row_a_source_and_needs_no_key(tmp_path, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    plan = costs.expected_cost(ARMS, DESIGN, {"gemini_budget_usd": 1.0}, tmp_path).set_index("source")
    assert plan.loc["gemini", "still_wanted"] == 2 and 0.07 < plan.loc["gemini", "estimate_usd"] < 0.09
    assert np.isnan(plan.loc["simulator", "usd_per_image"]) and plan.loc["simulator", "images"] == 2
    with pytest.raises(UserError, match="no API key"):
        costs.check_affordable(plan.reset_index())
    monkeypatch.setenv("GEMINI_API_KEY", "k" * 12)
    assert costs.check_affordable(plan.reset_index()) == "affordable: ok (about 0.09 USD for 2 images)"
    poor = costs.expected_cost(ARMS, DESIGN, {"gemini_budget_usd": 0.05}, tmp_path)
    with pytest.raises(UserError, match=r"over the budget: 0\.05 USD"):
        costs.check_affordable(poor)


def test_free_sources_need_neither_key_nor_budget(tmp_path, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    plan = costs.expected_cost({"b": ARMS["b"]}, DESIGN, {}, tmp_path)
    assert costs.check_affordable(plan) == "affordable: ok (about 0.00 USD for 0 images)"


def test_request_outcomes_count_the_ledgers_lines(tmp_path):
    with Ledger(tmp_path / "gemini") as ledger:
        for kind, cost in (("ok", 0.04), ("server", 0.0), ("ok", 0.04), ("corrupt", 0.04)):
            asked = ledger.request("k", 0.05)
            done = {
                "event": "outcome",
                "request_id": asked["request_id"],
                "key": "k",
                "outcome": kind,
                "cost_usd": cost,
            }
            ledger.append(asked, done)
        ledger.append(ledger.request("q", 0.05, batch="b"))
    images = table_of(4, ("gemini", "simulator"))
    told = costs.request_outcomes(images, tmp_path).set_index(["source", "outcome"])
    assert told["requests"].to_dict() == {
        ("gemini", "ok"): 2,
        ("gemini", "corrupt"): 1,
        ("gemini", "server"): 1,
        ("gemini", "waiting"): 1,
        ("simulator", "ok"): 4,
    }
    assert told.loc[("gemini", "ok"), "usd"] == 0.08


def test_missing_images_stop_the_run_only_when_they_may_still_come():
    images = table_of(6)
    assert costs.check_complete(images) == "complete: ok (6 images)"
    given_up = images.assign(status=["ok"] * 5 + ["given up: prompt_blocked"])
    assert costs.check_complete(given_up) == "missing: 1 images (1 x given up: prompt_blocked)"
    not_yet = images.assign(status=["ok"] * 4 + ["not yet: budget"] * 2)
    with pytest.raises(UserError, match=r"2 of 6 images are missing: 2 x not yet: budget.*gemini_partial"):
        costs.check_complete(not_yet)
    assert costs.check_complete(not_yet, partial=True).startswith("missing: 2")
