"""Cells of tables that others wrote; what is made of them is tested with the films that they list."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbhelpers.errors import UserError
from nbhelpers.runs.cells import read_cells


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_each_delimiter_is_told_by_the_header_and_the_index_is_the_line(tmp_path: Path, delimiter: str) -> None:
    rows = ["# said first", "", delimiter.join(["Path", "My Label"]), "", delimiter.join(["a, b.png; c|d", "1"])]
    text = "\n".join(rows).replace("a, b.png; c|d", '"a, b.png; c|d"')
    (tmp_path / "t.csv").write_text(text)
    table = read_cells(tmp_path / "t.csv", ["path", "my_label"])
    assert table.to_dict("index") == {5: {"path": "a, b.png; c|d", "my_label": "1"}}


def test_another_name_of_a_column_stands_in_only_where_the_meant_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label\na,1\n")
    assert list(read_cells(tmp_path / "t.csv", ["path"], {"image": "path"}).columns) == ["path", "label"]
    (tmp_path / "t.csv").write_text("image,path\na,b\n")
    assert list(read_cells(tmp_path / "t.csv", ["path"], {"image": "path"}).columns) == ["image", "path"]


@given(st.binary(max_size=400))
def test_any_bytes_are_a_table_or_a_user_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    for content in (data, b"path,label\n" + data):
        path.write_bytes(content)
        try:
            assert "path" in read_cells(path, ["path", "label"])
        except UserError as error:
            assert str(path) in str(error)
