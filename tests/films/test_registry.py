import pandas as pd
import pytest
from films.films_fixture import write_folder

from nbhelpers.errors import UserError
from nbhelpers.films import registry


def test_unknown_and_doubly_named_sets_are_errors(tmp_path):
    with pytest.raises(UserError, match="did you mean 'kermany'"):
        registry.load("kermani", {}, tmp_path)
    with pytest.raises(UserError, match="listed twice"):
        registry.load_all(["kermany", "kermany"], {}, tmp_path)
    with pytest.raises(UserError, match="no data set is named"):
        registry.load_all([], {}, tmp_path)


def test_every_film_that_is_left_out_is_a_row_with_its_whole_reason(tmp_path):
    table = pd.DataFrame({"path": ["a.png", "b.png", "gone.png", "lost.png"], "label": [0, 1, 1, 0]})
    found = registry.load("folder", write_folder(tmp_path / "own", table, ["a.png", "b.png"]), tmp_path)
    found.exclude({"b.png": "unreadable: cut short after 12 bytes"})
    assert registry.excluded_films({"folder": found}).to_dict("records") == [
        {"dataset": "folder", "image_id": "gone.png", "reason": "file missing"},
        {"dataset": "folder", "image_id": "lost.png", "reason": "file missing"},
        {"dataset": "folder", "image_id": "b.png", "reason": "unreadable: cut short after 12 bytes"},
    ]
    grouped = registry.exclusions({"folder": found})
    assert grouped["films"].tolist() == [2, 1]


def test_all_sets_that_are_not_there_are_told_at_once_and_one_that_is_drawn_is_not_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    registry.check({"datasets": ["simulated_hospital"]}, tmp_path)
    with pytest.raises(UserError, match=r"(?s)^2 faults.*kermany.*rsna"):
        registry.check({"datasets": ["simulated_hospital", "kermany", "rsna"], "rsna_cohort": "paper"}, tmp_path)
    assert list(tmp_path.iterdir()) == []
