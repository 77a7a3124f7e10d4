"""`params/editing_slides.yaml` from pictures to report, every service a local server that speaks its protocol.

Each answers with the picture that it was sent, coded again at a size of its own, refuses, or tells only words.
"""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from image_models import gemini_server
from image_models.gemini_server import Call, Reply
from image_models.services_fixture import SECRETS, endpoints
from image_models.services_server import OPENAI, Asked, ServicesServer, picture
from PIL import Image

from nbhelpers.image_models.ledger import replay
from nbhelpers.runs import parameters, tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TASKS = ["take_off_pacemaker", "leave_as_it_is"]
TINY = {"editing_tasks": TASKS, "editing_pictures": 1, "editing_size": 256, "editing_chains": 1, "n_resamples": 50}
TINY |= {"editing_judge": {"provider": "openai", "model": "seer-1", "price_usd": 0.01}}


def coded(data: bytes, side: int, kind: str) -> bytes:
    """A picture at another size and in another format."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((side, side)).save(buffer, kind)
    return buffer.getvalue()


def gemini(call: Call) -> Reply:
    if call.model == "gemini-3-pro-image":
        return gemini_server.REPLIES["text only"][0](call.prompt)
    part = next(part for part in call.body["contents"][0]["parts"] if "inlineData" in part)
    sent = part["inlineData"]["data"].translate(str.maketrans("-_", "+/"))
    data = coded(base64.b64decode(sent + "=" * (-len(sent) % 4)), 1024, "PNG")
    return Reply(body=gemini_server.body(gemini_server.image_body(data)))


def openai(asked: Asked) -> Reply:
    if "exactly as it is, pixel by pixel. Change nothing" in asked.prompt:
        return OPENAI["400 moderation"][0](asked.prompt)
    return Reply(body=picture(asked.prompt, data=coded(asked.files["image"][2], 1024, "JPEG")))


def ark(asked: Asked) -> Reply:
    sent = base64.b64decode(asked.fields["image"].partition(",")[2])
    return Reply(body=picture(asked.prompt, {"generated_images": 1}, coded(sent, 2048, "JPEG")))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ServicesServer, str]:
    """The executed run's folder, the server, and what the pipeline told."""
    folder = tmp_path_factory.mktemp("slides")
    values = parameters.read_yaml(parameters.ROOT / "params" / "editing_slides.yaml") | TINY
    (folder / "slides.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    with ServicesServer() as server:
        server.script, server.scripts = gemini, {"openai": openai, "ark": ark}
        environment = os.environ | endpoints(server.url) | SECRETS | {"NBHELPERS_OUTPUTS": str(folder / "outputs")}
        environment.pop("GOOGLE_API_KEY", None)
        done = subprocess.run(
            [sys.executable, "-m", "nbhelpers", "run", str(folder / "slides.yaml")],
            cwd=parameters.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=800,
        )
    assert done.returncode == 0, done.stdout
    return folder / "outputs" / values["run"], server, done.stdout


@pytest.fixture(scope="module")
def edits(run: tuple[Path, ServicesServer, str]) -> pd.DataFrame:
    return tables.read_table(run[0] / "06_image_editing" / "edits.csv", "edits")


def test_every_system_of_the_slides_has_its_row_for_every_edit(edits: pd.DataFrame) -> None:
    wanted = parameters.read_yaml(parameters.ROOT / "params" / "editing_slides.yaml")["editors"]
    assert set(edits["editor"]) == set(wanted) and len(edits) == len(wanted) * len(TASKS)
    gone = edits[edits["editor"].isin(["gemini_2_flash", "step1x_edit"])]
    assert set(gone["answer_kind"]) == {"no_answer"} and gone["detail"].str.len().gt(10).all()


def test_answers_are_of_the_kind_and_size_that_came(edits: pd.DataFrame) -> None:
    kinds = edits.set_index(["editor", "task"])["answer_kind"]
    assert (kinds["nano_banana_pro"] == "text_only").all()
    assert kinds["gpt_image", "leave_as_it_is"] == "refused"
    assert kinds["gpt_image", "take_off_pacemaker"] in ("edited", "unchanged")
    sizes = edits.dropna(subset=["width"]).groupby("editor")["width"].unique()
    assert sizes["seed"].tolist() == [2048] and sizes["gpt_image"].tolist() == [1024]
    asked = edits.set_index("editor")["width_asked"].dropna()
    assert set(asked.loc[["seed", "gpt_image"]]) == {1024}
    echoed = edits[(edits["editor"] == "seed") & (edits["task"] == "leave_as_it_is")].iloc[0]
    assert echoed["psnr_outside"] > 35, "what was sent is cut back to its place"


def test_what_was_billed_is_what_the_ledger_holds(run: tuple[Path, ServicesServer, str], edits: pd.DataFrame) -> None:
    folder, server, _ = run
    billed = sum(server.billed.values())
    kinds = [replay(path)[0].values() for path in folder.rglob("ledger.jsonl")]
    assert sum(entry.outcomes["ok"] for entries in kinds for entry in entries) == billed > 10
    assert edits["cost_usd"].sum() > 0 and np.isfinite(edits["cost_usd"].dropna()).all()


def test_every_picture_that_came_is_judged_and_only_where_a_judge_is_named(
    run: tuple[Path, ServicesServer, str], edits: pd.DataFrame
) -> None:
    folder, server, _ = run
    came = edits["answer_kind"].isin(["edited", "unchanged", "draft_only"])
    assert (edits.loc[came, "judge_answer"] == "judged").all() and edits.loc[~came, "judge_answer"].isna().all()
    assert edits.loc[came, "judge_overall"].to_numpy() == pytest.approx(24**0.5)
    overall = pd.read_csv(folder / "06_image_editing" / "overall.csv")
    assert (
        {"judge_overall", "judge_overall_low"} <= set(overall) and "lpips" not in overall and "clip_image" not in edits
    )
    assert server.billed["openai chat"] <= came.sum(), "equal pictures are judged once"


def test_no_key_is_in_anything_that_the_run_wrote(run: tuple[Path, ServicesServer, str]) -> None:
    folder, _, told = run
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".html" for path in files) and any(path.suffix == ".ipynb" for path in files)
    for secret in SECRETS.values():
        assert secret not in told
        assert not [path for path in files if secret.encode() in path.read_bytes()]
