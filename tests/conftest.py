"""The order of the suite: what takes longest starts first, so that no worker is left with it at the end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from image_models.gemini_fixture import key, serve  # noqa: F401
from image_models.services_fixture import services  # noqa: F401

# A busy machine is no fault: no example is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

FIRST = ("test_smoke", "test_lab", "test_jupyter", "test_train")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        name = item.path.stem
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def _features_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes what another's network saw, nor leaves anything beside the user's runs."""
    if features := sys.modules.get("nbhelpers.networks.features"):  # which loads torch, so not for every test
        monkeypatch.setattr(features, "default_cache", lambda: tmp_path / ".features")
