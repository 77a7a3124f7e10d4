"""The order of the suite: what takes longest starts first, so that no worker is left with it at the end."""

from __future__ import annotations

import pytest

FIRST = ("test_smoke", "test_jupyter_cwd", "test_training")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        name = item.path.stem
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=rank)
