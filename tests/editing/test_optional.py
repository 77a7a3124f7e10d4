"""Measures of the user's own weights or keys: what they give, what they lack, and that none is there unasked."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from editing import editing_fixture as known
from editing.clip_fixture import tiny_clip
from image_models.gemini_server import REPLIES, Reply
from image_models.services_fixture import SECRETS, endpoints, lines_of
from image_models.services_server import CHAT, SCORES, ServicesServer, words

from nbhelpers.editing import edit, optional, tables
from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.ledger import replay

JUDGE = {"provider": "openai", "model": "seer-1", "price_usd": 0.01}
FASTER = {"deadline_s": 5.0, "attempts": 2}


def asked(**given):
    return known.PARAMETERS | {"device": "cpu"} | given


@pytest.fixture
def pairs():
    pictures = known.few_pictures(number=1)
    return [(pictures[0], pictures[0].target), (pictures[1], pictures[1].image), (pictures[1], None)]


@pytest.fixture
def services(monkeypatch):
    for name in ("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)
    with ServicesServer() as server:
        for name, value in (SECRETS | endpoints(server.url)).items():
            monkeypatch.setenv(name, value)
        yield server


def judge(folder, **given):
    (made,) = optional.measures(asked(editing_judge=JUDGE | FASTER | given), folder)
    made.asked.terms.backoff_s = 0.005
    return made


def test_nothing_is_measured_that_nobody_asked_for():
    assert optional.measures(known.PARAMETERS) == []
    assert optional.measures(asked(editing_lpips=None, editing_clip=None, editing_judge=None)) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"editing_clip": "no/such"}, r"holds no config.json.*editing_clip = no/such"),
        ({"editing_judge": {"provider": "bfl"}}, "unknown provider 'bfl'"),
        ({"editing_judge": {}}, None),
        ({"editing_judge": {"provider": "openai", "model": "x"}}, "set price_usd"),
        ({"editing_judge": JUDGE | {"quality": "low"}}, "unknown setting 'quality'"),
        ({"editing_judge": JUDGE | {"size": 64}}, "unknown setting 'size'"),
        ({"editing_judge": JUDGE}, "no API key for OpenAI"),
    ],
)
def test_what_a_measure_lacks_is_one_error_before_anything_is_paid(given, message, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    checks = edit.wanted(asked(**given))
    wrong = pytest.raises(UserError, match=message) if message else contextlib.nullcontext()
    with wrong:
        [check(*arguments) for check, *arguments in checks]


def test_a_package_that_is_not_there_is_named_with_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(UserError, match=r"needs the package 'lpips'.*\[lpips\]"):
        optional.measures(asked(editing_lpips=str(tmp_path)))


# --- LPIPS


@pytest.mark.skipif(find_spec("lpips") is None, reason="the package lpips is not installed (an extra)")
def test_lpips_is_the_published_sum_over_layers(pairs, tmp_path):
    import lpips
    from torchvision.models import alexnet

    torch.manual_seed(0)
    backbone = alexnet(weights=None).eval()
    torch.save(backbone.state_dict(), tmp_path / "alexnet.pth")
    (made,) = optional.measures(asked(editing_lpips=str(tmp_path / "alexnet.pth")))
    found = made.columns(pairs)["lpips"]
    heads = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).state_dict()
    scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]]).view(2, 1, 3, 1, 1)

    def layers(image):
        x = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 - scale[0]) / scale[1]
        for place, layer in enumerate(backbone.features):
            x = layer(x)
            if place in (1, 4, 7, 9, 11):
                yield x / (x.norm(dim=1, keepdim=True) + 1e-10)

    with torch.inference_mode():
        both = zip(layers(pairs[0][0].image), layers(pairs[0][1]), strict=True)
        expected = sum(((a - b) ** 2 * heads[f"lin{i}.model.1.weight"]).sum(1).mean() for i, (a, b) in enumerate(both))
    assert found[0] == pytest.approx(float(expected), rel=1e-4) and found[0] > 0 == found[1] and np.isnan(found[2])
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    (made,) = optional.measures(asked(editing_lpips=str(tmp_path / "other.pth")))
    with pytest.raises(UserError, match="no weights of AlexNet"):
        made.columns(pairs)
    with pytest.raises(UserError, match="no such file"):
        optional.measures(asked(editing_lpips="no/such.pth"))


# --- CLIP


def test_clip_compares_pictures_and_the_caption_where_there_is_one(pairs, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = tiny_clip(tmp_path)
    (made,) = optional.measures(asked(editing_clip=str(folder)))
    pairs.append((replace(pairs[0][0], caption="x" * 500), pairs[0][1]))
    pairs.append((replace(pairs[0][0], caption=""), pairs[0][1]))
    found = made.columns(pairs)
    model, processor = (getattr(transformers, name).from_pretrained(folder) for name in ("CLIPModel", "CLIPProcessor"))
    one, answer = pairs[0]
    with torch.inference_mode():
        seen = processor(images=[one.image, answer], return_tensors="pt")
        told = processor(text=[one.caption], return_tensors="pt")
        raw = model.visual_projection(model.vision_model(**seen).pooler_output)
        text = model.text_projection(model.text_model(**told).pooler_output)[0]
    cosine = torch.nn.functional.cosine_similarity
    assert found["clip_image"][0] == pytest.approx(float(cosine(raw[0], raw[1], dim=0)), abs=1e-5)
    assert found["clip_text"][0] == pytest.approx(float(cosine(raw[1], text, dim=0)), abs=1e-5) and one.caption
    assert found["clip_image"][1] == pytest.approx(1, abs=1e-5) and np.isnan(found["clip_image"][2])
    assert np.isfinite(found["clip_text"][3]) and np.isnan(found["clip_text"][4]), "no caption, no agreement"
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="CLIP cannot be loaded"):
        made.columns(pairs)


# --- the judge


@pytest.mark.parametrize("provider", ["openai", "ark", "gemini"])
def test_a_judge_sees_both_pictures_and_its_scores_are_viescores(provider, services, pairs, tmp_path):
    services.script = lambda call: Reply(body=_said(json.dumps(SCORES)))
    model = {"model": "gemini-2.5-flash"} if provider == "gemini" else {}
    found = judge(tmp_path, provider=provider, **model).columns(pairs)
    assert found["judge_consistency"][:2] == [6, 6] and found["judge_quality"][:2] == [4, 4]
    assert found["judge_overall"][0] == pytest.approx(24**0.5) and np.isnan(found["judge_overall"][2])
    assert found["judge_answer"] == ["judged", "judged", None] and found["judge_usd"][:2] == [0.01, 0.01]
    paid = len(services.asked) + len(services.calls)
    again = judge(tmp_path, provider=provider, **model).columns(pairs)
    assert again["judge_overall"][:2] == found["judge_overall"][:2]
    assert len(services.asked) + len(services.calls) == paid == 2, "each is paid once"


def _said(text):
    told = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
    return json.dumps({"candidates": [told], "usageMetadata": {"promptTokenCount": 9}}).encode()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Here it is:\n```json\n" + json.dumps(SCORES) + "\n```", "judged"),
        (json.dumps(SCORES | {"followed": 10, "kept": 0}), "judged"),
        (json.dumps(SCORES | {"followed": 11}), "unreadable"),
        (json.dumps(SCORES | {"clean": "8"}), "unreadable"),
        (json.dumps(SCORES | {"clean": True}), "unreadable"),
        (json.dumps({"followed": 8}), "unreadable"),
        (json.dumps(SCORES).replace("8", "NaN"), "unreadable"),
        ("I would rather not say.", "unreadable"),
        ("[" * 5000, "unreadable"),
    ],
)
def test_an_answer_is_checked_and_one_that_cannot_be_read_is_kept_as_that(said, kind, services, pairs, tmp_path):
    services.scripts["openai chat"] = lambda asked: Reply(body=words(said))
    found = judge(tmp_path).columns(pairs[:1])
    assert found["judge_answer"] == [kind] and found["judge_usd"] == [0.01]
    assert np.isnan(found["judge_overall"][0]) == (kind == "unreadable")


def test_a_refusal_is_kept_and_a_fault_of_the_service_is_asked_again(services, pairs, tmp_path):
    services.scripts["openai chat"] = lambda asked: CHAT["a refusal"][0]()
    assert judge(tmp_path / "a").columns(pairs)["judge_answer"] == ["refused", "refused", None]
    replies = {0: "429 bare", 1: "html with 200"}
    services.scripts["openai chat"] = lambda asked: CHAT[replies.get(asked.nth, "words")][0]()
    assert judge(tmp_path / "b").columns(pairs[:1])["judge_answer"] == ["judged"]
    services.scripts["openai chat"] = lambda asked: CHAT["429 no credit"][0]()
    with pytest.raises(UserError, match=r"answers are still missing.*insufficient_quota"):
        judge(tmp_path / "c").columns(pairs)


def test_no_key_of_a_judge_is_in_what_is_written_or_raised(services, pairs, tmp_path):
    told = " ".join(SECRETS.values())
    services.scripts["openai chat"] = lambda asked: Reply(body=words(f"I saw {told}"))
    assert judge(tmp_path).columns(pairs)["judge_answer"][0] == "unreadable"
    services.scripts["openai chat"] = lambda asked: Reply(401, body=words(f"not with {told}"))
    with pytest.raises(UserError) as caught:
        judge(tmp_path, model="other").columns(pairs)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert all(secret not in str(caught.value) and secret.encode() not in files for secret in SECRETS.values())


def test_words_that_a_kill_left_without_their_line_are_not_bought_again(services, pairs, tmp_path):
    judge(tmp_path).columns(pairs[:1])
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    (outcome,) = [line for line in lines if '"outcome"' in line and '"ok"' in line]
    (tmp_path / "ledger.jsonl").write_text("".join(line + "\n" for line in lines if line != outcome))
    facts = {"name": json.loads(outcome)["key"][:32], "facts": {"model_version": "seer-1"}}
    (tmp_path / "arriving").mkdir(exist_ok=True)
    (tmp_path / "arriving" / "1.jsonl").write_text(json.dumps(facts) + "\n")
    assert judge(tmp_path).columns(pairs[:1])["judge_answer"] == ["judged"] and len(services.asked) == 1


# --- with the editors


def test_edits_and_judging_share_one_budget_that_is_checked_before_either_is_paid(services, tmp_path):
    spec = {"gpt": {"provider": "openai", "model": "gpt-image-2.5-flare", "quality": "low"}}
    parameters = asked(editors=spec, editing_judge=JUDGE, editing_budget_usd=0.15)
    pictures, editors = known.few_pictures(number=2), registry.make_editors(spec, {})
    plan = edit.planned(editors, pictures, tmp_path, parameters).set_index("editor")
    assert plan.loc["judge", "edits"] == 6 and plan.loc["judge", "estimate_usd"] == pytest.approx(6 * 0.0105)
    assert "0.06 USD at most" in " ".join(tables.asked(plan.reset_index())["cost"])
    with pytest.raises(UserError, match=r"over the budget: 0\.15 USD"):
        edit.ask_all(editors, pictures, tmp_path, parameters)
    assert not services.asked
    parameters["editing_budget_usd"] = 1.0
    answers = edit.ask_all(editors, pictures, tmp_path, parameters)
    table = edit.edits_table(editors, pictures, answers, *optional.measures(parameters, tmp_path))
    assert (table["judge_answer"] == "judged").all() and len(services.asked) == 12
    overall = tables.overall_table(table.assign(lung_dice=1.0, embedding_similarity=1.0), 20, 0)
    assert overall["judge_overall"].dropna().to_numpy() == pytest.approx(24**0.5)
    assert list(tables.shown(overall, "optional"))[-3:] == [tables.OPTIONAL[name][0] for name in tables.OPTIONAL][-3:]
    assert tables.cost_usd(table) == pytest.approx(
        sum(one.cost_usd for one in replay(tmp_path / "ledger.jsonl")[0].values())
    )
    assert len({line["key"] for line in lines_of(tmp_path) if line["event"] == "request"}) == 12


def test_a_patients_picture_goes_to_no_judge_that_is_not_named(services, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "film.png"), np.full((96, 96), 90, np.uint8))
    (tmp_path / "own.csv").write_text("path,prompt\nfilm.png,x\n")
    given = asked(editors={"nothing": None}, editing_pictures=str(tmp_path / "own.csv"), editing_judge=JUDGE)
    with pytest.raises(UserError, match=r"send_patient_films_to: \[openai\]"):
        [check(*arguments) for check, *arguments in edit.wanted(given)]
    given["send_patient_films_to"] = ["openai"]
    [check(*arguments) for check, *arguments in edit.wanted(given)]
    assert not services.asked and REPLIES
