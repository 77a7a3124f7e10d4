from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from scipy.fft import dctn
from simulator.simulator_fixture import films

from nbhelpers.images import duplicates


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return films()


def shrink(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)


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
