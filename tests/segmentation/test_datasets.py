"""Mask rules: what is foreground, what is no mask, what belongs together."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from segmentation.segmentation_fixture import disc, photo, write, written_set

from nbhelpers.errors import UserError
from nbhelpers.images.files import read_image
from nbhelpers.segmentation import datasets, tables

TRUTH = disc()


@pytest.mark.parametrize("largest", [1, 2, 200, 255])
def test_foreground_is_above_half_of_the_files_own_maximum(tmp_path: Path, largest: int) -> None:
    write(tmp_path / "m.png", TRUTH.astype(np.uint8) * np.uint8(largest))
    assert (datasets.read_mask(tmp_path / "m.png") == TRUTH).all()


def test_jpeg_masks_do_not_grow(tmp_path: Path) -> None:
    write(tmp_path / "m.jpg", TRUTH.astype(np.uint8) * 255, quality=75)
    values = np.asarray(Image.open(tmp_path / "m.jpg"))
    assert (values > 0).sum() > 1.05 * TRUTH.sum(), "the trap is there"
    assert abs(int(datasets.read_mask(tmp_path / "m.jpg").sum()) - int(TRUTH.sum())) <= 0.01 * TRUTH.sum()


def test_alpha_is_dropped_and_a_palettes_colours_are_read(tmp_path: Path) -> None:
    rgba = np.dstack([TRUTH.astype(np.uint8) * 255] * 3 + [np.full(TRUTH.shape, 255, np.uint8)])
    write(tmp_path / "alpha.png", rgba)
    palette = Image.fromarray((~TRUTH).astype(np.uint8), mode="P")
    palette.putpalette([255, 255, 255, 0, 0, 0] + [0] * 762)
    palette.save(tmp_path / "palette.png")
    Image.fromarray(TRUTH).save(tmp_path / "one_bit.png")
    for name in ("alpha", "palette", "one_bit"):
        assert (datasets.read_mask(tmp_path / f"{name}.png") == TRUTH).all(), name


def test_a_colour_tiff_that_is_tagged_as_grey_keeps_its_colours(tmp_path: Path) -> None:
    image = photo()
    tifffile.imwrite(tmp_path / "1.tif", image, photometric="minisblack", planarconfig="contig")
    with pytest.raises(UserError):
        read_image(tmp_path / "1.tif")
    assert (datasets.read_rgb(tmp_path / "1.tif") == image).all()
    (tmp_path / "2.tif").write_bytes((tmp_path / "1.tif").read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be decoded"):
        datasets.read_rgb(tmp_path / "2.tif")


def test_a_gzipped_ppm_is_read(tmp_path: Path) -> None:
    write(tmp_path / "m.ppm", np.dstack([TRUTH.astype(np.uint8) * 255] * 3))
    (tmp_path / "m.ppm.gz").write_bytes(gzip.compress((tmp_path / "m.ppm").read_bytes()))
    assert (datasets.read_mask(tmp_path / "m.ppm.gz") == TRUTH).all()
    assert datasets.read_rgb(tmp_path / "m.ppm.gz").shape == (96, 96, 3)


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "soft.png", (np.tile(np.linspace(0, 255, 96), (96, 1))).astype(np.uint8))
    write(tmp_path / "flat.png", np.full((96, 96), 7, np.uint8))
    with pytest.raises(UserError, match="neither black nor white"):
        datasets.read_mask(tmp_path / "soft.png")
    with pytest.raises(UserError, match="all pixels"):
        datasets.read_mask(tmp_path / "flat.png")
    write(tmp_path / "empty.png", np.zeros((96, 96), np.uint8))
    assert not datasets.read_mask(tmp_path / "empty.png").any()


LABELS = np.where(disc(centre=(20, 20), radius=4), 1, 0)  # a class that covers less than 1 % of the pixels


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((LABELS + 2 * TRUTH).astype(np.uint8), "more than two levels"),
        ((LABELS + 30 * TRUTH).astype(np.uint8), "more than two levels"),
        ((85 * LABELS + 255 * TRUTH).astype(np.uint8), "more than two levels"),
        (np.where(TRUTH, np.nan, 0).astype(np.float32), "not finite"),
        (TRUTH.astype(np.float32) - 1, "below 0"),
        (np.dstack([np.zeros((96, 96, 3)), 255 * TRUTH]).astype(np.uint8), "alpha channel alone"),
    ],
)
def test_a_mask_that_would_lose_what_it_holds_is_an_error(tmp_path: Path, values: np.ndarray, told: str) -> None:
    name = "m.tif" if values.dtype == np.float32 else "m.png"
    write(tmp_path / name, values)
    with pytest.raises(UserError, match=told):
        datasets.read_mask(tmp_path / name)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_what_jpeg_leaves_of_two_levels_is_a_mask(tmp_path: Path, quality: int) -> None:
    for radius in (5, 18, 30):
        write(tmp_path / "m.jpg", disc(radius=radius).astype(np.uint8) * 255, quality=quality)
        assert abs(int(datasets.read_mask(tmp_path / "m.jpg").sum()) - int(disc(radius=radius).sum())) <= 3


def test_an_image_of_16_bits_keeps_its_contrast(tmp_path: Path) -> None:
    ramp = np.linspace(100, 60_000, 96 * 96).reshape(96, 96).astype(np.uint16)
    write(tmp_path / "a.png", ramp)
    found = datasets.read_rgb(tmp_path / "a.png")
    assert found.shape == (96, 96, 3) and np.unique(found).size == 256


def test_a_table_may_space_its_masks_and_names_nothing_outside_its_folder(tmp_path: Path) -> None:
    written_set(tmp_path / "data", 2)
    table = tmp_path / "data/t.csv"
    for mask, is_fine in (("masks/c00.png ; masks/c01.png;", True), ("../other.png", False), ("/etc/passwd", False)):
        table.write_text(f"image,mask\nimages/c00.png,{mask}\n")
        parameters = {"segmentation_folder": str(table), "segmentation_test_share": 1.0}
        found = datasets.load("folder", parameters, tmp_path)
        case = found.part("test")[0]
        if is_fine:
            assert case["masks"] == ["masks/c00.png", "masks/c01.png"] and found.truth(case).any()
        else:
            with pytest.raises(UserError, match="leaves its folder"):
                found.truth(case)


def test_hidden_files_that_other_systems_leave_are_no_masks(tmp_path: Path) -> None:
    found = written_set(tmp_path, 2)
    (tmp_path / "masks/._c00.png").write_bytes(b"x")
    (tmp_path / "images/._c00.png").write_bytes(b"x")
    pairs = datasets.pairs_in(tmp_path / "images", tmp_path / "masks", tmp_path)
    assert pairs["case"].tolist() == found.cases["case"].tolist()


def test_several_masks_of_a_picture_are_ored(tmp_path: Path) -> None:
    write(tmp_path / "a (1).png", photo())
    left, right = TRUTH.copy(), TRUTH.copy()
    left[:, 50:], right[:, :50] = False, False
    write(tmp_path / "a (1)_mask.png", left.astype(np.uint8) * 255)
    write(tmp_path / "a (1)_mask_1.png", right.astype(np.uint8) * 255)
    cases = datasets.pairs_in(tmp_path, tmp_path, tmp_path)
    assert cases["case"].tolist() == ["a (1)"] and len(cases["masks"][0]) == 2
    found = datasets.SegmentationSet("x", "x", "object", cases.assign(group="g", split="test"), tmp_path)
    assert (found.truth(found.part("test")[0]) == TRUTH).all()


def test_a_picture_without_mask_and_a_mask_without_picture_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "images/a.png", photo())
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="no mask"):
        datasets.pairs_in(tmp_path / "images", tmp_path / "masks", tmp_path)
    write(tmp_path / "masks/a.png", TRUTH.astype(np.uint8))
    write(tmp_path / "masks/b.png", TRUTH.astype(np.uint8))
    with pytest.raises(UserError, match="'b' has no image"):
        datasets.pairs_in(tmp_path / "images", tmp_path / "masks", tmp_path)


def test_a_mask_of_another_size_is_an_error_unless_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "images/a.png", photo(48))
    write(tmp_path / "masks/a.png", TRUTH.astype(np.uint8) * 255)
    cases = datasets.pairs_in(tmp_path / "images", tmp_path / "masks", tmp_path).assign(group="g", split="test")
    found = datasets.SegmentationSet("x", "x", "object", cases, tmp_path)
    with pytest.raises(UserError, match="96 x 96 for an image of 48 x 48"):
        found.truth(found.part("test")[0])
    found.resize_masks = True
    assert found.truth(found.part("test")[0]).sum() == pytest.approx(TRUTH.sum() / 4, rel=0.03)


def test_only_the_field_of_view_is_scored(tmp_path: Path) -> None:
    found = written_set(tmp_path, 1)
    write(tmp_path / "fov.png", np.repeat([[255], [0]], 48, axis=0).repeat(96, axis=1).astype(np.uint8))
    case = found.part("test")[0] | {"fov": "fov.png"}
    assert found.truth(case)[:48].any() and not found.truth(case)[48:].any()


def test_whole_groups_go_to_one_side() -> None:
    cases = pd.DataFrame({"case": [f"c{i}" for i in range(60)], "group": [f"g{i // 5}" for i in range(60)]})
    split = datasets.split_groups(cases, 0.3, seed=1)
    assert split.groupby("group")["split"].nunique().max() == 1
    assert 15 <= (split["split"] == "test").sum() <= 25
    assert (datasets.split_groups(cases, 1.0, seed=1)["split"] == "test").all()


def test_copies_are_found_and_others_are_not(tmp_path: Path) -> None:
    found = written_set(tmp_path, 4)
    write(tmp_path / "images/copy.jpg", found.image(found.part("test")[2]), quality=92)
    copy = found.cases.iloc[[2]].assign(case="copy", image="images/copy.jpg")
    found.cases = pd.concat([found.cases, copy], ignore_index=True)
    assert datasets.twins(found) == ["", "", "", "", "c02"]


def test_a_group_on_both_sides_and_an_unknown_name_stop_the_run(tmp_path: Path) -> None:
    written_set(tmp_path, 6)
    table = pd.DataFrame(
        {"image": [f"images/c0{i}.png" for i in range(6)], "mask": [f"masks/c0{i}.png" for i in range(6)]}
    )
    table.assign(group="one", split=["train"] * 3 + ["test"] * 3).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match="in both training and test"):
        datasets.load("folder", {"segmentation_folder": str(tmp_path / "t.csv")}, tmp_path)
    with pytest.raises(UserError, match="did you mean 'busi'"):
        datasets.load("buzi", {}, tmp_path)


def test_the_table_of_sets_counts_cases_and_empty_truths(tmp_path: Path) -> None:
    written_set(tmp_path, 12, empty=(0,))
    parameters = {"segmentation_folder": str(tmp_path), "segmentation_test_share": 1.0}
    table = tables.data_sets({"folder": datasets.load("folder", parameters, tmp_path)})
    assert table["test_cases"].tolist() == [12] and table["empty_truths"].tolist() == [1]
