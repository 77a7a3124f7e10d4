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
    palette.putpalette([128, 0, 0, 0, 0, 0] + [0] * 762)
    palette.save(tmp_path / "palette.png")
    Image.fromarray(TRUTH).save(tmp_path / "one_bit.png")
    Image.fromarray(TRUTH).save(tmp_path / "fax.tif", compression="group4")
    write(
        tmp_path / "half_seen.png",
        np.dstack([TRUTH.astype(np.uint8) * 255] * 3 + [np.full(TRUTH.shape, 128, np.uint8)]),
    )
    Image.fromarray(rgba[..., :3]).convert("YCbCr").save(tmp_path / "video.tif")
    for name in ("alpha.png", "palette.png", "one_bit.png", "fax.tif", "half_seen.png", "video.tif"):
        assert (datasets.read_mask(tmp_path / name) == TRUTH).all(), name


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


def turned(orientation: int) -> dict[str, bytes]:
    """How to save a picture that a tag turns."""
    tags = Image.Exif()
    tags[datasets.ORIENTATION] = orientation
    return {"exif": tags.tobytes()}


WIDE = photo(shape=(60, 96))  # as it is seen; a camera may have kept it lying on its side


@pytest.mark.parametrize(
    ("image", "mask", "orientation", "told"),
    [
        (np.rot90(WIDE, 1), TRUTH[:60], 6, ""),
        (np.rot90(WIDE, 1), np.rot90(TRUTH[:60], 1), 6, "lies on its side: 60 x 96 for an image of 96 x 60"),
        (WIDE, TRUTH[:60], 3, "which way the other stands cannot be told"),
        (photo(), TRUTH, 6, "which way the other stands cannot be told"),
        (WIDE, TRUTH[:60].T, 1, "lies on its side"),
    ],
)
def test_a_mask_that_may_stand_another_way_than_its_image_is_an_error(
    tmp_path: Path, image: np.ndarray, mask: np.ndarray, orientation: int, told: str
) -> None:
    write(tmp_path / "images/a.jpg", np.ascontiguousarray(image), **turned(orientation))
    write(tmp_path / "masks/a.png", np.ascontiguousarray(mask).astype(np.uint8) * 255)
    parameters = {"segmentation_folder": str(tmp_path), "segmentation_test_share": 1.0}
    found = datasets.load("folder", parameters | {"segmentation_resize_masks": True}, tmp_path)
    case = found.part("test")[0]
    if told:
        with pytest.raises(UserError, match=told):
            found.truth(case)
    else:
        assert found.image(case).shape == (60, 96, 3) and (found.truth(case) == mask).all()


def test_image_and_mask_that_one_tag_turns_alike_stay_together(tmp_path: Path) -> None:
    write(tmp_path / "images/a.jpg", np.rot90(photo(), 1).copy(), **turned(6))
    write(tmp_path / "masks/a.png", np.rot90(TRUTH, 1).astype(np.uint8) * 255, **turned(6))
    parameters = {"segmentation_folder": str(tmp_path), "segmentation_test_share": 1.0}
    found = datasets.load("folder", parameters, tmp_path)
    assert (found.truth(found.part("test")[0]) == TRUTH).all()


@pytest.mark.parametrize(
    ("name", "rows", "cases", "groups"),
    [
        ("t.csv", "image;mask\np/a.png;m.png\n", ["a"], ["a"]),
        ("t.tsv", "Image\tMask\tGroup\np/a.png\tm.png\tx\np/b.png\tm.png\t\n", ["a", "b"], ["x", "b"]),
        ("t.csv", "image,mask\np/a.png,m.png\nq/a.png,m.png\n", ["p_a", "q_a"], ["p_a", "q_a"]),
        ("t.csv", "image,mask\np\\a.png,m.png\n", ["a"], ["a"]),
    ],
)
def test_a_table_is_read_however_a_spreadsheet_writes_it(
    tmp_path: Path, name: str, rows: str, cases: list[str], groups: list[str]
) -> None:
    for path in ("p/a.png", "p/b.png", "q/a.png"):
        write(tmp_path / path, photo())
    write(tmp_path / "m.png", TRUTH.astype(np.uint8) * 255)
    (tmp_path / name).write_text(rows, encoding="utf-8")
    parameters = {"segmentation_folder": str(tmp_path / name), "segmentation_test_share": 1.0}
    found = datasets.load("folder", parameters, tmp_path)
    assert found.cases["case"].tolist() == cases and found.cases["group"].tolist() == groups
    assert all((found.truth(case) == TRUTH).all() for case in found.part("test"))


def test_an_image_that_is_listed_twice_is_an_error_that_says_how_to_name_several_masks(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,mask\np/a.png,m.png\n./p/a.png,n.png\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"'a' is listed twice.*a\.png;b\.png"):
        datasets.load("folder", {"segmentation_folder": str(tmp_path / "t.csv")}, tmp_path)


GZIPPED = [gzip.compress(data, mtime=0) for data in (b"P6 2 2 255 " + b"x" * 12, b"P6 2 2")]


# Ids that hold no time: the suite's workers must collect the same ones.
@pytest.mark.parametrize("data", [b"xx", GZIPPED[0][:20], GZIPPED[1]], ids=["no gzip", "cut off", "no whole image"])
def test_a_broken_gzip_is_one_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.ppm.gz").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.ppm\.gz"):
        datasets.read_rgb(tmp_path / "a.ppm.gz")


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
