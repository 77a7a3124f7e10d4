"""Source `gemini`: the table that comes of a design."""

import struct
import zlib

import pandas as pd
import pytest
from image_models import gemini_server
from image_models.gemini_fixture import PRICE, design, source
from image_models.gemini_server import Reply, png

from nbhelpers.errors import UserError
from nbhelpers.image_models.ledger import Ledger
from nbhelpers.prompting import drawing

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
