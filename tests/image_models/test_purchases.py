"""What is wanted, here and paid: settings, rows against the ledger, budget, images kept."""

import json
from collections import Counter

import pytest
from image_models import gemini_server
from image_models.gemini_fixture import PRICE, design, lines_of, source
from image_models.gemini_server import REPLIES, Reply, ok, png

from nbhelpers.errors import UserError
from nbhelpers.image_models.originals import note_arrival

pytestmark = pytest.mark.usefixtures("key")


def test_estimate_over_the_budget_stops_before_anything_is_sent(serve, tmp_path):
    server = serve()
    with pytest.raises(UserError, match=r"30 images to be generated, about 1\.2. USD, are over the budget: 1\.00 USD"):
        source(budget_usd=1.0).draw(design(30), tmp_path)
    assert not server.calls


def test_budget_counts_the_folders_whole_life(serve, tmp_path):
    serve()
    source(budget_usd=1.0).draw(design(20), tmp_path)
    with pytest.raises(UserError, match="over the budget"):
        source(budget_usd=1.0).draw(design(30), tmp_path)
    assert (source(budget_usd=1.0).draw(design(20), tmp_path)["status"] == "ok").all()


def test_longer_or_reordered_design_reuses_what_was_bought(serve, tmp_path):
    server = serve()
    source().draw(design(10), tmp_path)
    longer = design(16).sample(frac=1, random_state=0).reset_index(drop=True)
    table = source().draw(longer, tmp_path)
    assert len(server.calls) == 16 and (table["status"] == "ok").all()
    by_id = dict(zip(table["image_id"], table["path"], strict=True))
    assert (tmp_path / by_id["i0003"]).read_bytes() == png("chest radiograph number 3")


def test_two_images_of_one_prompt_are_two_purchases(serve, tmp_path):
    server = serve()
    twice = design(2).assign(prompt="the same")
    table = source().draw(twice, tmp_path)
    assert len(server.calls) == 2 and table["path"].nunique() == 2


def test_all_that_was_paid_for_is_kept(serve, tmp_path):
    def script(call):
        if "0" in call.prompt:  # two images in one reply
            reply = gemini_server.image_body(png(call.prompt))
            more = gemini_server.image_body(png("another"))["candidates"][0]["content"]["parts"]
            reply["candidates"][0]["content"]["parts"] += more
            return Reply(body=gemini_server.body(reply))
        data = b"....ftypavif of a later year" if call.nth == 0 else png(call.prompt)
        return Reply(body=gemini_server.body(gemini_server.image_body(data)))

    serve(script)
    table = source().draw(design(2), tmp_path)
    assert (tmp_path / table["path"][0]).read_bytes() == png("chest radiograph number 0")
    kept = {path.read_bytes() for path in tmp_path.glob("spare/*")}
    assert kept == {png("another"), b"....ftypavif of a later year"}
    noted = [path for line in lines_of(tmp_path) for path in line.get("spare", [])]
    assert {(tmp_path / path).read_bytes() for path in noted} == kept


def test_image_on_disk_whose_line_a_kill_cut_off_is_kept_and_not_bought_again(serve, tmp_path):
    server = serve()
    source().draw(design(4), tmp_path)
    path = tmp_path / "ledger.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(whole) if b'"outcome"' in line)
    lost = json.loads(whole[last])
    path.write_bytes(b"".join(line for i, line in enumerate(whole) if i != last))
    # As the kill leaves it: what the reply said lies beside the image until the line is written.
    note_arrival(tmp_path, lost["key"][:32], {name: lost[name] for name in ("response_id", "model_version", "usage")})
    table = source().draw(design(4), tmp_path)
    row = table[table["ledger_key"] == lost["key"]].iloc[0]
    assert row["response_id"] == lost["response_id"] and row["model_version"] == lost["model_version"]
    assert row["output_tokens"] == 1290 and not list(tmp_path.glob("arriving/*"))
    assert (table["status"] == "ok").all() and len(server.calls) == 4
    assert Counter(line.get("outcome") for line in lines_of(tmp_path))["unknown"] == 1
    assert source().plan(design(4), tmp_path)["spent_usd"] == pytest.approx(3 * PRICE + 0.0407, abs=2e-3)


def test_image_that_was_removed_is_drawn_again_and_one_that_was_changed_is_left_alone(serve, tmp_path):
    server = serve()
    table = source().draw(design(3), tmp_path)
    (tmp_path / table["path"][0]).unlink()
    (tmp_path / table["path"][1]).write_bytes(b"mine")
    again = source().draw(design(3), tmp_path)
    assert (again["status"] == "ok").all() and len(server.calls) == 5
    assert (tmp_path / table["path"][1]).read_bytes() == b"mine" and again["path"][1] != table["path"][1]


def test_refused_prompt_is_given_up_after_its_attempts_and_stays_given_up(serve, tmp_path):
    server = serve(lambda c: REPLIES["prompt blocked"][0](c.prompt) if "number 1" in c.prompt else ok(c.prompt))
    table = source(attempts=3).draw(design(3), tmp_path)
    assert table["status"].tolist() == ["ok", "given up: prompt_blocked", "ok"]
    assert server.nth["chest radiograph number 1"] == 3
    again = source(attempts=3).draw(design(3), tmp_path)
    assert again["status"].tolist() == table["status"].tolist() and len(server.calls) == 5
    assert source(attempts=3).plan(design(3), tmp_path)["given_up"] == 1
    source(attempts=4).draw(design(3), tmp_path)
    assert server.nth["chest radiograph number 1"] == 4
