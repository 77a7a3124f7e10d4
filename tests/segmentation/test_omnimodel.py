"""The omnimodel's routes: the stand-in, and Gemini over its protocol: each kind of answer, paid once, resumed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from image_models.gemini_fixture import key, serve  # noqa: F401
from image_models.gemini_server import REPLIES, Call, GeminiServer, Reply, body, finish, image_body, quota
from image_models.services_server import OPENAI, Asked, ServicesServer, picture
from PIL import Image
from segmentation.segmentation_fixture import photo, written_set

from nbhelpers.errors import UserError
from nbhelpers.image_models.geometry import RATIOS, padded, squared
from nbhelpers.image_models.ledger import replay, spent
from nbhelpers.metrics.overlap import dice
from nbhelpers.runs import parameters
from nbhelpers.segmentation import evaluation, omnimodel
from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import SegmentationSet

PARAMETERS = {
    "gemini_concurrency": 3,
    "gemini_requests_per_minute": 0,
    "gemini_budget_usd": 100.0,
    "gemini_attempts": 2,
    "send_patient_films_to": ["gemini"],
}
pytestmark = pytest.mark.usefixtures("key")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbhelpers.image_models.online.LONGEST_PAUSE_S", 0.01)


def request_image(call: Call) -> np.ndarray:
    """The picture that a request brought: all that the server may draw from."""
    parts = call.body["contents"][0]["parts"]
    data = next(part["inlineData"]["data"] for part in parts if "inlineData" in part)
    data += "=" * (-len(data) % 4)
    return np.asarray(Image.open(io.BytesIO(base64.urlsafe_b64decode(data))).convert("RGB"))


def guess(picture: np.ndarray) -> np.ndarray:
    """A fixed blur and threshold: a mask that knows no truth, bool."""
    gray = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 4)
    return gray > np.quantile(gray, 0.8)


def drawn(call: Call, kind: str = "mask") -> bytes:
    picture = request_image(call)
    mask = guess(picture)
    pictures = {"inverted": np.dstack([~mask] * 3) * np.uint8(255), "unchanged": picture}
    pictures["coloured"] = np.dstack([mask * np.uint8(230), mask * np.uint8(20), mask * np.uint8(20)])
    pictures["empty"] = np.zeros_like(picture)
    contours = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    pictures["outline"] = cv2.drawContours(np.zeros_like(picture), contours, -1, (255, 255, 255), 1)
    pictures["legend"] = np.dstack([guess(picture) * np.uint8(255)] * 3)
    pictures["legend"][-14:, :40] = 0
    for place in range(2, 32, 5):
        pictures["legend"][-8:-4, place : place + 3] = 255
    pictures["overlay"] = np.where(mask[..., None], picture * 0.3 + np.array([0, 178, 0]), picture).astype(np.uint8)
    size = RATIOS[call.body["generationConfig"]["imageConfig"]["aspectRatio"]]
    values = cv2.resize(pictures.get(kind, np.dstack([mask] * 3) * np.uint8(255)), size, interpolation=cv2.INTER_LINEAR)
    buffer = io.BytesIO()
    if kind == "jpeg":
        Image.fromarray(cv2.GaussianBlur(values, (0, 0), 3)).save(buffer, "JPEG", quality=75)
    else:
        Image.fromarray(values).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def by_case(
    found: SegmentationSet, kinds: dict[str, str], reply: Callable[[Call, str], Reply]
) -> Callable[[Call], Reply]:
    """A script that answers by case, which it knows by the picture alone."""
    known = {hashlib.sha256(found.image(case).tobytes()).hexdigest(): case["case"] for case in found.part("test")}

    def script(call: Call) -> Reply:
        picture = np.ascontiguousarray(request_image(call)[:96, :96])
        return reply(call, kinds.get(known[hashlib.sha256(picture.tobytes()).hexdigest()], "mask"))

    return script


def picture_reply(call: Call, kind: str) -> Reply:
    if kind in REPLIES:
        return REPLIES[kind][0](call.prompt)
    if kind == "draft alone":
        whole = image_body(drawn(call))
        whole["candidates"][0]["content"]["parts"][0]["thought"] = True
        return Reply(body=body(whole))
    if kind == "draft first":
        whole = image_body(drawn(call, "inverted"))
        parts = whole["candidates"][0]["content"]["parts"]
        parts[0]["thought"] = True
        parts += image_body(drawn(call))["candidates"][0]["content"]["parts"]
        return Reply(body=body(whole))
    return Reply(body=body(image_body(drawn(call, kind))))


def asked(found: SegmentationSet, folder: Path, **more: Any) -> Answers:
    return omnimodel.answer(found, more.pop("spec", "gemini"), folder, PARAMETERS | more)


KINDS = {
    "c00": ("empty", "empty"),  # nothing is there
    "c01": ("jpeg", "mask"),
    "c02": ("inverted", "inverted"),
    "c03": ("coloured", "coloured"),
    "c04": ("overlay", "overlay"),
    "c05": ("unchanged", "unchanged"),
    "c06": ("text only", "text_only"),
    "c07": ("prompt blocked", "refused"),
    "c08": ("empty candidates", "missing"),
    "c09": ("draft first", "mask"),
    "c10": ("draft alone", "draft_only"),
    "c11": ("empty", "empty"),
    "c12": ("outline", "outline"),
    "c13": ("legend", "legend"),
    "c14": ("mask", "mask"),
}


def test_each_kind_of_answer_ends_as_it_must(tmp_path: Path, serve: Callable[..., GeminiServer]) -> None:  # noqa: F811
    found = written_set(tmp_path / "d", len(KINDS), empty=(0,))
    serve(by_case(found, {case: given for case, (given, _) in KINDS.items()}, picture_reply))
    made = asked(found, tmp_path / "s")
    assert made.kinds == {case: kind for case, (_, kind) in KINDS.items()}
    assert made.title.startswith("gemini-"), "the id that answered"
    scores = evaluation.score_table({"d": found}, {"d": [made]}, [127, 240], 127).set_index(
        ["model", "case", "threshold"]
    )
    for case, (_, kind) in KINDS.items():
        row = scores.loc["omnimodel", case, 127]
        if kind in ("text_only", "refused", "missing"):
            assert row["dice"] == 0 and row["hd95_share"] == 1
    assert scores.loc["omnimodel", "c00", 127]["dice"] == 1 and scores.loc["omnimodel", "c11", 127]["dice"] == 0
    assert scores.loc["omnimodel", "c11", 127]["empty_mask"] and scores.loc["omnimodel", "c11", 127]["hd95_share"] == 1
    draft = scores.loc["omnimodel", "c10", 127]["dice"]
    assert 0 < draft == pytest.approx(dice(made.read("c10", (96, 96)) > 127, found.truth(found.part("test")[10])))
    table = evaluation.overall_table(scores.reset_index(), 127, 50).set_index("model").loc["omnimodel"]
    counted = [case for case, (_, kind) in KINDS.items() if kind not in ("text_only", "refused", "missing")]
    values = scores.loc["omnimodel"].xs(127, level="threshold")["dice"]
    assert table["dice"] == pytest.approx(values.mean()), "a draft is scored, since no other picture came"
    assert table["answered"] == 11 and table["dice_answered"] == pytest.approx(
        values[[case for case in counted if case != "c10"]].mean()
    ), "and is left out where only answers count"
    soft = [scores.loc["omnimodel", "c01", level]["dice"] for level in (127, 240)]
    assert soft[0] != soft[1], "a soft edge is read differently above 240"
    wanted = guess(found.image(found.part("test")[1]))
    assert ((made.read("c01", (96, 96)) > 127) == wanted).mean() > 0.97, "geometry is undone"


def test_a_second_run_asks_for_nothing_and_a_kill_half_way_only_for_the_rest(
    tmp_path: Path,
    serve: Callable[..., GeminiServer],  # noqa: F811
) -> None:
    found = written_set(tmp_path / "d", 6)
    faults = iter(["429", "drop"])

    def script(call: Call) -> Reply:
        fault = next(faults, "")
        good = Reply(body=body(image_body(drawn(call))))
        return Reply(429, quota("0.02s")) if fault == "429" else Reply(body=good.body, fault=fault)

    first = serve(script)
    part = SegmentationSet(found.name, found.title, found.target, found.cases.iloc[:3], found.root)
    asked(part, tmp_path / "s")  # what a killed run had got
    assert len(first.calls) == 5, "three answers, one refused for now, one lost on the way"
    second = serve(lambda call: Reply(body=body(image_body(drawn(call)))))
    made = asked(found, tmp_path / "s")
    assert len(second.calls) == 3
    table = evaluation.score_table({"d": found}, {"d": [made]}, [127])
    third = serve()
    again = asked(found, tmp_path / "s")
    assert third.calls == [] and again.kinds == made.kinds
    assert evaluation.score_table({"d": found}, {"d": [again]}, [127]).equals(table)
    entries, events, _ = replay(tmp_path / "s/gemini/ledger.jsonl")
    assert len(entries) == 6 and all(entry.ok for entry in entries.values()) and spent(entries.values(), events) > 0


WORKER = """
import sys
from pathlib import Path
from segmentation.segmentation_fixture import written_set
from nbhelpers.segmentation import omnimodel
root = Path(sys.argv[1])
wanted = {"gemini_concurrency": 2, "gemini_requests_per_minute": 0, "send_patient_films_to": ["gemini"]}
omnimodel.answer(written_set(root / "d", 8), "gemini", root / "s", wanted | {"gemini_budget_usd": 100.0})
"""


def test_a_process_killed_half_way_is_resumed_with_the_same_table(
    tmp_path: Path,
    serve: Callable[..., GeminiServer],  # noqa: F811
) -> None:
    found = written_set(tmp_path / "d", 8)
    server = serve(lambda call: Reply(body=body(image_body(drawn(call))), delay=0.1))
    paths = os.pathsep.join(map(str, (Path(__file__).parents[1], parameters.ROOT)))
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], env=os.environ | {"PYTHONPATH": paths})
    limit = time.monotonic() + 120
    while len(list(tmp_path.glob("s/gemini/images/[!.]*"))) < 3 and time.monotonic() < limit:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before, held = len(server.calls), len(list(tmp_path.glob("s/gemini/images/[!.]*")))
    assert 3 <= held < 8, "killed half-way"
    tables = [evaluation.score_table({"d": found}, {"d": [asked(found, tmp_path / at)]}, [127]) for at in ("s", "t")]
    assert tables[0].equals(tables[1]), "as if nothing had happened"
    assert len(server.calls) - before == (8 - held) + 8, "what had come is not asked for again"
    entries, _, _ = replay(tmp_path / "s/gemini/ledger.jsonl")
    assert [entry.outcomes["ok"] for entry in entries.values()] == [1] * 8


def test_answers_that_may_still_come_stop_the_run_unless_told_to_go_on(
    tmp_path: Path,
    serve: Callable[..., GeminiServer],  # noqa: F811
) -> None:
    found = written_set(tmp_path / "d", 3)
    serve(by_case(found, {"c01": "500"}, picture_reply))
    with pytest.raises(UserError, match="1 answers are still missing"):
        asked(found, tmp_path / "s")
    made = asked(found, tmp_path / "s", gemini_partial=True)
    assert made.kinds["c01"] == "refused" and made.kinds["c00"] == "mask"


def test_the_budget_is_kept_and_no_key_is_found_before_anything_is_sent(
    tmp_path: Path,
    serve: Callable[..., GeminiServer],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = written_set(tmp_path / "d", 3)
    server = serve()
    with pytest.raises(UserError, match="budget"):
        asked(found, tmp_path / "s", gemini_budget_usd=0.05)
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(UserError, match="no API key"):
        asked(found, tmp_path / "s")
    assert server.calls == []


def test_the_json_route_sends_no_image_options_and_reads_boxes(
    tmp_path: Path,
    serve: Callable[..., GeminiServer],  # noqa: F811
) -> None:
    found = written_set(tmp_path / "d", 4)
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(buffer, "PNG")
    mask = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    texts = {
        "mask": "```json\n" + json.dumps([{"box_2d": [250, 250, 500, 750], "mask": mask, "label": "x"}]) + "\n```",
        "none": "[]",
        "codes": json.dumps([{"box_2d": [1, 1, 9, 9], "mask": "<start_of_mask><seg_35>", "label": "x"}]),
        "words": "I cannot do that.",
    }
    kinds = {"c01": "none", "c02": "codes", "c03": "words"}
    reply = by_case(found, kinds, lambda call, kind: Reply(body=body(finish("STOP", parts=[{"text": texts[kind]}]))))
    server = serve(reply)
    more = {"spec": "gemini_json", "gemini_model": "gemini-2.5-flash", "gemini_price_usd": 0.002}
    made = asked(found, tmp_path / "s", **more)
    assert made.kinds == {"c00": "mask", "c01": "empty", "c02": "unreadable", "c03": "text_only"}
    inside = made.read("c00", (96, 96)) > 127
    assert inside[24:48, 24:72].all() and inside.sum() == 24 * 48
    sent = server.calls[0].body["generationConfig"]
    assert sent["responseModalities"] == ["TEXT"] and list(sent["thinkingConfig"].values()) == [0]
    assert sent["maxOutputTokens"] == 8192 and "imageConfig" not in sent
    assert len(asked(found, tmp_path / "s", **more).kinds) == 4 and len(server.calls) == 4, "paid once"


def test_the_stand_in_draws_from_the_request_alone_and_says_what_it_is(tmp_path: Path) -> None:
    found = written_set(tmp_path, 4)
    made = omnimodel.answer(found, "stand_in", tmp_path / "s", {})
    assert "no omnimodel" in made.title and set(made.kinds) == {case["case"] for case in found.part("test")}
    before = [made.read(case["case"], (96, 96)) for case in found.part("test")]
    for path in (tmp_path / "masks").iterdir():
        path.unlink()  # it has no truth to look at
    again = omnimodel.answer(found, "stand_in", tmp_path / "t", {})
    after = [again.read(case["case"], (96, 96)) for case in found.part("test")]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_the_stand_in_draws_at_a_size_that_image_models_return() -> None:
    drawn = omnimodel.stand_in(padded(photo(shape=(288, 384)))[0])
    assert drawn.shape == (864, 1184, 3)
    assert np.unique(drawn).size > 10 and (drawn > 127).any(), "a soft edge, as JPEG leaves it"


def test_an_inverted_answer_is_turned_only_where_that_was_said_before(tmp_path: Path) -> None:
    found = written_set(tmp_path, 1)
    case = found.part("test")[0]
    truth = found.truth(case)
    drawn = np.dstack([(~truth).astype(np.uint8) * 255] * 3)
    made = omnimodel.answer(found, "stand_in", tmp_path / "s", {})
    for turn in (False, True):
        omnimodel.keep(made, found, turn, case, padded(drawn)[0])
        assert made.kinds[case["case"]] == "inverted"
        assert ((made.read(case["case"], truth.shape) > 127) == (truth if turn else ~truth)).mean() > 0.99


def test_each_target_has_a_prompt_and_ones_own_goes_first(tmp_path: Path, serve: Callable[..., GeminiServer]) -> None:  # noqa: F811
    found = written_set(tmp_path / "d", 1, target="polyp")
    server = serve(lambda call: Reply(body=body(image_body(drawn(call)))))
    for number, own in enumerate((None, "Mine.")):
        asked(found, tmp_path / str(number), mask_prompt=own)
    assert "polyp" in server.calls[0].prompt and server.calls[1].prompt == "Mine."


def test_pictures_of_patients_go_nowhere_that_no_parameter_names(
    tmp_path: Path,
    serve: Callable[..., GeminiServer],  # noqa: F811
) -> None:
    found, server = written_set(tmp_path / "d", 2), serve()
    for spec in ("gemini", "gemini_json"):
        with pytest.raises(UserError, match=r"send_patient_films_to: \[gemini\]"):
            asked(found, tmp_path / "s", spec=spec, send_patient_films_to=[])
    assert server.calls == [] and not (tmp_path / "s").exists()
    omnimodel.check_sending("gemini", "simulated_lungs", [])  # nobody stands behind these
    omnimodel.check_sending("stand_in", "busi", [])


def test_an_unknown_omnimodel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'stand_in'"):
        omnimodel.answer(written_set(tmp_path, 1), "standin", tmp_path, {})


def test_any_editor_of_notebook_06_draws_masks(tmp_path: Path, services: ServicesServer) -> None:
    found = written_set(tmp_path / "d", 4)
    images = {png_of(squared(found.image(case))): case["case"] for case in found.part("test")}

    def script(sent: Asked) -> Reply:
        case = images[png_of(np.asarray(Image.open(io.BytesIO(sent.files["image"][2]))))]
        if case == "c03":
            return OPENAI["400 moderation"][0](sent.prompt)
        square = np.asarray(Image.open(io.BytesIO(sent.files["image"][2])).convert("RGB"))
        return Reply(body=picture(sent.prompt, data=png_of(np.dstack([guess(square).astype(np.uint8) * 255] * 3))))

    services.scripts["openai"] = script
    editors = {"gpt": {"provider": "openai", "model": "gpt-image-2", "quality": "low", "attempts": 1}}
    values = PARAMETERS | {"editors": editors, "editing_budget_usd": 1.0, "send_patient_films_to": ["openai"]}
    with pytest.raises(UserError, match=r"send_patient_films_to: \[gemini, openai\]"):
        omnimodel.check_sending("editor:gpt", "busi", ["gemini"], values)
    with pytest.raises(UserError, match="did you mean 'gpt'"):
        omnimodel.answer(found, "editor:gpd", tmp_path / "s", values)
    made = omnimodel.answer(found, "editor:gpt", tmp_path / "s", values)
    assert made.kinds == {"c00": "mask", "c01": "mask", "c02": "mask", "c03": "refused"} and made.title == "gpt-image-2"
    for case in found.part("test")[:3]:
        wanted = guess(squared(found.image(case)))[: found.image(case).shape[0], : found.image(case).shape[1]]
        assert ((made.read(case["case"], wanted.shape) > 127) == wanted).mean() > 0.999
    again = omnimodel.answer(found, "editor:gpt", tmp_path / "s", values)
    assert len(services.asked) == 4 and again.kinds == made.kinds


def png_of(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
