"""Several services bought from at the same time: stops, defects, one run for all."""

import os
import signal
import time

import pytest
from image_models import gemini_server
from image_models.gemini_server import Reply
from image_models.services_fixture import service
from image_models.services_server import OPENAI, fault, picture

from nbhelpers.errors import UserError
from nbhelpers.image_models.buying import buy, opened
from nbhelpers.image_models.ledger import image_key, replay
from nbhelpers.image_models.prices import Price
from nbhelpers.image_models.purchases import Row


def rows(asked, n):
    prompts = [f"film {number}" for number in range(n)]
    keys = [image_key(asked.model, asked.name, prompt, {}, 0) for prompt in prompts]
    return [Row(prompt, prompt, key, 1) for prompt, key in zip(prompts, keys, strict=True)]


def bought(folder, *orders, budget_usd=9.0):
    for asked, _ in orders:
        asked.terms.backoff_s = 0.005
    with opened(folder, [row for _, part in orders for row in part]) as ledger:
        buy(ledger, orders, folder, budget_usd, "image_budget_usd")


def two(n=12, **own):
    openai = service("openai", model="gpt-image-2.5-flare", quality="low", **own)
    ark = service("ark", model="seedream-4-0-250828", **own)
    return (openai, rows(openai, n)), (ark, rows(ark, n))


def test_an_interrupt_stops_all_and_waits_for_what_is_in_flight(services, tmp_path, monkeypatch):
    def script(asked):
        if len(services.asked) == 15:
            os.kill(os.getpid(), signal.SIGINT)
        return Reply(body=picture(asked.prompt), delay=0.3)

    services.scripts |= {"openai": script, "ark": script}
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        bought(tmp_path, *two(n=60, concurrency=3))
    entries = replay(tmp_path / "ledger.jsonl")[0].values()
    assert all(entry.ok and not entry.open for entry in entries) and len(entries) == len(services.asked) < 40
    assert {asked.service for asked in services.asked} == {"openai", "ark"}
    services.scripts.clear()
    bought(tmp_path, *two(n=60))
    assert len(services.asked) == 120, "each was paid once"


def test_a_defect_in_one_stops_no_other_and_is_raised(services, tmp_path):
    first, second = two()
    first[0].read = lambda answer: 1 / 0
    with pytest.raises(ZeroDivisionError):
        bought(tmp_path, first, second)
    assert all(row.state == "ok" for row in second[1])


def test_what_several_services_refuse_is_one_error(services, tmp_path):
    services.scripts["openai"] = lambda asked: Reply(401, fault("invalid_api_key"))
    services.scripts["ark"] = lambda asked: Reply(404, fault("ModelNotFound"))
    with pytest.raises(UserError, match="2 faults") as told:
        bought(tmp_path, *two())
    assert "check OPENAI_API_KEY" in str(told.value) and "withdrawn, closed to this key, or unknown" in str(told.value)


def test_the_estimate_is_that_of_all_together(services, tmp_path):
    first, second = two(n=1)
    first[0].price = second[0].price = Price(0.5)
    with pytest.raises(UserError, match=r"2 images to be generated, about 1\.05 USD") as told:
        bought(tmp_path, first, second, budget_usd=0.9)
    assert not services.asked and told.value.where == "image_budget_usd"
    bought(tmp_path, first, budget_usd=0.9)
    assert len(services.asked) == 1, "alone it fits"


def test_a_service_that_is_slow_holds_up_no_other(services, tmp_path):
    services.scripts["openai"] = lambda asked: Reply(body=picture(asked.prompt), delay=1.0)
    ended = {}
    services.scripts["ark"] = lambda asked: (
        ended.setdefault("ark", []).append(time.monotonic()),
        OPENAI["image"][0]("x"),
    )[1]
    started = time.monotonic()
    bought(tmp_path, *two(n=4, concurrency=4))
    assert max(ended["ark"]) - started < 0.9 < time.monotonic() - started < 4


def test_a_ledger_that_cannot_be_read_whole_is_told_and_stops_nothing(services, tmp_path, capsys):
    bought(tmp_path, two(n=2)[1])
    with open(tmp_path / "ledger.jsonl", "a") as file:
        file.write('{"event": "outc')
    bought(tmp_path, two(n=2)[1])
    assert "line 5 is incomplete" in capsys.readouterr().out and len(services.asked) == 2


def test_gemini_and_others_share_one_run(services, tmp_path):
    services.script = lambda call: gemini_server.ok(call.prompt)
    gemini = service("gemini", model="gemini-2.5-flash-image")
    gemini.name = "gemini"
    bought(tmp_path, (gemini, rows(gemini, 3)), two(n=3)[0])
    assert len(services.calls) == len(services.asked) == 3
