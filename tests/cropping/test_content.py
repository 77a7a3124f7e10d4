from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from cropping.cropping_fixture import film, framed, holds, lung_box

from nbhelpers.cropping import content, methods
from nbhelpers.images.masks import Box


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


def test_content_boxes_take_milliseconds() -> None:
    pictures = [framed(film(seed=seed), (10, 10, 10, 10), 255) for seed in range(40)]
    started = time.process_time()
    for picture in pictures:
        methods.crop_box(picture, "content")
    # About 5 ms an image on an idle core; the bound leaves room for a busy one.
    assert (time.process_time() - started) / len(pictures) < 0.05
