"""Cropping: against the simulator's truth, on hand-made frames, stars and captions, and the tables that come of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from cropping.cropping_fixture import ARMS, film

from nbhelpers.cropping import crop
from nbhelpers.errors import UserError
from nbhelpers.images import files
from nbhelpers.runs import reviews, tables


def test_the_table_has_a_row_for_each_image_and_crop_and_its_box_is_the_file(
    drawn: tuple[Path, pd.DataFrame], cropped: tuple[Path, pd.DataFrame]
) -> None:
    out, table = cropped
    assert table.groupby("crop", sort=False).size().to_dict() == {"content": 240, "none": 240, "margins": 240}
    read = tables.read_table(out / "simulator" / "images.csv", "cropped")
    assert {"pair_id", "sex", "age", "view", "prompt", "seed"} <= set(read.columns), "what was known stays known"
    raw = drawn[1].set_index("image_id")["path"]
    for row in read.groupby("crop").head(5).to_dict("records"):
        gray = files.read_gray(drawn[0] / "simulator" / raw[row["image_id"]])
        part = gray[int(row["top"]) : int(row["bottom"]), int(row["left"]) : int(row["right"])]
        np.testing.assert_array_equal(files.read_gray(out / "simulator" / row["path"]), part)


def test_pairs_of_the_same_anatomy_are_no_duplicates_and_all_films_pass(cropped: tuple[Path, pd.DataFrame]) -> None:
    told = crop.exclusions(cropped[1])
    assert told.loc[0, "images"] == 240
    assert told.loc[0, "near_duplicate"] == 0
    assert told.loc[0, "kept"] >= 238, told


def test_what_is_unfit_is_left_out_of_every_crop_with_its_reason_and_nothing_else_is(
    drawn: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    folder, table = drawn
    mine = tmp_path / "01" / "simulator"
    table = table.head(12).copy().reset_index(drop=True)
    for path in table["path"]:
        (mine / path).parent.mkdir(parents=True, exist_ok=True)
        (mine / path).write_bytes((folder / "simulator" / path).read_bytes())
    (mine / table["path"][2]).write_bytes(b"\x89PNG\r\n\x1a\ncut short")
    files.write_png(mine / table["path"][3], film(60))
    rgb = np.stack([film(), film()[::-1], 255 - film()], axis=2)
    files.write_png(mine / table["path"][4], rgb)
    files.write_png(mine / table["path"][5], np.full((200, 200), 128, np.uint8))
    again = files.read_gray(mine / table["path"][0])
    cv2.imwrite(str(mine / table["path"][6]), cv2.convertScaleAbs(again, alpha=0.95, beta=4))
    table.loc[7, "status"] = "refused"
    cropped = crop.crop_sources({"simulator": table}, ARMS, tmp_path / "01", tmp_path / "02")
    expected = [
        "",
        "",
        "unreadable",
        "too_small",
        "colour",
        "not_a_radiograph",
        "near_duplicate",
        "not drawn",
        *[""] * 4,
    ]
    for _, rows in cropped.groupby("crop"):
        assert rows["reason"].tolist() == expected
        assert (rows["status"] == "ok").tolist() == [reason == "" for reason in expected]
        assert (rows["path"] != "").tolist() == [reason == "" for reason in expected]
    assert f"of {table['image_id'][0]}" in cropped["detail"].tolist()
    told = crop.exclusions(cropped).iloc[0]
    assert (
        told["kept"] == 6
        and told[["unreadable", "too_small", "colour", "near_duplicate", "not drawn"]].tolist() == [1] * 5
    )


def test_a_class_that_quality_control_empties_stops_the_run_after_the_table_is_written(
    drawn: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    table = drawn[1].head(6).copy()
    table.loc[table["label"] == "normal", "status"] = "refused"
    with pytest.raises(UserError, match="excluded all images of class normal"):
        crop.crop_source(table, drawn[0] / "simulator", tmp_path / "simulator", ["none"])
    assert (tmp_path / "simulator" / "images.csv").is_file()


def test_an_earlier_stage_that_has_not_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table not found"):
        crop.load_tables(ARMS, tmp_path)


def test_what_a_reviewer_rejected_is_left_out_of_every_crop_with_who_and_why(
    drawn: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    table = drawn[1].head(8).reset_index(drop=True)
    out, other = table["image_id"][1], table["image_id"][2]
    rows = [("simulator", out, "reject", "A. Reader", "two hearts"), ("simulator", other, "keep", "A. Reader", "")]
    reviewed = pd.DataFrame(rows, columns=["source", "image_id", "decision", "reviewer", "reason"])
    cropped = crop.crop_sources({"simulator": table}, ARMS, drawn[0], tmp_path, reviewed)
    lost = cropped[cropped["reason"] == "reviewer"]
    assert set(lost["image_id"]) == {out} and lost["crop"].nunique() == len(lost) == cropped["crop"].nunique()
    assert set(lost["detail"]) == {"A. Reader: two hearts"} and not list(tmp_path.rglob(f"{out}.png"))
    assert crop.exclusions(cropped).loc[0, "reviewer"] == 1
    assert crop.left_out(cropped)[["image_id", "reason", "detail"]].to_numpy().tolist() == [
        [out, "reviewer", "A. Reader: two hearts"]
    ]


def test_an_unknown_crop_and_margins_that_leave_nothing_are_told_at_once(tmp_path: Path) -> None:
    given = {"arms": {"a": {"source": "simulator", "crop": "contents"}}, "crop_margins": [0.5, 0.5, 0.5, 0.5]}
    with pytest.raises(UserError, match=r"(?s)^2 faults.*unknown crop 'contents'.*leave nothing"):
        crop.check(given, tmp_path)


def test_a_decision_on_what_was_never_drawn_is_an_error_and_not_passed_over(
    drawn: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    reviewed = pd.DataFrame(
        [("simulator", "7", "reject", "A", "two hearts")],
        columns=["source", "image_id", "decision", "reviewer", "reason"],
    )
    with pytest.raises(UserError, match="rejected images that simulator does not have: 7"):
        crop.crop_sources({"simulator": drawn[1]}, ARMS, drawn[0], tmp_path, reviewed)
    reviews.decide(tmp_path, "simulatr", "7", "reject", "A", "two hearts")
    tables.write_table(drawn[1], tmp_path / "01_prompting" / "simulator" / "images.csv")
    with pytest.raises(UserError, match="did you mean 'simulator'"):
        crop.load_reviews(SimpleNamespace(run_folder=tmp_path, input=Path))
