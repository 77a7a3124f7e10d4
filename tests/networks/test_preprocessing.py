import numpy as np
import pytest
import torch
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.networks import preprocessing
from nbhelpers.networks.preprocessing import Transform


@pytest.fixture
def films():
    return np.random.default_rng(0).integers(0, 256, (5, 40, 40), dtype=np.uint8)


def test_each_image_is_standardised_to_mean_0_and_deviation_1(films):
    films[1] = films[1] // 4 + 30
    got = preprocessing.to_tensor(films, Transform(40)).numpy()[:, 0]
    values = films.astype(np.float64)
    expected = (values - values.mean((1, 2), keepdims=True)) / values.std((1, 2), keepdims=True)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_exposure_and_contrast_do_not_change_what_the_network_sees(films):
    films = films // 2
    brighter = (films * 2 + 1).astype(np.uint8)
    first, second = (preprocessing.to_tensor(images, Transform(40)) for images in (films, brighter))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


def test_a_blank_image_gives_zeros():
    assert preprocessing.to_tensor(np.full((1, 40, 40), 90, np.uint8), Transform(40)).abs().max() == 0


def test_imagenet_standardisation_equals_the_published_formula(films):
    got = preprocessing.to_tensor(films, Transform(40, channels=3, standardise="imagenet")).numpy()
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (films[:, None] / 255 - mean[:, None, None]) / deviation[:, None, None]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_three_channels_are_three_equal_ones(films):
    got = preprocessing.to_tensor(films, Transform(40, channels=3))
    assert got.shape == (5, 3, 40, 40)
    torch.testing.assert_close(got[:, 0], got[:, 2])


def test_a_transform_survives_json():
    transform = Transform(96, 3, "imagenet")
    assert Transform.from_dict(transform.to_dict()) == transform


@pytest.mark.parametrize(
    "values", [{"size": 8}, {"size": 64, "channels": 2}, {"size": 64, "standardise": "imagnet"}, {"pixels": 3}]
)
def test_a_transform_that_cannot_be_is_refused(values):
    with pytest.raises(UserError):
        Transform.from_dict(values)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 40, 40)), np.zeros((40, 40), np.uint8), np.zeros((2, 40, 41), np.uint8)]
)
def test_other_arrays_than_gray_bytes_of_the_right_size_are_refused(images):
    with pytest.raises(UserError, match="uint8"):
        preprocessing.to_tensor(images, Transform(40))


def test_images_are_read_in_order_and_resized(tmp_path):
    paths = []
    for level in (10, 200, 90):
        paths.append(tmp_path / f"{level}.png")
        Image.new("L", (50, 70), level).save(paths[-1])
    images = preprocessing.load_images(paths, 32)
    assert images.shape == (3, 32, 32)
    assert images[:, 5, 5].tolist() == [10, 200, 90]


def test_a_broken_image_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    with pytest.raises(UserError, match=r"bad\.png"):
        preprocessing.load_images([tmp_path / "bad.png"], 32)
