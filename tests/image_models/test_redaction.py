"""What came from outside, without a key: whole, in pieces, encoded, wherever it hides."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from image_models import gemini_server
from image_models.gemini_fixture import SECRET, design, source
from image_models.gemini_server import Reply, png

from nbhelpers.image_models.ledger import Ledger, replay
from nbhelpers.image_models.redaction import clean, redact

KEYS = {"GEMINI_API_KEY": SECRET, "OPENAI_API_KEY": "sk-proj-Zk9/+q_77=uVw", "HF_TOKEN": "hf_QwErTyUiOpAsDf"}
ENCODINGS = {
    "plain": lambda text: text,
    "lower case": str.lower,
    "upper case": str.upper,
    "backwards": lambda text: text[::-1],
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, upper case": lambda text: text.encode().hex().upper(),
    "for urls": lambda text: quote(text, safe=""),
    "for urls, every letter": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "escapes of JSON": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "escapes": lambda text: "".join(f"\\x{ord(letter):02x}" for letter in text),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


here = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@here
@given(
    st.sampled_from(sorted(KEYS)),
    st.integers(0, 40),
    st.integers(8, 60),
    st.sampled_from(sorted(ENCODINGS)),
    st.text(),
    st.text(),
)
def test_no_piece_of_a_key_in_any_encoding_is_left(name, start, size, encoding, before, after):
    value = KEYS[name]
    start = min(start, len(value) - 8)
    piece = value[start : start + size]
    hidden = ENCODINGS[encoding](piece)
    shown = redact(before + hidden + after)
    assert hidden not in shown and "[key]" in shown


@here
@given(st.integers(0, 5), st.binary(max_size=9))
def test_a_key_within_a_longer_base64_is_found_at_any_offset(offset, tail):
    hidden = base64.b64encode(b"x" * offset + SECRET.encode() + tail).decode()
    shown = redact(hidden)
    assert "[key]" in shown and len(shown) <= len(hidden) - len(SECRET)


@here
@given(st.text(st.characters(codec="utf-8"), max_size=200))
@example("chest radiograph of a 50 year old woman, PA view; images/a91be03c77d10f42.png 2026-11-26T03:04:05.678+00:00")
def test_text_without_a_key_is_left_as_it_is(text):
    assert redact(text) == text


def test_seven_letters_of_a_key_are_no_key_and_a_short_value_is_none(monkeypatch):
    assert redact(SECRET[:7]) == SECRET[:7]
    monkeypatch.setenv("SHORT_API_KEY", "chest")
    assert redact("a chest film") == "a chest film"


def test_what_json_lacks_becomes_null_or_text():
    value = {"a": float("nan"), "b": [float("inf"), 1.5, True, None], SECRET: (SECRET, b"x")}
    assert clean(value) == {"a": None, "b": [None, 1.5, True, None], "[key]": ["[key]", "b'x'"]}


def _places(value, path=()):
    """Every string of a reply, and every name, as the way to it."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _places(entry, (*path, name))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _places(entry, (*path, number))
    else:
        yield path


def _with(value, path, put):
    if not path:
        return put
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], put)
    return copy


def _replies():
    image = gemini_server.image_body(png("x"), usage=gemini_server.USAGE | {"trafficType": "ON_DEMAND"})
    image["candidates"][0]["finishMessage"] = "said"
    refusal = gemini_server.finish("IMAGE_SAFETY", "said", [{"text": "no"}])
    blocked = {"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "said"}, "responseId": "r"}
    failed = json.loads(gemini_server.quota("0.001s"))
    for name, reply in (("image", image), ("refusal", refusal), ("blocked", blocked), ("error with 200", failed)):
        for path in _places(reply):
            if "data" not in path:
                yield pytest.param(reply, path, id=f"{name}: {'.'.join(map(str, path))}")


@pytest.mark.parametrize(("reply", "path"), list(_replies()))
@pytest.mark.parametrize("encoding", ["plain", "base64"])
def test_a_key_in_any_field_of_a_reply_is_written_nowhere(reply, path, encoding, serve, tmp_path, capsys, caplog):
    caplog.set_level("DEBUG")
    hidden = ENCODINGS[encoding](f"{SECRET} {SECRET[6:20]}")
    echo = gemini_server.body(_with(reply, path, hidden))
    serve(lambda c: Reply(body=echo, headers={"X-Echo": SECRET}) if c.nth == 0 else gemini_server.ok(c.prompt))
    table = source(attempts=2).draw(design(2), tmp_path)
    written = [path.read_text(errors="replace") for path in tmp_path.rglob("*.json*")]
    for text in (*written, table.to_csv(), "".join(capsys.readouterr()), caplog.text):
        assert not _holds_key(text)


def _holds_key(text):
    coded = ENCODINGS["base64"](SECRET)
    return any(value[at : at + 8] in text for value in (SECRET, coded) for at in range(len(value) - 12))


def test_a_ledger_that_holds_a_key_already_gives_it_to_nobody(tmp_path):
    with Ledger(tmp_path) as ledger:
        asked = ledger.request("k" * 64, 0.05)
        ledger.append(asked)
    line = {"event": "outcome", "request_id": asked["request_id"], "key": "k" * 64, "outcome": "text_only"}
    with open(tmp_path / "ledger.jsonl", "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line | {"cost_usd": 0.0, "model_version": SECRET, "usage": {SECRET: SECRET}}) + "\n")
    assert SECRET not in str(replay(tmp_path / "ledger.jsonl"))
