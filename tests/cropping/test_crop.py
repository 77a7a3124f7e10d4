"""Cropping: against the simulator's truth, on hand-made frames, stars and captions, and the tables that come of it."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nbhelpers.cropping import against_truth, content, crop, methods
from nbhelpers.errors import UserError
from nbhelpers.images import files
from nbhelpers.images.masks import Box
from nbhelpers.prompting import drawing, prompts
from nbhelpers.runs import tables

ARMS = {
    "cropped": {"source": "simulator", "crop": "content"},
    "raw": {"source": "simulator", "crop": "none"},
    "margins": {"source": "simulator", "crop": "margins"},
}


def film(size: int = 256, seed: int = 0) -> np.ndarray:
    """A chest-like picture from ellipses: two dark lungs in a bright body, black air around, some grain."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    body = 1 / (1 + np.exp((((x - 0.5) / 0.46) ** 2 + ((y - 0.75) / 0.75) ** 4 - 1) * 12))
    lungs = sum(
        1 / (1 + np.exp((((x - centre) / 0.15) ** 2 + ((y - 0.45) / 0.27) ** 2 - 1) * 8)) for centre in (0.3, 0.7)
    )
    values = 15 + 165 * body - 120 * lungs + 12 * np.sin(40 * y) * body + rng.normal(0, 3, (size, size))
    return np.clip(values, 0, 255).astype(np.uint8)


def lung_box(size: int = 256) -> Box:
    return Box(int(0.15 * size), int(0.18 * size), int(0.85 * size), int(0.72 * size))


def holds(outer: Box, inner: Box, slack: int = 0) -> bool:
    return (
        outer.left <= inner.left + slack
        and outer.top <= inner.top + slack
        and outer.right >= inner.right - slack
        and outer.bottom >= inner.bottom - slack
    )


def framed(image: np.ndarray, borders: tuple[int, int, int, int], value: int) -> np.ndarray:
    left, top, right, bottom = borders
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=value)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("drawn")
    design = prompts.design(120, 11, prompts.load_templates())
    source = drawing.make_source("simulator", {"simulator_size": 192, "workers": 0})
    return folder, drawing.draw_images(source, design, folder / "simulator")


@pytest.fixture(scope="module")
def cropped(drawn: tuple[Path, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder, table = drawn
    out = tmp_path_factory.mktemp("cropped")
    return out, crop.crop_sources({"simulator": table}, ARMS, folder, out, workers=2)


def test_content_takes_the_watermark_off_99_percent_and_keeps_98_percent_of_the_lungs(
    drawn: tuple[Path, pd.DataFrame], cropped: tuple[Path, pd.DataFrame]
) -> None:
    """Measured here from the truth itself, without the library's own table."""
    folder, _ = drawn
    gone, kept = [], []
    for row in cropped[1].query("crop == 'content'").to_dict("records"):
        bits = np.asarray(Image.open(folder / "simulator" / "truth" / f"{row['image_id']}.png"))
        box = [int(row[side]) for side in Box._fields]
        mark = [int(row[f"watermark_{side}"]) for side in Box._fields]
        gone.append(mark[0] >= box[2] or mark[1] >= box[3] or mark[2] <= box[0] or mark[3] <= box[1])
        lungs = bits & 1 > 0
        kept.append(lungs[box[1] : box[3], box[0] : box[2]].sum() / lungs.sum())
    assert len(gone) == 240
    assert np.mean(gone) >= 0.99
    assert np.mean(kept) >= 0.98
    assert np.quantile(kept, 0.01) > 0.80, "no image loses its lungs"


def test_the_truth_table_says_the_same_and_none_keeps_every_watermark(
    drawn: tuple[Path, pd.DataFrame], cropped: tuple[Path, pd.DataFrame]
) -> None:
    truth = against_truth.truth_table(cropped[1], drawn[0]).set_index("crop")
    assert truth.loc["none", ["watermark_gone", "lung_kept", "under_98", "overlay_left", "area"]].tolist() == [
        0,
        1,
        0,
        1,
        1,
    ]
    assert truth.loc["content", "watermark_gone"] >= 0.99 and truth.loc["content", "lung_kept"] >= 0.98
    assert truth.loc["content", "overlay_left"] < 0.35
    assert truth.loc["content", "lung_kept"] > truth.loc["margins", "lung_kept"] - 0.02
    assert "ok (240 images)" in against_truth.check_crops(truth.reset_index())


def test_a_content_crop_that_fails_stops_the_run() -> None:
    row = {
        "source": "simulator",
        "crop": "content",
        "images": 9,
        "watermark_gone": 1.0,
        "lung_kept": 0.9,
        "under_98": 1.0,
    }
    with pytest.raises(UserError, match=r"90\.0% of lung pixels"):
        against_truth.check_crops(pd.DataFrame([row]))
    with pytest.raises(UserError, match=r"gone in 98\.0%"):
        against_truth.check_crops(pd.DataFrame([row | {"watermark_gone": 0.98, "lung_kept": 1.0}]))
    assert "nothing to check" in against_truth.check_crops(pd.DataFrame([row | {"crop": "none"}]))


@pytest.mark.parametrize("value", [0, 8, 90, 200, 255])
@pytest.mark.parametrize("borders", [(20, 20, 20, 20), (0, 30, 0, 12), (7, 3, 40, 0)])
def test_a_plain_frame_is_found_to_the_pixel_or_two(value: int, borders: tuple[int, int, int, int]) -> None:
    # The film's own edges are lifted off the frame's gray, or nothing could tell them apart.
    inner = np.maximum(film(), 40) if value < 40 else film()
    image = framed(inner, borders, value)
    field = content.find_field(image)
    left, top, right, bottom = borders
    true = Box(left, top, image.shape[1] - right, image.shape[0] - bottom)
    assert holds(true, field), (true, field)
    body = Box(
        true.left + lung_box().left,
        true.top + lung_box().top,
        true.left + lung_box().right,
        true.top + lung_box().bottom,
    )
    assert holds(field, body)


def test_frames_in_frames_and_a_ruled_line_are_found() -> None:
    inner = np.maximum(film(), 40)
    image = framed(framed(framed(inner, (6, 6, 6, 6), 0), (12, 9, 12, 9), 250), (5, 5, 5, 5), 20)
    assert holds(Box(23, 20, 279, 276), content.find_field(image))
    lined = inner.copy()
    cv2.rectangle(lined, (10, 12), (245, 247), 255, 1)
    field = content.find_field(lined)
    assert holds(Box(11, 13, 245, 247), field) and holds(field, lung_box())


def test_a_caption_in_a_frame_does_not_end_the_frame() -> None:
    image = framed(np.maximum(film(), 40), (0, 0, 0, 34), 255)
    cv2.putText(image, "PORTABLE AP 12:40", (30, 280), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0, 1, cv2.LINE_AA)
    assert content.find_field(image).bottom <= 256


def test_noise_in_a_frame_as_jpeg_leaves_it_does_not_hide_it() -> None:
    image = framed(np.maximum(film(), 40), (25, 25, 25, 25), 235)
    image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
    assert holds(Box(25, 25, 281, 281), content.find_field(image), slack=2)


def test_a_film_without_a_frame_keeps_its_lungs_and_most_of_itself() -> None:
    box = methods.crop_box(film(), "content")
    assert holds(box, lung_box())
    assert (box.right - box.left) * (box.bottom - box.top) > 0.7 * 256**2


@pytest.mark.parametrize("radius", [5, 7, 9, 12])
@pytest.mark.parametrize("value", [255, 60])
def test_a_four_pointed_star_is_found_where_it_is(radius: int, value: int) -> None:
    """Drawn as the hypocycloid x = cos^3, y = sin^3, not as the library draws its own."""
    image = film(seed=radius).astype(np.float32)
    image[200:, 180:] = 150 + np.random.default_rng(0).normal(0, 3, (56, 76))
    angle = np.linspace(0, 2 * np.pi, 200)
    centre = 256 - 12 - radius
    points = np.stack([centre + radius * np.cos(angle) ** 3, centre + radius * np.sin(angle) ** 3], axis=1)
    mask = np.zeros((256, 256), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    image += (value - image) * 0.7 * mask / 255
    gray = image.clip(0, 255).astype(np.uint8)
    found, score = content.find_sparkle(gray)
    assert score >= content.SPARKLE_SCORE
    assert holds(found, Box(centre - radius, centre - radius, centre + radius, centre + radius), slack=1)
    box = methods.crop_box(gray, "content")
    assert box.right <= centre - radius or box.bottom <= centre - radius
    assert holds(box, lung_box())


def test_where_no_star_is_seen_its_usual_corner_goes_all_the_same() -> None:
    box = methods.crop_box(film(), "content")
    assert box.right <= 0.9 * 256 or box.bottom <= 0.9 * 256


def test_captions_and_markers_near_the_edges_go_and_the_lungs_stay() -> None:
    image = film()
    cv2.putText(image, "CHEST PA", (90, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    cv2.putText(image, "R", (2, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)
    found = content.find_captions(image)
    assert any(holds(box, Box(95, 8, 140, 12), slack=3) for box in found)
    box = methods.crop_box(image, "content")
    assert box.top >= 14 and box.left >= 8
    assert holds(box, lung_box())


@pytest.mark.parametrize("factor", [0.5, 1, 2, 4])
def test_the_box_scales_with_the_image(factor: float) -> None:
    image = framed(np.maximum(film(), 40), (20, 20, 20, 20), 255)
    small = np.array(methods.crop_box(image, "content")) / 296
    size = round(296 * factor)
    large = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    assert np.abs(np.array(methods.crop_box(large, "content")) / size - small).max() < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (47, 47), (64, 200), (600, 200), (2000, 1500)])
@pytest.mark.parametrize("fill", ["black", "white", "noise", "halves"])
def test_a_box_is_never_empty_whatever_the_image(shape: tuple[int, int], fill: str) -> None:
    image = np.zeros(shape, np.uint8)
    if fill == "white":
        image[:] = 255
    elif fill == "noise":
        image[:] = np.random.default_rng(0).integers(0, 255, shape)
    elif fill == "halves":
        image[:, shape[1] // 2 :] = 255
    for method in methods.METHODS:
        box = methods.crop_box(image, method)
        assert 0 <= box.left < box.right <= shape[1] and 0 <= box.top < box.bottom <= shape[0]


def test_margins_are_shares_of_each_side_and_none_is_all() -> None:
    image = np.zeros((200, 100), np.uint8)
    assert methods.crop_box(image, "margins", [0.1, 0.2, 0.3, 0.05]) == Box(10, 40, 70, 190)
    assert methods.crop_box(image, "none") == Box(0, 0, 100, 200)


@pytest.mark.parametrize("margins", [[0.1], [0, 0, 0, 1.5], [-0.1, 0, 0, 0], [0.5, 0, 0.5, 0], [float("nan"), 0, 0, 0]])
def test_impossible_margins_are_refused(margins: list[float]) -> None:
    with pytest.raises(UserError, match="crop_margins"):
        methods.crop_box(film(), "margins", margins)


def test_an_unknown_crop_is_named_with_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"unknown crop 'contents'.*did you mean 'content'"):
        methods.crop_box(film(), "contents")
    with pytest.raises(UserError, match="arm cropped"):
        methods.crops_of({"cropped": {"source": "simulator", "crop": "contents"}})


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
    with pytest.raises(UserError, match="no image of class normal"):
        crop.crop_source(table, drawn[0] / "simulator", tmp_path / "simulator", ["none"])
    assert (tmp_path / "simulator" / "images.csv").is_file()


def test_an_earlier_stage_that_has_not_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table not found"):
        crop.load_tables(ARMS, tmp_path)


def test_content_boxes_take_milliseconds() -> None:
    pictures = [framed(film(seed=seed), (10, 10, 10, 10), 255) for seed in range(40)]
    started = time.process_time()
    for picture in pictures:
        methods.crop_box(picture, "content")
    # About 5 ms an image on an idle core; the bound leaves room for a busy one.
    assert (time.process_time() - started) / len(pictures) < 0.05
