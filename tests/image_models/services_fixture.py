"""Keys of all services, a local server for all, and small edits."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from image_models.services_server import ServicesServer

from nbhelpers.image_models.editors.edits import EditRequest
from nbhelpers.image_models.outcomes import Outcome
from nbhelpers.image_models.purchases import Row
from nbhelpers.image_models.services.registry import make_service, options_of

SECRETS = {
    "GEMINI_API_KEY": "AIzaSECRETSECRETSECRET0123456789abcdef",
    "OPENAI_API_KEY": "sk-proj-OPENAISECRETOPENAISECRET",
    "ARK_API_KEY": "ark-f00dbabe-1234-5678-9abc-def012345678",
    "BFL_API_KEY": "bfl-0ddba11c0ffee0ddba11c0ffee",
}
SPEC = {
    "nano": {"provider": "gemini", "model": "gemini-2.5-flash-image"},
    "gpt": {"provider": "openai", "model": "gpt-image-2.5-flare", "quality": "medium"},
    "seed": {"provider": "ark", "model": "seedream-4-0-250828"},
    "flux": {"provider": "bfl", "model": "flux-2-pro"},
}


@pytest.fixture
def services(monkeypatch):
    """A server for all services, found by the variables of their endpoints; every key is set."""
    for name in ("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with ServicesServer() as server:
        for name, value in endpoints(server.url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("nbhelpers.image_models.services.bfl.POLL_S", 0.01)
        yield server


def endpoints(url):
    return {
        "GOOGLE_GEMINI_BASE_URL": url,
        "OPENAI_BASE_URL": f"{url}/openai/v1",
        "ARK_BASE_URL": f"{url}/ark/api/v3",
        "BFL_BASE_URL": f"{url}/bfl",
    }


def edit(edit_id, shape=(40, 56), mask=False, patient=False):
    values = np.random.default_rng([ord(letter) for letter in edit_id]).integers(0, 255, (*shape, 3), dtype=np.uint8)
    there = None
    if mask:
        there = np.zeros(shape, bool)
        there[10:20, 30:50] = True
    return EditRequest(edit_id, values, f"edit {edit_id} of the film", there, patient)


def edits(n):
    return [edit(f"e{number:03d}") for number in range(n)]


def quick(editors, **terms):
    """The editors with short waits."""
    for editor in editors:
        editor.asked.terms.backoff_s = 0.005
        for name, value in terms.items():
            setattr(editor.asked.terms, name, value)
    return editors


def service(name, **own):
    """A service with short waits; `deadline_s` of its terms is 5 s."""
    settings = {key: default for key, (_, default) in options_of(name).items()} | {"deadline_s": 5.0} | own
    return make_service(name, settings)


def once(asked, row=None):
    """The outcome of one request."""

    async def work():
        await asked.open()
        try:
            return await asked.ask(row or Row("i", "a film", "k", 7))
        finally:
            await asked.close()

    answer = asyncio.run(work())
    return answer if isinstance(answer, Outcome) else asked.read(answer)


def lines_of(folder):
    return [json.loads(line) for line in (Path(folder) / "ledger.jsonl").read_text().splitlines()]
