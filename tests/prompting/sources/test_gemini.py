"""Source `gemini`: the table that comes of a design."""

import struct
import zlib
from pathlib import Path

import pandas as pd
import pytest
from image_models import gemini_server
from image_models.gemini_fixture import PRICE, design, source
from image_models.gemini_server import Reply, png
from prompting.images_fixture import table_of

from nbhelpers.errors import UserError
from nbhelpers.image_models.ledger import Ledger
from nbhelpers.prompting import drawing
from nbhelpers.prompting.diversity import batch_against_single

pytestmark = pytest.mark.usefixtures("key")


def test_row_carries_provenance(serve, tmp_path):
    serve()
    images = drawing.draw_images(source(), design(2), tmp_path)
    row = images.iloc[0]
    assert row["model"] == "gemini-2.5-flash-image" and row["model_version"] == "gemini-2.5-flash-image-002"
    assert row["prompt"] == "chest radiograph number 0" and row["response_id"].startswith("r-")
    assert row["input_tokens"] == 40 and row["output_tokens"] == 1290
    assert row["cost_usd"] == pytest.approx(PRICE, abs=1e-6)
    assert pd.Timestamp(row["created"]).tzinfo is not None
    assert not row["c2pa"] and row["requests"] == 1 and row["source"] == "gemini"


def test_signed_note_of_origin_is_recorded_as_it_came(serve, tmp_path):
    picture = png("chest radiograph number 0")
    signed = (
        picture[:33]
        + struct.pack(">I", 4)
        + b"caBX"
        + b"jumb"
        + struct.pack(">I", zlib.crc32(b"caBXjumb"))
        + picture[33:]
    )
    serve(
        lambda c: Reply(body=gemini_server.body(gemini_server.image_body(signed if "0" in c.prompt else png(c.prompt))))
    )
    table = source().draw(design(2), tmp_path)
    assert table["c2pa"].tolist() == [True, False] and (tmp_path / table["path"][0]).read_bytes() == signed


def test_second_run_on_the_folder_is_refused(serve, tmp_path):
    server = serve()
    with Ledger(tmp_path), pytest.raises(UserError, match="another run"):
        source().draw(design(2), tmp_path)
    assert not server.calls


def test_what_was_asked_and_what_came_stand_beside_each_other(serve, tmp_path, capsys):
    usage = {"promptTokenCount": 40, "candidatesTokenCount": 1120, "thoughtsTokenCount": 300, "totalTokenCount": 1460}
    sizes = {"0": 1024, "1": 1000, "2": 512}
    serve(lambda c: Reply(body=gemini_server.body(gemini_server.image_body(png(c.prompt, sizes[c.prompt[-1]]), usage))))
    images = drawing.draw_images(source(model="gemini-nano-banana-2.1"), design(3), tmp_path)
    assert images["as_asked"].tolist() == [True, True, False] and set(images["size_asked"]) == {"1K 1:1"}
    assert "size and shape as requested (1K 1:1): 2 of 3 images" in capsys.readouterr().out
    assert images["thought_tokens"].tolist() == [300] * 3 and not images["draft"].any()
    assert images["cost_usd"].to_numpy() == pytest.approx((40 * 1.5 + 1120 * 30 + 300 * 7.5) / 1e6)


def test_images_of_batches_are_set_beside_single_ones(serve, tmp_path):
    serve()
    single = drawing.draw_images(source(), design(4), tmp_path / "gemini")
    assert batch_against_single(single.assign(source="gemini"), tmp_path).empty
    both = drawing.draw_images(source(mode="batch", poll_s=0.01), design(10), tmp_path / "gemini")
    table = batch_against_single(both.assign(source="gemini"), tmp_path).set_index("mode")
    assert table["images"].to_dict() == {"batch": 6, "online": 4}
    assert (table["width"] == 24).all() and (table["as_asked"] == 0).all() and (table["sharpness"] > 0).all()


def test_images_of_other_sources_have_no_mode_to_compare():
    assert batch_against_single(table_of(4), Path()).empty
