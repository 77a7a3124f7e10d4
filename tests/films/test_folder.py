import pandas as pd
import pytest
from films.films_fixture import write_folder

from nbhelpers.errors import UserError
from nbhelpers.films import registry


def test_folder_takes_labels_as_numbers_or_words_and_lists_missing_files(tmp_path):
    table = pd.DataFrame(
        {
            "path": ["a.png", "sub/b.png", "gone.png", "d.png"],
            "label": ["Pneumonia", "normal", "1", "0"],
            "patient_id": ["007", "7", None, "007"],
            "age": [3, 40, None, 61],
        }
    )
    found = registry.load("folder", write_folder(tmp_path / "own", table, ["a.png", "sub/b.png", "d.png"]), tmp_path)
    assert list(found.films["label"]) == [1, 0, 1, 0]
    assert list(found.films["image_id"]) == ["a", "sub/b", "gone", "d"]
    assert list(found.films["patient_id"].dropna()) == ["007", "7", "007"] and found.n_patients == 2
    assert found.excluded.to_dict("records") == [{"image_id": "gone", "reason": "file missing"}]
    assert len(found.kept()) == 3
    summary = registry.summary({"folder": found}).iloc[0]
    assert (summary["n"], summary["n_positive"], summary["excluded"], summary["n_patients"]) == (3, 1, 1, 2)
    assert registry.exclusions({"folder": found}).iloc[0].to_dict() == {
        **{"dataset": "folder", "reason": "file missing", "films": 1, "example": "gone"}
    }


def test_films_are_simulated_where_the_table_says_so_of_all(tmp_path):
    table = pd.DataFrame({"path": ["a.png", "b.png"], "label": [0, 1], "simulated": ["true", "True"]})
    found = registry.load("folder", write_folder(tmp_path / "all", table, list(table["path"])), tmp_path)
    assert found.simulated and found.notes == ["Labels as the user's table gives them; it names no patients."]
    table["simulated"] = ["yes", "True"]
    found = registry.load("folder", write_folder(tmp_path / "one", table, list(table["path"])), tmp_path)
    assert not found.simulated and found.notes[1] == "The table declares 1 of 2 films simulated."


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": ["a.png", "b.png"]}, "no column 'label'.*columns are path"),
        ({"label": [0, 1]}, "no column 'path'.*columns are label"),
        ({"path": ["a.png", "b.png"], "label": [0, 2]}, "label '2' in line 3"),
        ({"path": ["a.png", "b.png"], "label": ["0", None]}, "no label in line 3"),
        ({"path": ["a.png", "../b.png"], "label": [0, 1]}, "leaves its folder"),
        ({"path": ["a.png", "/etc/passwd"], "label": [0, 1]}, "leaves its folder"),
        ({"path": ["x.png", "y.png"], "label": [0, 1]}, "none of the 2 files exists"),
        ({"path": ["a.png", "a.png"], "label": [0, 1]}, "share an image_id"),
        ({"path": ["a.png", "b.png"], "label": [1, 1]}, "one class only"),
        ({"path": [], "label": []}, "lists nothing"),
    ],
)
def test_a_bad_folder_table_is_one_clear_error(tmp_path, table, message):
    parameters = write_folder(tmp_path / "own", pd.DataFrame(table), ["a.png", "b.png"])
    with pytest.raises(UserError, match=message):
        registry.load("folder", parameters, tmp_path)


def test_folder_without_a_table_says_what_to_set(tmp_path):
    with pytest.raises(UserError, match="folder_films"):
        registry.load("folder", {"folder_films": None}, tmp_path)
    with pytest.raises(UserError, match="table not found"):
        registry.load("folder", {"folder_films": str(tmp_path / "none.csv")}, tmp_path)
