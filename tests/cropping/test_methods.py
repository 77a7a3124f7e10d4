from __future__ import annotations

import numpy as np
import pytest
from cropping.cropping_fixture import film

from nbhelpers.cropping import methods
from nbhelpers.errors import UserError
from nbhelpers.images.masks import Box


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
