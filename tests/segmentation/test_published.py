"""The study's values, against its own statements."""

from __future__ import annotations

from nbhelpers.segmentation.datasets import DATASETS
from nbhelpers.segmentation.published import PUBLISHED, TASK_OF, TITLES


def test_the_study_found_the_omnimodel_ahead_on_hard_polyps_and_breasts_and_behind_on_vessels() -> None:
    ahead = {name: row.dice["hard"][1] > row.dice["hard"][0] for name, row in PUBLISHED.items()}
    assert ahead == {"colondb": True, "busi": True, "fives": False}
    assert all(row.dice["easy"][0] > row.dice["easy"][1] for row in PUBLISHED.values())
    assert all(row.hd95["easy"][0] < row.hd95["easy"][1] for row in PUBLISHED.values())


def test_each_published_set_belongs_to_a_task_and_no_simulated_one_does() -> None:
    own = {name for name in DATASETS if not name.startswith("simulated") and name != "folder"}
    assert set(TASK_OF) == own and set(TASK_OF.values()) == set(PUBLISHED) == set(TITLES)
