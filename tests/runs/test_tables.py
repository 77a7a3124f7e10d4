"""The tables that stages share: identifiers stay text, and a wrong table is one clear error."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nbhelpers.errors import UserError
from nbhelpers.runs import tables


def images_table(**columns: object) -> pd.DataFrame:
    row = {
        **{"image_id": "p1", "path": "images/p1.png", "label": "pneumonia", "source": "simulator", "simulated": True},
        **{"prompt": "x, y", "model": "m", "sha256": "0" * 64, "width": 10, "height": 10, "status": "ok"},
    }
    return pd.DataFrame([{**row, **columns}])


def predictions_table(**columns: object) -> pd.DataFrame:
    row = {"arm": "a", "dataset": "d", "image_id": "1", "patient_id": None, "label": 1, "score": 0.5}
    return pd.DataFrame([{**row, **columns}])


def test_identifiers_stay_text(tmp_path: Path) -> None:
    table = predictions_table(image_id="007", patient_id="0012")
    back = tables.read_table(tables.write_table(table, tmp_path / "p.csv", "predictions"), "predictions")
    assert back.loc[0, "image_id"] == "007" and back.loc[0, "patient_id"] == "0012"


@pytest.mark.parametrize("name", ["NA", "None", "nan", "null", "1e5", "True"])
def test_a_name_that_pandas_would_take_for_missing_or_a_number_stays_that_name(tmp_path: Path, name: str) -> None:
    path = tables.write_table(predictions_table(image_id=name, arm=name), tmp_path / "p.csv", "predictions")
    assert list(tables.read_table(path, "predictions").loc[0, ["image_id", "arm"]]) == [name, name]


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), ("1", "0"), ("1.0", "0.0"), ("True", "")])
def test_true_and_false_are_read_as_such_whatever_wrote_them(tmp_path: Path, words: tuple[str, str]) -> None:
    (tmp_path / "t.csv").write_text(f"arm,primary\na,{words[0]}\nb,{words[1]}\n")
    read = tables.read_table(tmp_path / "t.csv")["primary"]
    assert read.dtype == bool and list(read) == [True, False]


def test_what_is_unknown_stays_empty(tmp_path: Path) -> None:
    path = tables.write_table(predictions_table(), tmp_path / "p.csv", "predictions")
    assert tables.read_table(path, "predictions")["patient_id"].isna().all()


def test_text_with_commas_quotes_and_lines_goes_there_and_back(tmp_path: Path) -> None:
    prompt = 'A "portable" film,\nAP; señora'
    path = tables.write_table(images_table(prompt=prompt), tmp_path / "i.csv", "images")
    assert tables.read_table(path, "images").loc[0, "prompt"] == prompt


@pytest.mark.parametrize(
    "table",
    [
        predictions_table(score=1.5),
        predictions_table(score=float("nan")),
        predictions_table(label=2),
        predictions_table().drop(columns="score"),
        pd.concat([predictions_table(), predictions_table()]),
    ],
)
def test_wrong_predictions_are_a_user_error_that_names_the_column(tmp_path: Path, table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="predictions table"):
        tables.write_table(table, tmp_path / "p.csv", "predictions")
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize("columns", [{"label": "sick"}, {"label": "1"}, {"width": "wide"}])
def test_wrong_images_are_a_user_error(columns: dict[str, object]) -> None:
    with pytest.raises(UserError, match="images table"):
        tables.check_table(images_table(**columns), "images")


def test_the_same_image_twice_is_an_error_but_not_under_two_crops() -> None:
    table = images_table(left=0, top=0, right=1, bottom=1, reason="")
    both = pd.concat([table.assign(crop="none"), table.assign(crop="content")], ignore_index=True)
    tables.check_table(both, "cropped")
    with pytest.raises(UserError):
        tables.check_table(both, "images")
    with pytest.raises(UserError):
        tables.check_table(both.assign(crop="none"), "cropped")


def test_more_columns_are_welcome() -> None:
    assert "sex" in tables.check_table(images_table(sex="female"), "images")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'a,b\n"1,2\n'])
def test_an_unreadable_table_is_a_user_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.csv"):
        tables.read_table(tmp_path / "t.csv", "images")


def test_a_missing_table_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the stage"):
        tables.read_table(tmp_path / "none.csv")
