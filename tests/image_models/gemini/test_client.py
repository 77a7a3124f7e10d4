"""One request to the service: what it holds, where it goes, and the one error when no request can succeed."""

import pytest
from image_models import gemini_server
from image_models.gemini_fixture import SECRET, design, source
from image_models.gemini_server import Reply

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.online import DOUBTS
from nbhelpers.image_models.ledger import replay
from nbhelpers.prompting.sources.gemini import GeminiSource

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
    assert (
        replay(tmp_path / "ledger.jsonl")[0] and GeminiSource("gemini", {}).plan(design(50), tmp_path)["spent_usd"] == 0
    )


@pytest.mark.parametrize("url", ["localhost:1", "ftp://127.0.0.1", "http://127.0.0.1:99999999"])
def test_unusable_endpoint_is_one_error(url, tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
    with pytest.raises(UserError, match="endpoint"):
        source().draw(design(2), tmp_path)
