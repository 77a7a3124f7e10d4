"""Images kept as they came: named by what their bytes are, never replaced."""

import base64
import hashlib
import io

import numpy as np
import pytest
from image_models.gemini_fixture import SECRET, design, lines_of, source
from image_models.gemini_server import REPLIES, png
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nbhelpers.errors import UserError
from nbhelpers.image_models.originals import (
    arrivals,
    file_is_whole,
    forget_arrivals,
    keep_original,
    note_arrival,
)
from nbhelpers.image_models.redaction import holds_key

pytestmark = pytest.mark.usefixtures("key")


def test_image_is_kept_byte_for_byte_and_named_by_its_bytes(serve, tmp_path):
    serve(lambda call: REPLIES["jpeg labelled png" if "1" in call.prompt else "draft and image"][0](call.prompt))
    table = source().draw(design(2), tmp_path)
    for prompt, path, kind in zip(design(2)["prompt"], table["path"], ("PNG", "JPEG"), strict=True):
        assert (tmp_path / path).read_bytes() == png(prompt, kind=kind)
        assert path.endswith({"PNG": ".png", "JPEG": ".jpg"}[kind])
    ok_lines = [line for line in lines_of(tmp_path) if line.get("outcome") == "ok"]
    assert {line["sha256"] for line in ok_lines} == {
        hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() for path in table["path"]
    }


def test_a_file_that_is_there_is_never_replaced(tmp_path):
    first = keep_original(tmp_path, "a", png("one"))
    second = keep_original(tmp_path, "a", png("two"))
    assert (first["path"], second["path"]) == ("images/a.png", "images/a-1.png")
    assert (tmp_path / "images/a.png").read_bytes() == png("one")
    assert second["sha256"] == hashlib.sha256(png("two")).hexdigest() and second["bytes"] == len(png("two"))


def test_bytes_of_no_known_format_are_kept_too(tmp_path):
    noted = keep_original(tmp_path, "a", b"of a later year", "spare")
    assert noted["path"] == "spare/a.bin" and noted["format"] is None and not noted["c2pa"]


def test_arrivals_survive_a_torn_line_and_are_forgotten_when_told(tmp_path):
    note_arrival(tmp_path, "a", {"response_id": "r"})
    with open(next(tmp_path.glob("arriving/*.jsonl")), "a") as handle:
        handle.write('{"name": "b", "fac')
    assert arrivals(tmp_path) == {"a": {"response_id": "r"}}
    forget_arrivals(tmp_path)
    assert arrivals(tmp_path) == {}


def test_a_file_of_another_size_is_not_whole(tmp_path):
    line = keep_original(tmp_path, "a", png("one"))
    assert file_is_whole(tmp_path, line)
    (tmp_path / line["path"]).write_bytes(png("one")[:-1])
    assert not file_is_whole(tmp_path, line) and not file_is_whole(tmp_path, line | {"path": "images/b.png"})


def test_what_the_disk_refuses_is_one_error(tmp_path):
    (tmp_path / "images").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        keep_original(tmp_path, "a", png("one"))


@pytest.mark.parametrize("coded", [False, True])
def test_of_a_file_that_carries_the_key_the_pixels_are_kept_alone(coded, tmp_path):
    words, buffer = PngInfo(), io.BytesIO()
    words.add_text("prompt", base64.b64encode(SECRET.encode()).decode() if coded else f"sent with {SECRET}")
    picture = Image.open(io.BytesIO(png("one")))
    picture.save(buffer, "PNG", pnginfo=words)
    kept = keep_original(tmp_path, "a", buffer.getvalue())
    written = (tmp_path / kept["path"]).read_bytes()
    assert not holds_key(written) and holds_key(buffer.getvalue())
    assert (np.asarray(Image.open(io.BytesIO(written))) == np.asarray(picture)).all()
    assert keep_original(tmp_path, "b", b"broken " + SECRET.encode(), "spare")["bytes"] == 0


def test_the_same_bytes_are_kept_once(tmp_path):
    assert keep_original(tmp_path, "a", png("one")) == keep_original(tmp_path, "a", png("one"))
    assert len(list(tmp_path.glob("images/*"))) == 1
