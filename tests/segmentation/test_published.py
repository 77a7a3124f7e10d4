"""The study's values, against its own statements."""

from __future__ import annotations

from nbhelpers.segmentation import published
from nbhelpers.segmentation.datasets import DATASETS
from nbhelpers.segmentation.published import MEASURES, PUBLISHED, TASK_OF, TITLES


def test_the_study_found_the_omnimodel_ahead_on_hard_polyps_and_breasts_and_behind_on_vessels() -> None:
    gaps = {name: PUBLISHED[both[1]] - PUBLISHED[both[0]] for name, both in MEASURES.items()}
    ahead = (gaps["dice"].xs("hard", level="cases") > 0).to_dict()
    assert ahead == {"colondb": True, "busi": True, "fives": False}
    assert (gaps["dice"].xs("easy", level="cases") < 0).all() and (gaps["hd95"].xs("easy", level="cases") > 0).all()
    assert published.shown().shape == (6, 7) and set(published.shown()["task"]) == set(TITLES.values())


def test_each_published_set_belongs_to_a_task_and_no_simulated_one_does() -> None:
    own = {name for name in DATASETS if not name.startswith("simulated") and name != "folder"}
    tasks = set(PUBLISHED.index.get_level_values("task"))
    assert set(TASK_OF) == own and set(TASK_OF.values()) == tasks == set(TITLES)
