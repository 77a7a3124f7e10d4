"""Services as editors: one ledger, one budget, each edit bought once, whatever ends the run."""

import io
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_models import gemini_server
from image_models.gemini_server import REPLIES, Reply
from image_models.services_fixture import SECRETS, SPEC, edit, edits, endpoints, lines_of, quick
from image_models.services_server import OPENAI, fault, picture
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.geometry import squared
from nbhelpers.image_models.ledger import Ledger, replay
from nbhelpers.runs import parameters


def made(spec=SPEC, **terms):
    return quick(registry.make_editors(spec, {}), **terms)


def edited(wanted, folder, spec=SPEC, budget_usd=20.0, **terms):
    return registry.edit_all(made(spec, **terms), wanted, folder, budget_usd=budget_usd)


def paid_calls(server):
    return len(server.asked) + len(server.calls)


def only(name, **more):
    return {name: SPEC[name] | more}


def test_every_service_edits_each_picture_once_and_a_second_run_asks_nobody(services, tmp_path):
    wanted = edits(3)
    answers = edited(wanted, tmp_path)
    assert {answer.kind for answer in answers.values()} == {"edited"} and len(answers) == 12
    for answer in answers.values():
        assert answer.image.shape == (40, 56, 3) and (answer.width, answer.height) == (24, 24)
        assert (tmp_path / answer.path).is_file() and answer.seconds > 0 and answer.cost_usd > 0
    assert paid_calls(services) == 12
    again = edited(wanted, tmp_path, budget_usd=0.0)
    assert paid_calls(services) == 12
    assert all((again[key].image == answers[key].image).all() for key in answers)
    assert {key: answer.cost_usd for key, answer in again.items()} == {
        key: one.cost_usd for key, one in answers.items()
    }


def test_a_picture_goes_out_as_a_square_and_comes_back_in_its_place(services, tmp_path):
    one = edit("a", (250, 333), mask=True)

    def echo(asked):
        sent = np.asarray(Image.open(io.BytesIO(asked.files["image"][2])))
        buffer = io.BytesIO()
        Image.fromarray(255 - sent).save(buffer, "PNG")
        return Reply(body=picture("x", data=buffer.getvalue()))

    services.scripts["openai"] = echo
    answer = edited([one], tmp_path, only("gpt"))["gpt", "a"]
    (sent,) = services.asked
    assert sent.fields["size"] == "336x336" and (answer.width_asked, answer.height_asked) == (336, 336)
    assert (np.asarray(Image.open(io.BytesIO(sent.files["image"][2]))) == squared(one.image)).all()
    mask = np.asarray(Image.open(io.BytesIO(sent.files["mask"][2])))
    assert mask.shape == (336, 336, 4) and ((mask[..., 3] == 0)[:250, :333] == one.mask).all(), "transparent: edit here"
    assert (mask[250:, :, 3] == 255).all(), "the margin is kept"
    assert (answer.image == 255 - one.image).all(), "nothing was resampled"


def test_a_size_may_be_set_and_what_comes_is_as_large_as_it_comes(services, tmp_path):
    big = {"size": 1024, "model": "seedream-4-5-251128"}
    answers = edited([edit("a")], tmp_path, only("gpt", size=1024) | only("seed", **big) | only("flux", size=512))
    sizes = {asked.service: asked.fields.get("size") for asked in services.asked}
    assert sizes == {"openai": "1024x1024", "ark": "1936x1936", "bfl": None}
    assert answers["seed", "a"].width_asked == 1936 and answers["seed", "a"].width == 24
    assert answers["flux", "a"].width_asked is None, "none can be asked for"


def test_what_is_no_finished_picture_has_its_kind(services, tmp_path):
    def gemini(call):
        names = {"a": "draft alone", "b": "text only", "c": "image safety", "d": "invalid base64", "e": "no image"}
        return REPLIES[names[call.prompt.split()[1]]][0](call.prompt)

    services.script = gemini
    services.scripts["openai"] = lambda asked: OPENAI["400 moderation"][0](asked.prompt)
    services.flux_states = lambda asked: ["Content Moderated"]
    wanted = [edit(name) for name in "abcde"]
    answers = edited(wanted, tmp_path, {name: SPEC[name] for name in ("nano", "gpt", "flux")}, attempts=1)
    kinds = [answers["nano", name].kind for name in "abcde"]
    assert kinds == ["draft_only", "text_only", "refused", "broken", "refused"]
    assert answers["nano", "a"].image.shape == (40, 56, 3) and answers["nano", "b"].image is None
    assert {answers[editor, "a"].kind for editor in ("gpt", "flux")} == {"refused"}
    assert "moderation_blocked" in answers["gpt", "a"].detail and "Moderated" in answers["flux", "a"].detail
    assert answers["gpt", "a"].cost_usd == 0 and answers["flux", "a"].cost_usd == pytest.approx(0.045)


def test_equal_edits_are_replicates_and_equal_editors_share_what_was_bought(services, tmp_path):
    one = edit("a")
    twice = [one, type(one)("b", one.image, one.instruction, patient=False)]
    answers = edited(twice, tmp_path, only("gpt") | {"same": SPEC["gpt"]})
    assert len(services.asked) == 2 and len({answer.path for answer in answers.values()}) == 2
    assert answers["gpt", "a"].path == answers["same", "a"].path


@pytest.mark.parametrize("change", [{"model": "gpt-image-2"}, {"quality": "low"}, {"size": 128}])
def test_what_decides_an_answer_makes_it_another(change, services, tmp_path):
    edited([edit("a")], tmp_path, only("gpt"))
    edited([edit("a")], tmp_path, only("gpt", **change))
    edited([edit("a", mask=True)], tmp_path, only("gpt"))
    edited([edit("a")], tmp_path, only("gpt", deadline_s=99.0, concurrency=2, price_usd=0.5))
    assert len(services.asked) == 3


def test_plans_send_and_write_nothing_and_need_no_key(services, tmp_path, monkeypatch):
    for name in SECRETS:
        monkeypatch.delenv(name)
    plan = registry.plan_all(made(), edits(2), tmp_path / "e").set_index("editor")
    assert plan["still_wanted"].tolist() == [2] * 4 and (plan["price_list"] == "2026-11-26").all()
    assert plan.loc["seed", "estimate_usd"] == pytest.approx(2 * 0.03 * 1.05)
    assert paid_calls(services) == 0 and not (tmp_path / "e").exists()


def test_no_key_or_no_budget_is_one_error_before_anything_is_sent(services, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"8 images to be generated.*over the budget: 0\.10 USD") as told:
        edited(edits(2), tmp_path, budget_usd=0.1)
    assert told.value.where == "editing_budget_usd"
    for name in ("ARK_API_KEY", "BFL_API_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(UserError, match="2 faults") as told:
        edited(edits(2), tmp_path)
    assert "ARK_API_KEY" in str(told.value) and "BFL_API_KEY" in str(told.value)
    monkeypatch.setenv("OPENAI_BASE_URL", "no address")
    with pytest.raises(UserError, match="endpoint is no web address"):
        edited(edits(2), tmp_path, only("gpt"))
    assert paid_calls(services) == 0


def test_one_budget_holds_for_all_at_once(services, tmp_path):
    services.script = lambda call: Reply(body=gemini_server.ok(call.prompt).body, delay=0.02)
    dear = {"input_tokens": 100, "output_tokens": 4000}  # twice what the list says
    services.scripts["openai"] = lambda asked: Reply(body=picture(asked.prompt, dear), delay=0.02)
    services.scripts["ark"] = lambda asked: Reply(body=picture(asked.prompt), delay=0.02)
    spec = only("gpt", model="gpt-image-2") | only("nano") | only("seed") | only("flux")
    needed = float(registry.plan_all(made(spec), edits(6), tmp_path)["estimate_usd"].sum())
    with pytest.raises(UserError, match=r"answers are still missing.*\(budget\)"):
        edited(edits(6), tmp_path, spec, budget_usd=needed, concurrency=1)
    with Ledger(tmp_path) as ledger:
        # What was in flight when the first dear one came may pass it, and no more.
        assert 0.8 * needed < ledger.spent() <= needed + 0.07
    before = paid_calls(services)
    edited(edits(6), tmp_path, spec, budget_usd=9.0)
    assert paid_calls(services) == 24 > before


def test_a_service_that_refuses_stops_no_other_and_what_came_is_kept(services, tmp_path):
    services.scripts["openai"] = lambda asked: Reply(401, fault("invalid_api_key", "Incorrect API key provided"))
    with pytest.raises(UserError, match=r"API key is refused.*check OPENAI_API_KEY"):
        edited(edits(4), tmp_path)
    assert Counter(asked.service for asked in services.asked)["ark"] == 4 and len(services.calls) == 4
    services.scripts.clear()
    before = paid_calls(services)
    edited(edits(4), tmp_path)
    assert paid_calls(services) - before == 4, "only what was refused"


def test_no_credit_stops_one_service_at_once_and_is_said(services, tmp_path):
    services.scripts["openai"] = lambda asked: OPENAI["429 no credit"][0](asked.prompt)
    with pytest.raises(
        UserError, match=r"9 answers are still missing, the first gpt/e00\d \(quota_day\).*insufficient_quota"
    ):
        edited(edits(9), tmp_path, concurrency=2)
    assert Counter(asked.service for asked in services.asked) == {"openai": 2, "ark": 9, "bfl": 9}


def test_a_wait_that_one_service_asks_for_holds_up_no_other(services, tmp_path):
    ends = {}

    def slow(asked):
        ends.setdefault(asked.service, []).append(time.monotonic())
        busy = asked.service == "openai" and asked.nth == 0 and asked.prompt.startswith("edit e000")
        return (
            Reply(429, fault("rate_limit_exceeded"), {"Retry-After": "1"})
            if busy
            else Reply(body=picture(asked.prompt))
        )

    services.scripts |= {"openai": slow, "ark": slow}
    edited(edits(6), tmp_path, only("gpt") | only("seed"), concurrency=1)
    assert max(ends["ark"]) < min(ends["openai"]) + 0.9 < max(ends["openai"])


def test_no_key_is_in_what_is_written_shown_or_raised(services, tmp_path, capsys):
    told = " ".join(SECRETS.values())
    services.scripts["openai"] = lambda asked: Reply(403, fault("no", f"not with {told}"))
    services.scripts["ark"] = lambda asked: Reply(body=picture(asked.prompt, model=f"m {told}"))
    services.script = lambda call: Reply(
        body=gemini_server.body(gemini_server.finish("STOP", parts=[{"text": f"I saw {told}"}]))
    )
    services.flux_states = lambda asked: [f"Error {told}"]
    with pytest.raises(UserError) as caught:
        edited(edits(2), tmp_path, attempts=1, deadline_s=1.0)
    shown = str(caught.value) + repr(caught.value) + "".join(capsys.readouterr())
    assert "[key]" in shown
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in SECRETS.values():
        assert secret not in shown and secret.encode() not in files and secret[-10:].encode() not in files


def test_pictures_that_were_changed_since_are_told(services, tmp_path):
    path = edited([edit("a")], tmp_path, only("gpt"))["gpt", "a"].path
    size = (tmp_path / path).stat().st_size
    (tmp_path / path).write_bytes(b"x" * size)
    assert edited([edit("a")], tmp_path, only("gpt"))["gpt", "a"].kind == "broken"


def test_a_setting_that_a_service_does_not_have_and_a_model_without_a_price_are_told():
    with pytest.raises(UserError, match="6 faults") as told:
        spec = {"a": {"provider": "bfl", "model": "flux-2-pro", "quality": "low"}, "b": {"provider": "openai"}}
        spec |= {"c": {"provider": "ark", "model": "seedream-9"}, "d": only("gpt", size=1000)["gpt"]}
        spec |= {"e": only("gpt", quality="xhigh")["gpt"], "f": only("nano", image_size="4K")["nano"]}
        registry.make_editors(spec, {})
    said = str(told.value)
    for part in ("unknown setting 'quality'", "no model is named", "set price_usd", "size = 1000", "'xhigh'", "'4K'"):
        assert part in said, part
    (own,) = registry.make_editors({"c": {"provider": "ark", "model": "seedream-9", "price_usd": 0.05}}, {})
    assert own.asked.price.usd_per_image == 0.05


WORKER = textwrap.dedent("""
    import sys
    from collections import Counter
    from image_models.services_fixture import SPEC, edits, quick
    from nbhelpers.image_models.editors import registry
    from nbhelpers.image_models.services import bfl
    bfl.POLL_S = 0.01
    editors = quick(registry.make_editors(SPEC, {}), concurrency=6, attempts=50)
    answers = registry.edit_all(editors, edits(24), sys.argv[1], budget_usd=60.0)
    print(Counter(answer.kind for answer in answers.values()))
""")


def _answer(chance, names, replies, asked):
    """Three of ten are faults; the rest are pictures, after a moment."""
    if chance.random() < 0.3:
        reply = replies[chance.choice(names)][0](asked.prompt)
        return Reply(reply.status, reply.body, reply.headers, 0.02, reply.fault)
    return None


@pytest.mark.slow
def test_three_kills_and_thirty_percent_faults_over_all_services_lose_and_double_nothing(services, tmp_path):
    chance = random.Random(5)
    shared = ["html with 200", "base64 cut short", "429 with Retry-After", "500", "dropped body", "empty object"]
    both = [*shared, "409", "reset", "400 moderation", "error with 200"]
    for name in ("openai", "ark"):
        services.scripts[name] = lambda asked: (
            _answer(chance, both, OPENAI, asked) or Reply(body=picture(asked.prompt), delay=0.05)
        )
    gemini = ["html with 200", "base64 cut short", "429 with RetryInfo", "503", "dropped body", "text only"]
    services.script = lambda call: _answer(chance, gemini, REPLIES, call) or gemini_server.ok(call.prompt, delay=0.05)
    flux = {"500": OPENAI["500"], "429 bare": OPENAI["429 bare"]}
    services.scripts["bfl"] = lambda asked: _answer(chance, [*flux], flux, asked) or Reply(delay=0.02)
    services.flux_states = lambda asked: ["Pending", chance.choice(["Ready"] * 8 + ["Content Moderated", "Error"])]
    services.looked = lambda what, count: Reply(fault="reset") if chance.random() < 0.1 else None
    folder = tmp_path / "e"
    paths = os.pathsep.join(map(str, (Path(__file__).parents[2], parameters.ROOT)))
    environment = os.environ | endpoints(services.url) | {"PYTHONPATH": paths}
    output = b""
    for pictures in (15, 35, 60, None):
        held = {line["key"] for line in lines_of(folder) if line.get("outcome") == "ok"} if folder.exists() else set()
        before = len(lines_of(folder)) if folder.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if pictures is not None:
            limit = time.monotonic() + 120
            while len(list(folder.glob("images/[!.]*"))) < pictures and time.monotonic() < limit:
                assert process.poll() is None, process.stdout.read().decode()
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        text = process.communicate(timeout=240)[0]
        output += text
        fresh = lines_of(folder)[before:] if folder.exists() else []
        assert not {line["key"] for line in fresh if line["event"] == "request"} & held, (
            "what had come is not bought again"
        )
    assert process.returncode == 0 and b"Counter({'edited': 96})" in text, output.decode()
    entries, _, _ = replay(folder / "ledger.jsonl")
    assert len(entries) == 96 and all(entry.outcomes["ok"] == 1 for entry in entries.values())
    assert not any(entry.open for entry in entries.values())
    # Every request that a service saw has its line; a line without a request was cut off by a kill, and is `unknown`.
    lines = [line for line in lines_of(folder) if line["event"] == "request"]
    unknown = sum(entry.outcomes["unknown"] for entry in entries.values())
    assert paid_calls(services) <= len(lines) <= paid_calls(services) + unknown and unknown <= 3 * 4 * (6 + 12)
    # What was billed is in the ledger: pictures that came, that cannot be decoded, that were lost on the way, or held.
    kinds = sum((entry.outcomes for entry in entries.values()), Counter())
    ended = sum(kinds[kind] for kind in ("ok", "corrupt", "transport", "unknown", "image_blocked", "no_image"))
    assert kinds["ok"] == 96 <= sum(services.billed.values()) <= ended
    usd = sum(entry.cost_usd for entry in entries.values())
    assert usd >= sum(services.billed[name] * price for name, price in PRICES.items()) * 0.999 and usd <= 60
    for secret in SECRETS.values():
        assert secret.encode() not in output + (folder / "ledger.jsonl").read_bytes()


PRICES = {"gemini": 0.0387, "openai": 0.013, "ark": 0.03, "bfl": 0.045}


def test_an_empty_mask_is_no_hint():
    one = edit("a", mask=True)
    (asked,) = made(only("gpt"))
    empty, none = replace(one, mask=np.zeros_like(one.mask)), replace(one, mask=None)
    with_hint, without, plain = (asked.rows([request])[0] for request in (one, empty, none))
    assert with_hint.mask and not without.mask and without.key == plain.key != with_hint.key
