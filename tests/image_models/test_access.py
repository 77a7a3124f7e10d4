"""The API key: from the environment alone, and in nothing that is written."""

import json
import logging
import traceback

import pytest
from image_models import gemini_server
from image_models.gemini_fixture import SECRET, design, source
from image_models.gemini_server import Reply, ok

from nbhelpers.errors import UserError
from nbhelpers.image_models.outcomes import from_status

pytestmark = pytest.mark.usefixtures("key")


def test_missing_key_is_one_error_before_anything_is_sent(serve, tmp_path, monkeypatch):
    server = serve()
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(UserError, match="no API key"):
        source().draw(design(2), tmp_path)
    for bad in ("with space in it", "naïve-key"):
        monkeypatch.setenv("GEMINI_API_KEY", bad)
        with pytest.raises(UserError, match="characters") as caught:
            source().draw(design(2), tmp_path)
        assert bad not in str(caught.value)
    assert not server.calls


@pytest.mark.parametrize("offset", range(270, 310, 3))
def test_no_part_of_the_key_is_left_where_a_message_is_cut(offset):
    said = from_status(403, json.loads(gemini_server.error(403, "P", "x" * offset + SECRET + "y" * 200))).detail
    assert SECRET[:6] not in said
    said = from_status(403, json.loads(gemini_server.error(403, "P", "x " * 4 * offset + SECRET))).detail
    assert SECRET[:6] not in said


def test_key_is_in_no_log_and_no_traceback(serve, tmp_path, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    echo = Reply(403, gemini_server.error(403, "PERMISSION_DENIED", f"key {SECRET} may not"))
    serve(lambda c: echo if c.index > 8 else ok(c.prompt))
    try:
        source().draw(design(30), tmp_path)
    except UserError as error:
        trace = "".join(traceback.format_exception(error)) + str(error) + repr(error)
    assert SECRET not in trace and "[key]" in trace
    assert SECRET not in caplog.text and SECRET not in "".join(capsys.readouterr())
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
