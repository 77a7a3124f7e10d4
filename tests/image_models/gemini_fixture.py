"""A key, a local server and a small design, for tests of what is bought from Gemini."""

import json
from pathlib import Path

import pandas as pd
import pytest
from image_models.gemini_server import GeminiServer

from nbhelpers.prompting.sources.gemini import GeminiSource

PAPER = "gemini-2.5-flash-image"
SECRET = "AIzaSECRETSECRETSECRET0123456789abcdef"
PRICE = 1290 * 0.0387 / 1290 + 40 * 0.3e-6


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", SECRET)
    for name in ("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve(monkeypatch):
    """Start servers; the SDK finds them by its own environment variable."""
    started = []

    def start(script=None):
        server = GeminiServer(script)
        server.__enter__()
        started.append(server)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        return server

    yield start
    for server in started:
        server.__exit__()


def design(n, start=0):
    labels = ["pneumonia", "normal"] * (n // 2 + 1)
    return pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(start, start + n)],
            "label": labels[:n],
            "prompt": [f"chest radiograph number {i}" for i in range(start, start + n)],
        }
    )


def source(**parameters):
    made = GeminiSource(
        "gemini",
        {"gemini_concurrency": 4, "gemini_requests_per_minute": 0, "gemini_budget_usd": 100.0, "gemini_model": PAPER}
        | {f"gemini_{name}": value for name, value in parameters.items()},
    )
    made.settings.backoff_s, made.settings.lookup_s = 0.005, 0.2
    return made


def batch(**parameters):
    return source(mode="batch", poll_s=0.01, **parameters)


def lines_of(folder):
    return [json.loads(line) for line in (Path(folder) / "ledger.jsonl").read_text().splitlines()]
