"""Kinds of answers, geometry, the box-and-mask route, and what a perfect drawing reaches."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from metrics.mask_fixture import vessel_tree
from PIL import Image
from segmentation.segmentation_fixture import disc, photo, write

from nbhelpers.errors import UserError
from nbhelpers.image_models.geometry import unpadded
from nbhelpers.metrics.overlap import dice
from nbhelpers.segmentation import answers

TRUTH = disc(96)


def rgb(mask: np.ndarray) -> np.ndarray:
    return np.dstack([mask.astype(np.uint8) * 255] * 3)


def with_writing(mask: np.ndarray) -> np.ndarray:
    picture = rgb(mask)
    for number in range(5):
        cv2.rectangle(picture, (4 + 5 * number, 88), (6 + 5 * number, 92), (255, 255, 255), -1)
    return picture


def picture_of(kind: str, image: np.ndarray) -> np.ndarray:
    red, outline = np.zeros_like(image), np.zeros(TRUTH.shape, np.uint8)
    red[TRUTH] = (230, 20, 20)
    contours = cv2.findContours(TRUTH.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(outline, contours, -1, 1, 2)
    overlay = image.copy()
    overlay[TRUTH] = overlay[TRUTH] * 0.3 + np.array([0, 255, 0]) * 0.7
    gradient = np.dstack([np.tile(np.linspace(20, 235, 96), (96, 1)).astype(np.uint8)] * 3)
    return {
        "mask": rgb(TRUTH),
        "empty": rgb(np.zeros_like(TRUTH)),
        "inverted": rgb(~TRUTH),
        "coloured": red,
        "overlay": overlay,
        "outline": rgb(outline > 0),
        "legend": with_writing(TRUTH),
        "unchanged": image,
        "soft": gradient,
    }[kind]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", answers.PICTURES)
def test_each_kind_of_picture_is_told(kind: str, seed: int) -> None:
    image = photo(seed=seed)
    assert answers.classify(picture_of(kind, image), image) == kind


@pytest.mark.parametrize("kind", ["mask", "inverted", "coloured", "overlay", "outline", "unchanged"])
def test_jpeg_and_a_soft_edge_do_not_change_the_kind(kind: str) -> None:
    image = photo(seed=3)
    drawn = cv2.resize(picture_of(kind, image), (1024, 1024), interpolation=cv2.INTER_LINEAR)
    buffer = io.BytesIO()
    Image.fromarray(cv2.GaussianBlur(drawn, (0, 0), 1.5)).save(buffer, "JPEG", quality=75)
    assert answers.classify(unpadded(np.asarray(Image.open(buffer)), image.shape), image) == kind


def test_a_tree_of_vessels_is_a_mask_and_no_outline() -> None:
    tree = vessel_tree(256, 1)
    assert answers.classify(rgb(tree), photo(shape=tree.shape), thin=True) == "mask"


def test_a_perfect_drawing_of_vessels_is_lost_above_240_and_one_of_a_blob_is_not() -> None:
    tree, blob = vessel_tree(565, 2), disc(352, (150, 170), 60)
    for truth, least, most in ((tree, 0.0, 0.75), (blob, 0.95, 1.0)):
        shares = answers.drawn_ceiling(truth, 75, 1.5)
        assert dice(shares > 127, truth) > 0.88
        assert least <= dice(shares > 240, truth) <= most
    assert dice(answers.drawn_ceiling(tree, None, 0.0) > 127, tree) > 0.98


def item(mask: object, box: tuple[Any, ...] = (250, 250, 750, 750)) -> dict:
    return {"box_2d": list(box), "label": "polyp", "mask": mask}


def coded(shares: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(shares).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


HALF = np.tile(np.repeat([200, 60], 32), (64, 1)).astype(np.uint8)  # sure on the left, not on the right


def test_the_documented_mask_is_put_into_its_box_and_read_at_127() -> None:
    shares, kind = answers.read_boxes(json.dumps([item(coded(HALF))]), (80, 120))
    assert kind == "mask" and shares.shape == (80, 120)
    mask = shares > 127
    assert mask[20:60, 30:59].all() and not mask[:, 61:].any() and not mask[:20].any() and not mask[60:].any()
    assert (shares > 0)[20:60, 30:90].all(), "over 0 the whole box would be foreground"


def test_a_fence_round_the_json_and_two_masks_are_read() -> None:
    two = [item(coded(HALF)), item(coded(HALF * 0 + 255), (0, 0, 100, 100))]
    shares, kind = answers.read_boxes(f"Here it is:\n```json\n{json.dumps(two)}\n```", (100, 100))
    assert kind == "mask" and (shares > 127)[:10, :10].all() and (shares > 127)[30:70, 30:48].all()


def test_a_polygon_is_filled_whichever_way_its_points_are() -> None:
    box = (100, 500, 300, 900)  # y0, x0, y1, x1
    points = [[500, 100], [900, 100], [900, 300], [500, 300]]
    for given in (points, [[y, x] for x, y in points]):
        shares, kind = answers.read_boxes(json.dumps([item(given, box)]), (200, 200))
        assert kind == "mask" and (shares > 127)[22:58, 102:178].all() and not (shares > 127)[:, :98].any()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("[]", "empty"),
        ("I cannot help with medical images.", "text_only"),
        (json.dumps([item("<start_of_mask><seg_35><seg_7>")]), "unreadable"),
        ('[{"box_2d": [1, 2, 3, 4], "mask": "data:image/png;base64,iVBORiVBORiVBOR', "unreadable"),
        (json.dumps([item("data:image/png;base64,iVBORiVBORiVBOR=")]), "unreadable"),
        (json.dumps([item(coded(HALF), (750, 250, 250, 750))]), "unreadable"),
        (json.dumps([item(coded(HALF), (0, 0, 1500, 1500))]), "unreadable"),
        (json.dumps([item([[1, 2], [3, 4]])]), "unreadable"),
        (json.dumps([item([[10, 10], [20, 10], [20, 20]])]), "unreadable"),
        ("3", "text_only"),
    ],
)
def test_what_cannot_be_read_is_called_so_and_nothing_is_guessed(text: str, kind: str) -> None:
    shares, found = answers.read_boxes(text, (50, 50))
    assert found == kind and not shares.any()


FULL = np.full((8, 8), 255, np.uint8)
WHOLE = json.dumps([item(coded(FULL))])
CORNER = json.dumps([item(coded(FULL), (0, 0, 100, 100))])


@pytest.mark.parametrize(
    ("text", "corner"),
    [
        (f"As in [1], the masks are: {WHOLE} Ask me for more.", False),
        (f"```json\n{WHOLE}\n```\nand\n```\n{CORNER}\n```", True),
        (f"```json\n{WHOLE}", False),
        (f"{WHOLE[1:-1]}\n{CORNER[1:-1]}", True),
        (WHOLE.replace("iVBOR", "iV\nBOR").replace("base64,", "base64, "), False),
        (WHOLE.replace("=", ""), False),
        (json.dumps([item(coded(FULL), (250.0, 250.4, 750.0, 750.0))]), False),
        (json.dumps([item(coded(np.full((900, 900), 255, np.uint8)))]), False),
        (json.dumps([item(coded(FULL // 255))]), False),
        (json.dumps([item(coded(FULL > 0))]), False),
        (json.dumps([item(coded(np.dstack([FULL] * 4)))]), False),
    ],
)
def test_the_route_is_read_whatever_stands_around_the_json(text: str, corner: bool) -> None:
    wanted = np.zeros((100, 100), bool)
    wanted[25:75, 25:75], wanted[:10, :10] = True, corner
    shares, kind = answers.read_boxes(text, (100, 100))
    assert kind == "mask" and ((shares > 127) == wanted).all()


def declared(side: int) -> str:
    """A PNG whose header tells another size than it has."""
    data = base64.b64decode(coded(FULL).split(",")[1])
    head = b"IHDR" + struct.pack(">II5B", side, side, 8, 0, 0, 0, 0)
    return base64.b64encode(data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]).decode()


@pytest.mark.parametrize(
    "text",
    [
        *(json.dumps([item(coded(FULL), box)]) for box in ((-5, 0, 10, 10), ("250", "250", "750", "750"))),
        *(json.dumps([item(coded(FULL), box)]) for box in ((0.2, 0.2, 0.8, 0.8), (False, False, True, True))),
        *(json.dumps([item(coded(FULL), box)]) for box in ((1, 2, 3), (750, 750, 250, 250))),
        *(json.dumps([item(mask)]) for mask in (declared(100_000), declared(9_000), coded(FULL)[:80], None, "")),
        *(json.dumps([item(mask)]) for mask in ([300, 300, 700, 300, 700, 700], [[300, 300], [700, 300]])),
        json.dumps([item(coded(np.full((8, 8), 60_000, np.uint16)))]),
        json.dumps([item([[200, 200]] * 15 + [[float("nan"), 300]], (100, 100, 900, 900))]),
        json.dumps([{"box": [250, 250, 750, 750], "mask": coded(FULL)}]),
        json.dumps([item(coded(FULL)), item(coded(FULL))])[:-60],
        WHOLE[:-1] + ', {"box_',
        WHOLE.replace('"', "'"),
        '[{"a":' * 5_000,
    ],
)
def test_an_answer_of_the_route_that_is_out_of_order_is_unreadable(text: str) -> None:
    shares, kind = answers.read_boxes(text, (50, 50))
    assert kind == "unreadable" and not shares.any()


@pytest.mark.parametrize("text", ["", " \n", "I cannot draw a mask of this.", "[[" * 5_000])
def test_an_answer_without_the_route_is_text(text: str) -> None:
    assert answers.read_boxes(text, (50, 50))[1] == "text_only"


def test_an_unsure_map_stays_unsure_beside_the_sure_ones_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.png", TRUTH.astype(np.uint8) * 250)
    write(tmp_path / "b.png", TRUTH.astype(np.uint8))  # 1 of 255: nothing was found here
    write(tmp_path / "c.png", np.zeros((60, 90), np.uint8))
    found = answers.from_folder("third", "third", "x", tmp_path, ["a", "b", "c"])
    assert (found.read("a", TRUTH.shape) > 127).any() and not (found.read("b", TRUTH.shape) > 127).any()
    with pytest.raises(UserError, match="lies on its side"):
        found.read("c", (90, 60))


def test_maps_from_elsewhere_are_found_by_stem_and_a_lacking_one_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", TRUTH.astype(np.uint8) * 255, quality=90)
    write(tmp_path / "b.png", TRUTH.astype(np.uint8))  # 0 and 1
    found = answers.from_folder("third", "third", "mine", tmp_path, ["a", "b", "c"])
    assert found.kinds == {"a": "mask", "b": "mask", "c": "missing"}
    for case in "ab":
        assert dice(found.read(case, TRUTH.shape) > 127, TRUTH) > 0.99
    assert found.read("a", (48, 48)).shape == (48, 48)
    with pytest.raises(UserError, match="no map for any"):
        answers.from_folder("third", "third", "mine", tmp_path, ["x"])
    with pytest.raises(UserError, match="not found"):
        answers.from_folder("third", "third", "mine", tmp_path / "no", ["x"])


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.float32, 255)])
def test_a_map_from_elsewhere_is_as_sure_as_it_says_in_any_format(tmp_path: Path, dtype: type, scale: int) -> None:
    shares = np.zeros((40, 40))
    shares[10:30, 10:30], shares[15:25, 15:25] = 0.2, 0.8 if scale != 255 or dtype is np.uint8 else 0.6
    name = "c.tif" if dtype is np.float32 else "c.png"
    Image.fromarray((shares * scale).astype(dtype)).save(tmp_path / name)
    found = answers.from_folder("third", "third", "x", tmp_path, ["c"]).read("c", (40, 40))
    assert np.abs(found / 255 - shares).max() < 0.01
