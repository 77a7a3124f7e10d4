"""Quality control: each reason on an image made for it, and none on what is a film."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from simulator.simulator_fixture import films

from nbhelpers.cropping import quality
from nbhelpers.images.files import read_gray, to_gray


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return films()


def shrink(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)


def judge(image: np.ndarray, min_side: int = 100) -> str:
    gray = to_gray(Image.fromarray(image))
    height, width = gray.shape
    return quality.measure(Image.fromarray(image), gray, (0, 0, width, height), min_side).reason


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
