"""Quality control: each reason on an image made for it, and none on what is a film."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from nbhelpers.cropping import quality
from nbhelpers.images import duplicates
from nbhelpers.images.files import read_gray, to_gray
from nbhelpers.prompting import prompts
from nbhelpers.simulator.film import draw_films


def films(count: int = 12, physics: str = "nano_banana") -> list[np.ndarray]:
    design = prompts.design(count, 4, prompts.load_templates())
    drawn = draw_films(design, physics, 160, 1)
    return [to_gray(Image.fromarray(film.image)) for film in drawn]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return films()


def shrink(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)


def judge(image: np.ndarray, min_side: int = 100) -> str:
    gray = to_gray(Image.fromarray(image))
    height, width = gray.shape
    return quality.measure(Image.fromarray(image), gray, (0, 0, width, height), min_side).reason


def test_the_hash_is_the_dct_hash_of_scipys_dct(pictures: list[np.ndarray]) -> None:
    for picture in pictures[:6]:
        small = shrink(picture)
        low = dctn(small.astype(np.float64), type=2, norm="ortho")[:16, :16]
        bits = np.unpackbits(duplicates.perceptual_hash(small).view(np.uint8)).astype(bool).reshape(16, 16)
        # Single precision may tip a coefficient that equals the median.
        assert (bits == (low > np.median(low))).sum() >= 254


def test_copies_are_found_and_the_first_is_kept(pictures: list[np.ndarray]) -> None:
    picture = pictures[0]
    jpeg = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)
    smaller = cv2.resize(picture, (120, 120), interpolation=cv2.INTER_AREA)
    brighter = cv2.convertScaleAbs(picture, alpha=0.9, beta=12)
    row = [pictures[1], picture, jpeg, pictures[2], smaller, brighter, picture]
    thumbnails = np.stack([shrink(image) for image in row])
    hashes = np.stack([duplicates.perceptual_hash(image) for image in thumbnails])
    assert duplicates.near_duplicates(hashes, thumbnails, 8).tolist() == [-1, -1, 1, -1, 1, 1, 1]
    assert duplicates.near_duplicates(hashes, thumbnails, 8, block=2).tolist() == [-1, -1, 1, -1, 1, 1, 1]
    assert (duplicates.near_duplicates(hashes, thumbnails, -1) == -1).all()


def test_a_pneumonia_and_a_normal_of_one_anatomy_are_no_duplicates(pictures: list[np.ndarray]) -> None:
    thumbnails = np.stack([shrink(image) for image in pictures])
    hashes = np.stack([duplicates.perceptual_hash(image) for image in thumbnails])
    assert (duplicates.near_duplicates(hashes, thumbnails, 8) == -1).all()


def test_close_hashes_alone_make_no_duplicate(pictures: list[np.ndarray]) -> None:
    thumbnails = np.stack([shrink(image) for image in pictures[:2]])
    hashes = np.repeat(duplicates.perceptual_hash(thumbnails[0])[None], 2, axis=0)
    assert duplicates.near_duplicates(hashes, thumbnails, 8).tolist() == [-1, -1]


def test_every_pair_within_the_distance_is_found_as_by_comparing_all() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (300, 256), dtype=np.uint8)
    for index in range(150, 300):
        bits[index] = bits[index - 150]
        bits[index, rng.choice(256, rng.integers(0, 20), replace=False)] ^= 1
    hashes = np.packbits(bits, axis=1).view(np.uint64)
    thumbnails = np.broadcast_to(np.arange(4096, dtype=np.uint16).reshape(64, 64).astype(np.uint8), (300, 64, 64))
    expected = np.full(300, -1)
    for one in range(300):
        for other in range(one):
            if expected[one] < 0 and expected[other] < 0 and (bits[one] != bits[other]).sum() <= 8:
                expected[one] = other
    found = duplicates.near_duplicates(hashes, thumbnails, 8, block=64)
    assert found.tolist() == expected.tolist() and (expected >= 0).sum() > 20


def test_16000_images_are_compared_in_seconds() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**63, (16000, 4)).astype(np.uint64)
    started = time.process_time()
    twins = duplicates.near_duplicates(hashes, np.zeros((16000, 64, 64), np.uint8), 8)
    assert (twins == -1).all() and time.process_time() - started < 20  # about 2 s on an idle core


def test_16000_copies_of_one_image_are_compared_in_seconds(pictures: list[np.ndarray]) -> None:
    thumbnail = shrink(pictures[0])
    hashes = np.repeat(duplicates.perceptual_hash(thumbnail)[None], 16000, axis=0)
    started = time.process_time()
    twins = duplicates.near_duplicates(hashes, np.broadcast_to(thumbnail, (16000, 64, 64)), 8)
    assert twins[0] == -1 and (twins[1:] == 0).all() and time.process_time() - started < 20


@pytest.mark.parametrize("physics", ["nano_banana", "roentgen", "hospital_a", "hospital_b"])
def test_a_film_passes_whatever_drew_it(physics: str) -> None:
    assert [judge(film) for film in films(6, physics)] == [""] * 12


def test_a_tinted_film_passes_and_a_coloured_picture_does_not(pictures: list[np.ndarray]) -> None:
    gray = pictures[0].astype(np.float32)
    tinted = np.stack([gray * 0.92, gray * 0.96, gray], axis=2).astype(np.uint8)
    assert judge(tinted) == ""
    painted = cv2.cvtColor(cv2.applyColorMap(pictures[0], cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    assert judge(painted) == "colour"


def test_a_coloured_frame_makes_no_coloured_film(pictures: list[np.ndarray]) -> None:
    rgb = np.repeat(pictures[0][:, :, None], 3, axis=2)
    framed = cv2.copyMakeBorder(rgb, 30, 30, 30, 30, cv2.BORDER_CONSTANT, value=(200, 20, 20))
    image = Image.fromarray(framed)
    gray = to_gray(image)
    assert quality.measure(image, gray, (30, 30, 190, 190), 100).reason == ""
    assert quality.colourfulness(image, (0, 0, *image.size)) > quality.COLOUR_LIMIT


def test_complementary_colours_do_not_average_to_gray() -> None:
    board = np.zeros((256, 256, 3), np.uint8)
    board[:, ::2] = (255, 0, 0)
    board[:, 1::2] = (0, 255, 255)
    assert quality.colourfulness(Image.fromarray(board), (0, 0, 256, 256)) == 255


def test_a_small_image_is_too_small(pictures: list[np.ndarray]) -> None:
    assert judge(cv2.resize(pictures[0], (90, 200)), 100) == "too_small"
    assert judge(cv2.resize(pictures[0], (100, 200)), 100) != "too_small"


def blunders() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    page = np.full((256, 256), 250, np.uint8)
    for line in range(20, 250, 22):
        cv2.putText(page, "I cannot draw medical images", (5, line), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 10, 1)
    mask = np.zeros((256, 256), np.uint8)
    cv2.ellipse(mask, (80, 120), (45, 80), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, (176, 120), (45, 80), 0, 0, 360, 255, -1)
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[:, None], 256, axis=1)
    return {
        "black": np.zeros((256, 256), np.uint8),
        "gray": np.full((256, 256), 128, np.uint8) + rng.integers(0, 5, (256, 256), dtype=np.uint8),
        "noise": rng.integers(0, 255, (256, 256), dtype=np.uint8),
        "text page": page,
        "mask": mask,
        "ramp": ramp,
        "ball": np.clip(255 - 1.6 * np.hypot(*np.mgrid[-128:128, -128:128]), 0, 255).astype(np.uint8)[::-1]
        // 255
        * 128,
    }


@pytest.mark.parametrize("name", list(blunders()))
def test_what_is_no_radiograph_is_found(name: str) -> None:
    assert judge(blunders()[name]) == "not_a_radiograph"


@pytest.mark.skipif(not os.environ.get("NBHELPERS_DATA"), reason="NBHELPERS_DATA names no folder of real films")
def test_real_films_pass() -> None:
    files = sorted((Path(os.environ["NBHELPERS_DATA"]) / "kermany224").rglob("*.jp*g"))[::60]
    assert files, "kermany224 holds no film"
    told = [judge(read_gray(file), 100) for file in files]
    assert np.mean([reason == "" for reason in told]) >= 0.99
