"""The order of the suite: what takes longest starts first, so that no worker is left with it at the end."""

from __future__ import annotations

import pytest
from image_models.gemini_fixture import key, serve  # noqa: F401

FIRST = ("test_smoke", "test_jupyter", "test_train")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        name = item.path.stem
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=rank)
