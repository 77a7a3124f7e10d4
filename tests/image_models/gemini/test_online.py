"""Gemini as a service that is bought from: what a whole run of it does is in `image_models/test_online.py`."""

import asyncio

import pytest
from image_models.gemini_fixture import source

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini.online import GeminiService
from nbhelpers.image_models.outcomes import Outcome
from nbhelpers.image_models.purchases import Row

pytestmark = pytest.mark.usefixtures("key")


def test_a_service_asks_reads_and_stops_as_the_client_does(serve):
    server, settings = serve(), source().settings
    service = GeminiService(settings.request, settings.price, settings)

    async def once():
        await service.open()
        answer = await service.ask(Row("i", "a film", "k", 7, image=b"\x89PNG"))
        await service.close()
        return answer

    service.check()
    assert server.other == ["GET /v1beta/models/gemini-2.5-flash-image"] and not server.calls
    outcome = service.read(asyncio.run(once()))
    assert outcome.kind == "ok" and outcome.facts["model_version"] == "gemini-2.5-flash-image-002"
    assert [sorted(part) for part in server.calls[0].body["contents"][0]["parts"]] == [["text"], ["inlineData"]]
    told = service.stop_message(Outcome("configuration", "404 NOT_FOUND models/x"))
    assert isinstance(told, UserError) and "withdrawn" in told.what
