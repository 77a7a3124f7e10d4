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
    assert list(found.films["image_id"]) == ["a.png", "sub/b.png", "gone.png", "d.png"]
    assert list(found.films["patient_id"].dropna()) == ["007", "7", "007"] and found.n_patients == 2
    assert found.excluded.to_dict("records") == [{"image_id": "gone.png", "reason": "file missing"}]
    assert len(found.kept()) == 3
    summary = registry.summary({"folder": found}).iloc[0]
    assert (summary["n"], summary["n_positive"], summary["excluded"], summary["n_patients"]) == (3, 1, 1, 2)
    assert registry.exclusions({"folder": found}).iloc[0].to_dict() == {
        **{"dataset": "folder", "reason": "file missing", "films": 1, "example": "gone.png"}
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": ["a.png", "b.png"]}, "no column 'label'.*columns are 'path'"),
        ({"label": [0, 1]}, "no column 'path'.*columns are 'label'"),
        ({"path": ["a.png", "b.png"], "label": [0, 2]}, "label '2' in line 3"),
        ({"path": ["a.png", "b.png"], "label": ["0", None]}, "no label in line 3"),
        ({"path": ["a.png", "../b.png"], "label": [0, 1]}, "leaves its folder"),
        ({"path": ["a.png", "/etc/passwd"], "label": [0, 1]}, "leaves its folder"),
        ({"path": ["x.png", "y.png"], "label": [0, 1]}, "none of the 2 files exists"),
        ({"path": ["a.png", "a.png"], "label": [0, 1]}, "share an image_id"),
        ({"path": ["a.png", "b.png"], "label": [1, 1]}, "one class only"),
        ({"path": [], "label": []}, "the table is empty"),
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


def load_text(folder, text, files, encoding="utf-8"):
    """A folder set from a table as it stands in the file."""
    parameters = write_folder(folder, pd.DataFrame({"path": files, "label": [0] * len(files)}), files)
    (folder / "films.csv").write_bytes(text.encode(encoding))
    return registry.load("folder", parameters | {"folder_films": str(folder / "films.csv")}, folder)


WELL = "path,label,age,Sex\na.png,0,45,F\nb.png,1,50,M\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (WELL, "utf-8"),
        (WELL, "utf-8-sig"),
        (WELL, "utf-16"),
        (WELL.replace(",", ";"), "utf-8"),
        (WELL.replace(",", "\t"), "utf-8"),
        (WELL.replace(",", " , "), "utf-8"),
        (WELL.replace("path,label,age", "Path,LABEL, Age "), "utf-8"),
        ("# exported on Monday; by me\n\n" + WELL, "utf-8"),
        (WELL.replace("\n", ",\n"), "utf-8"),
        (WELL.replace("\n", "\n\n,,,\n"), "utf-8"),
        (WELL.replace("\n", "\r\n"), "utf-8"),
        (WELL.replace("45", '"45"'), "utf-8"),
        (WELL.replace("45", "045Y").replace(",", ";").replace("50", "50,0"), "utf-8"),
        (
            WELL.replace("Sex", "Sex,ville").replace("F\n", "F,M\u00e2con\n").replace("M\n", "M,Orl\u00e9ans\n"),
            "cp1252",
        ),
    ],
)
def test_what_spreadsheets_make_of_a_table_is_read_all_the_same(tmp_path, text, encoding):
    found = load_text(tmp_path, text, ["a.png", "b.png"], encoding)
    assert list(found.films["image_id"]) == ["a.png", "b.png"] and list(found.films["label"]) == [0, 1]
    assert list(found.films["age"]) == [45, 50] and list(found.films["sex"]) == ["female", "male"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,klasse\na.png,0\n", "no column 'path'.*'file', 'klasse'"),
        ("path,label\na.png,0,what\nb.png,1\n", "line 2 has 3 cells under 2 columns"),
        ("path,label,Label\na.png,0,1\n", "two columns 'label'"),
        ("PK\x03\x04xl/worksheets", "a workbook"),
        ("", "empty"),
        ("\n\n# nothing\n", "empty"),
        ("path,label\n\n# a\na.png,0\nb.png,maybe\n", "line 3|line 5"),
    ],
)
def test_a_table_that_is_none_says_what_was_found(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as told:
        load_text(tmp_path, text, ["a.png", "b.png"])
    assert "\n" not in str(told.value)


def test_a_film_is_known_by_its_whole_path(tmp_path):
    files = ["00000000", "1.10", "1.2.840.10008.5", "c0.png", "c0.jpg", "n/x.png", "p/x.png"]
    text = "path,label\n" + "".join(f"{name},{number % 2}\n" for number, name in enumerate(files))
    assert list(load_text(tmp_path, text, files).films["image_id"]) == files


def test_an_age_that_is_none_is_noted_with_its_value(tmp_path):
    text = "path;label;age\na.png;0;30-39\nb.png;1;40,5\nc.png;1;\n"
    found = load_text(tmp_path, text, ["a.png", "b.png", "c.png"])
    assert found.films["age"].isna().tolist() == [True, False, True] and found.films["age"][1] == 40.5
    assert any("1 films have an age" in note and "'30-39'" in note for note in found.notes)


def test_what_the_users_table_does_not_give_is_said(tmp_path):
    found = load_text(tmp_path, "path,label,view\na.png,0,AP\nb.png,1,PA\n", ["a.png", "b.png"])
    assert found.notes[0] == "From the user's table: labels, view; not given: patients, sex, age."


def test_films_that_are_the_same_file_twice_are_noted(tmp_path):
    files = ["a.png", "b.png", "c.png"]
    load_text(tmp_path, WELL, files[:2])
    for name, data in zip(files, (b"one film", b"another.", b"one film"), strict=True):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "films.csv").write_text("path,label\na.png,0\nb.png,1\nc.png,1\n")
    found = registry.load("folder", {"folder_films": str(tmp_path / "films.csv")}, tmp_path)
    assert any(
        f"1 films are identical copies of others in the set, e.g. {tmp_path / 'c.png'}" in note for note in found.notes
    )


@pytest.mark.parametrize(("column", "simulated"), [("true", True), ("false", False)])
def test_films_may_be_declared_simulated(tmp_path, column, simulated):
    text = f"path,label,simulated\na.png,0,{column}\nb.png,1,{column}\n"
    assert load_text(tmp_path, text, ["a.png", "b.png"]).simulated == simulated
