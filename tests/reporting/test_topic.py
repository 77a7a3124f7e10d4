"""The words that topics share: lists that stay short, and groups told one by one."""

from __future__ import annotations

import pandas as pd

from nbhelpers.reporting.topic import SHOWN, each, listed


def test_a_long_list_tells_its_first_items_and_how_many_more_there_are() -> None:
    items = [f"arm {number}" for number in range(SHOWN + 3)]
    assert listed(items[:SHOWN], "arms") == "; ".join(items[:SHOWN])
    assert listed(items, "arms") == "; ".join(items[:SHOWN]) + "; and 3 arms"


def test_groups_are_told_in_the_tables_order_and_by_their_titles() -> None:
    table = pd.DataFrame({"dataset": ["b", "a", "b"], "arm": ["raw", "raw", "raw"], "n": [1, 2, 3]})
    told = each(table, ["dataset", "arm"], lambda part: str(part["n"].sum()), titles={"a": "Set A"})
    assert told == "b, raw: 4; Set A, raw: 2"
