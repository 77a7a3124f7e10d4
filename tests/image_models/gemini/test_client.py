"""One request to the service: what it holds, where it goes, and the one error when no request can succeed."""

import pytest
from image_models import gemini_server
from image_models.gemini_fixture import SECRET, design, source
from image_models.gemini_server import Reply

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.client import Request
from nbhelpers.image_models.ledger import replay
from nbhelpers.image_models.online import DOUBTS

pytestmark = pytest.mark.usefixtures("key")


def test_request_is_what_the_service_expects(serve, tmp_path):
    server = serve()
    source(aspect_ratio="3:4", image_size="2K", model="gemini-3-pro-image", price_usd=0.2).draw(design(1), tmp_path)
    call = server.calls[0]
    assert call.path == "/v1beta/models/gemini-3-pro-image:generateContent"
    assert call.headers["x-goog-api-key"] == SECRET and SECRET not in call.path
    generation_config = call.body["generationConfig"]
    assert generation_config["responseModalities"] == ["IMAGE"]
    assert generation_config["imageConfig"] == {"aspectRatio": "3:4", "imageSize": "2K"}
    server.calls.clear()
    source(api_version="v1").draw(design(1), tmp_path / "v1")
    assert server.calls[0].path.startswith("/v1/models/")


@pytest.mark.parametrize(
    ("status", "name", "message", "told"),
    [
        (401, "UNAUTHENTICATED", f"API key {SECRET} not valid", "key is refused"),
        (403, "PERMISSION_DENIED", "denied", "key is refused"),
        (400, "INVALID_ARGUMENT", f"API key not valid: {SECRET}", "key is refused"),
        (404, "NOT_FOUND", "models/nano is not found for API version v1beta", "is not found"),
        (400, "FAILED_PRECONDITION", "User location is not supported", "request is refused"),
        (400, "INVALID_ARGUMENT", "aspect ratio is not supported", "request is refused"),
    ],
)
def test_wrong_key_model_or_request_stops_at_once_with_one_error(status, name, message, told, serve, tmp_path):
    server = serve(lambda c: Reply(status, gemini_server.error(status, name, message)))
    with pytest.raises(UserError, match=told) as caught:
        source().draw(design(50), tmp_path)
    assert len(server.calls) <= 4 + DOUBTS - 1
    assert SECRET not in str(caught.value) and SECRET not in (tmp_path / "ledger.jsonl").read_text()
    assert replay(tmp_path / "ledger.jsonl")[0] and source().plan(design(50), tmp_path)["spent_usd"] == 0


CLOSED = {
    "withdrawn": (404, "NOT_FOUND", "models/gemini-2.5-flash-image is not found for API version v1beta"),
    "closed to new keys": (404, "NOT_FOUND", "This model is no longer available to new users."),
    "closed with 403": (403, "PERMISSION_DENIED", "The model gemini-2.5-flash-image is no longer available"),
    "shut down": (400, "FAILED_PRECONDITION", "This model has been shut down"),
    "gone": (410, "NOT_FOUND", "gone"),
}


@pytest.mark.parametrize("mode", ["online", "batch"])
@pytest.mark.parametrize(("status", "name", "message"), CLOSED.values(), ids=CLOSED)
def test_a_model_that_is_gone_is_one_line_before_anything_is_bought(status, name, message, mode, serve, tmp_path):
    server = serve()
    gone = Reply(status, gemini_server.error(status, name, message))
    server.before = lambda method, path: gone if "/models/" in path and method == "GET" else None
    with pytest.raises(
        UserError, match=r"withdrawn, closed.*gemini-nano-banana-2\.1, which is not the paper's"
    ) as told:
        source(mode=mode, poll_s=0.01).draw(design(4), tmp_path)
    assert not server.calls and not server.jobs and "\n" not in str(told.value)
    assert source().plan(design(4), tmp_path)["spent_usd"] == 0


@pytest.mark.parametrize("reply", [Reply(404, b"<html>no such page</html>"), Reply(500, b""), Reply(fault="reset")])
def test_an_endpoint_that_does_not_tell_of_models_stops_nothing(reply, serve, tmp_path):
    server = serve()
    server.before = lambda method, path: reply if "/models/" in path and method == "GET" else None
    assert (source().draw(design(2), tmp_path)["status"] == "ok").all()


def test_a_model_that_draws_nothing_is_refused(serve, tmp_path):
    server = serve()
    answer = Reply(body=gemini_server.body({"name": "models/x", "supportedGenerationMethods": ["embedContent"]}))
    server.before = lambda method, path: answer if "/models/" in path and method == "GET" else None
    with pytest.raises(UserError, match="does not generate images"):
        source().draw(design(2), tmp_path)


def test_the_model_is_asked_for_once_and_only_before_something_is_bought(serve, tmp_path):
    server = serve()
    source().draw(design(3), tmp_path)
    source().draw(design(3), tmp_path)
    assert server.other == ["GET /v1beta/models/gemini-2.5-flash-image"]


@pytest.mark.parametrize("mode", ["online", "batch"])
def test_thinking_is_sent_and_is_part_of_what_an_image_is(mode, serve, tmp_path):
    server = serve()
    wanted = {"model": "gemini-nano-banana-2.1", "mode": mode, "poll_s": 0.01}
    source(**wanted).draw(design(1), tmp_path)
    assert "thinkingConfig" not in server.calls[0].body["generationConfig"]
    source(**wanted, thinking="high").draw(design(1), tmp_path)
    # The SDK and the files spell the name differently; the service takes both.
    assert list(server.calls[1].body["generationConfig"]["thinkingConfig"].values()) == ["HIGH"]
    source(**wanted).draw(design(1), tmp_path)
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("size", "ratio", "width", "height", "fits"),
    [
        (None, "1:1", 1024, 1024, True),
        ("1K", "16:9", 1376, 768, True),
        ("1K", "21:9", 1536, 672, True),
        ("1K", "1:8", 384, 3072, True),
        ("2K", "1:1", 2048, 2048, True),
        ("512", "1:1", 512, 512, True),
        ("2K", "1:1", 1024, 1024, False),
        ("1K", "4:3", 1024, 1024, False),
        ("1K", "3:4", 1200, 896, False),
        ("1K", "1:1", None, None, None),
    ],
)
def test_the_size_that_came_is_compared_with_the_one_asked_for(size, ratio, width, height, fits):
    assert Request(image_size=size, aspect_ratio=ratio).fits(width, height) is fits


@pytest.mark.parametrize("url", ["localhost:1", "ftp://127.0.0.1", "http://127.0.0.1:99999999"])
def test_unusable_endpoint_is_one_error(url, tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    with pytest.raises(UserError, match="endpoint"):
        source().draw(design(2), tmp_path)
