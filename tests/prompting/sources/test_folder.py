"""Source `folder`: the user's own images, and each way in which a table or an image can be wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.prompting import drawing
from nbhelpers.prompting.sources.folder import FolderSource


def picture(path: Path, seed: int = 0, size: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    for index, name in enumerate(["a.png", "b.jpg", "sub/c.webp", "d.png"]):
        picture(folder / name, index)
    return folder


def write(home: Path, text: str) -> Path:
    (home / "mine.csv").write_text(text, encoding="utf-8")
    return home / "mine.csv"


def draw(home: Path, text: str, folder: Path) -> pd.DataFrame:
    source = drawing.make_source("folder", {"folder_table": str(write(home, text))})
    return drawing.draw_images(source, pd.DataFrame(), folder)


GOOD = (
    "path,label,sex,age,model\na.png,pneumonia,male,40,mine\nb.jpg,normal,female,,mine\nsub/c.webp,1,,,\nd.png,0,,,\n"
)


def test_the_table_is_the_design_and_the_bytes_are_kept(home: Path, tmp_path: Path) -> None:
    images = draw(home, GOOD, tmp_path / "out")
    assert images["label"].tolist() == ["pneumonia", "normal", "pneumonia", "normal"]
    assert images["status"].tolist() == ["ok"] * 4
    assert images["source"].tolist() == ["folder"] * 4
    assert images["model"].tolist() == ["mine", "mine", "folder", "folder"]
    assert images["sex"].tolist()[:2] == ["male", "female"]
    for original, path, digest in zip(images["original"], images["path"], images["sha256"], strict=True):
        data = (home / original).read_bytes()
        assert (tmp_path / "out" / path).read_bytes() == data
        assert hashlib.sha256(data).hexdigest() == digest
    assert images["width"].tolist() == [40] * 4
    assert pd.read_csv(tmp_path / "out" / "images.csv")["image_id"].is_unique


def test_the_suffix_follows_the_bytes_not_the_name(home: Path, tmp_path: Path) -> None:
    (home / "a.png").rename(home / "e.jpg")
    images = draw(home, "path,label\ne.jpg,normal\nb.jpg,pneumonia\n", tmp_path / "out")
    assert images["path"].str.rsplit(".").str[-1].tolist() == ["png", "jpg"]


def test_the_same_name_in_two_folders_is_two_images(home: Path, tmp_path: Path) -> None:
    picture(home / "n" / "x.png", 7)
    picture(home / "p" / "x.png", 8)
    images = draw(home, "path,label\nn/x.png,normal\np/x.png,pneumonia\n", tmp_path / "out")
    assert images["image_id"].nunique() == 2 and images["sha256"].nunique() == 2


def test_films_of_one_patient_form_one_group_and_others_their_own(home: Path, tmp_path: Path) -> None:
    text = "path,label,patient_id\na.png,normal,007\nb.jpg,pneumonia,007\nd.png,normal,\n"
    images = draw(home, text, tmp_path / "out")
    assert images["pair_id"].tolist()[:2] == ["007", "007"]
    assert images["pair_id"].iloc[2] == images["image_id"].iloc[2]


def test_a_second_run_writes_nothing_anew_and_a_changed_image_is_taken(home: Path, tmp_path: Path) -> None:
    first = draw(home, GOOD, tmp_path / "out")
    times = [(tmp_path / "out" / path).stat().st_mtime_ns for path in first["path"]]
    picture(home / "a.png", 99)
    second = draw(home, GOOD, tmp_path / "out")
    again = [(tmp_path / "out" / path).stat().st_mtime_ns for path in second["path"]]
    assert times[1:] == again[1:] and second["sha256"].iloc[0] != first["sha256"].iloc[0]


def test_one_bad_image_is_a_row_with_its_status_and_costs_no_other(home: Path, tmp_path: Path) -> None:
    (home / "b.jpg").write_bytes((home / "b.jpg").read_bytes()[:200])
    (home / "text.png").write_text("no image at all", encoding="utf-8")
    text = GOOD + "text.png,0,,,\nabsent.png,1,,,\n"
    images = draw(home, text, tmp_path / "out").set_index("original")
    assert images["status"].to_dict() == {
        "a.png": "ok",
        "b.jpg": "unreadable",
        "sub/c.webp": "ok",
        "d.png": "ok",
        "text.png": "unreadable",
        "absent.png": "missing file",
    }
    assert not images.loc["absent.png", "path"] and "b.jpg" in images.loc["b.jpg", "detail"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the table is empty"),
        ("path,label\n", "the table is empty"),
        ("file,label\na.png,0\n", "no column 'path'"),
        ("path,class\na.png,0\n", "no column 'label'"),
        ("path,label\na.png,0\nb.jpg,normal\n", "one class only"),
        ("path,label\na.png,0\nb.jpg,sick\n", "label 'sick' in line 3"),
        ("path,label\na.png,0\nb.jpg,\n", "in line 3"),
        ("path,label\na.png,0\n,1\n", "no path in line 3"),
        ("path,label\na.png,0\na.png,1\n", "listed twice"),
        ("path,label\na.png,0\n../secret.png,1\n", "leaves its folder.*line 3"),
        ("path,label\na.png,0\n/etc/passwd,1\n", "leaves its folder.*line 3"),
        ("path,label,image_id\na.png,0,x\nb.jpg,1,x\n", "image_id 'x' in line 3"),
        ("path,label,image_id\na.png,0,x\nb.jpg,1,../x\n", "image_id '../x' in line 3"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_error(home: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        FolderSource("folder", {"folder_table": str(write(home, text))})


def test_a_link_out_of_the_folder_is_refused(home: Path, tmp_path: Path) -> None:
    outside = picture(tmp_path / "outside.png")
    (home / "link.png").symlink_to(outside)
    with pytest.raises(UserError, match="leaves its folder"):
        FolderSource("folder", {"folder_table": str(write(home, "path,label\nlink.png,0\na.png,1\n"))})


@pytest.mark.parametrize("value", [None, "", "no/such.csv"])
def test_no_table_is_one_clear_error(value: str | None) -> None:
    with pytest.raises(UserError, match="folder_table"):
        FolderSource("folder", {"folder_table": value})


def test_a_folder_in_place_of_a_table_is_one_clear_error(home: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        FolderSource("folder", {"folder_table": str(home)})


def test_an_empty_folder_stops_the_run_with_the_reason_and_keeps_the_table(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"no image was generated: .*missing file"):
        draw(empty, "path,label\na.png,0\nb.png,1\n", tmp_path / "out")
    assert (tmp_path / "out" / "images.csv").is_file()


def test_a_class_lost_to_bad_files_stops_the_run(home: Path, tmp_path: Path) -> None:
    (home / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="no usable image of class pneumonia"):
        draw(home, "path,label\na.png,1\nb.jpg,0\n", tmp_path / "out")


def test_the_roentgen_listing_with_a_column_image_is_read(home: Path, tmp_path: Path) -> None:
    images = draw(home, "image,label,prompt,seed,model\na.png,1,p,5,m\nb.jpg,0,q,6,m\n", tmp_path / "out")
    assert images["prompt"].tolist() == ["p", "q"] and images["seed"].tolist() == ["5", "6"]
