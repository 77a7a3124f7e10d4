import os

import numpy as np
import pandas as pd
import pytest

from nbhelpers.cropping.methods import crop_box
from nbhelpers.errors import UserError
from nbhelpers.films import cache, registry
from nbhelpers.films.film_set import FilmSet
from nbhelpers.images.files import read_gray, resize_gray, write_png


@pytest.fixture
def film_set(tmp_path):
    generator = np.random.default_rng(0)
    rows = []
    for number in range(7):
        image = generator.integers(0, 256, (60 + number, 50), dtype=np.uint8)
        write_png(tmp_path / "films" / f"f{number}.png", image)
        rows.append({"image_id": f"f{number}", "path": f"f{number}.png", "label": number % 2})
    return FilmSet("own", "Own", False, tmp_path / "films", pd.DataFrame(rows))


def test_array_holds_each_film_resized_in_the_order_of_the_table(film_set, tmp_path):
    array, kept = cache.film_array(film_set, 32, tmp_path / "cache")
    assert array.shape == (7, 32, 32) and array.dtype == np.uint8 and not array.flags.writeable
    for image, path in zip(array, kept["path"], strict=True):
        np.testing.assert_array_equal(image, resize_gray(read_gray(film_set.root / path), 32))


def test_second_call_decodes_nothing_and_another_size_decodes_once_for_all(film_set, tmp_path):
    calls = []

    def read(path):
        calls.append(path.name)
        return read_gray(path)

    film_set.read = read
    first, _ = cache.film_array(film_set, 32, tmp_path)
    assert len(calls) == 7
    second, _ = cache.film_array(film_set, 32, tmp_path)
    assert len(calls) == 7
    np.testing.assert_array_equal(first, second)
    cache.film_arrays(film_set, (32, 16, 24), tmp_path)
    assert len(calls) == 14


def test_a_changed_film_or_another_crop_is_decoded_again(film_set, tmp_path):
    key = cache.cache_key(film_set, "none")
    assert cache.cache_key(film_set, "margins") != key
    before, _ = cache.film_array(film_set, 32, tmp_path)
    write_png(film_set.root / "f3.png", np.repeat(np.uint8([[40], [200]]), 30, axis=0).repeat(60, axis=1))
    os.utime(film_set.root / "f3.png", ns=(1, 1))
    assert cache.cache_key(film_set, "none") != key
    after, _ = cache.film_array(film_set, 32, tmp_path)
    assert (after[3][:16] == 40).all() and (after[3][16:] == 200).all()
    np.testing.assert_array_equal(after[:3], before[:3])


def test_crop_is_applied_before_resizing(film_set, tmp_path):
    array, kept = cache.film_array(film_set, 32, tmp_path, crop="margins")
    image = read_gray(film_set.root / kept["path"][0])
    left, top, right, bottom = crop_box(image, "margins")
    np.testing.assert_array_equal(array[0], resize_gray(image[top:bottom, left:right], 32))


def test_broken_films_are_listed_and_the_rest_is_kept_in_order(film_set, tmp_path):
    (film_set.root / "f0.png").write_bytes((film_set.root / "f0.png").read_bytes()[:200])
    (film_set.root / "f4.png").write_text("not an image")
    (film_set.root / "f6.png").unlink()
    for _ in range(2):  # the second time from the cache
        array, kept = cache.film_array(film_set, 32, tmp_path / "cache")
        assert list(kept["image_id"]) == ["f1", "f2", "f3", "f5"] and len(array) == 4
        np.testing.assert_array_equal(array[3], resize_gray(read_gray(film_set.root / "f5.png"), 32))
        assert list(film_set.excluded["image_id"]) == ["f0", "f4", "f6"]
        assert film_set.excluded["reason"].str.startswith("unreadable").all()
    assert registry.summary({"own": film_set})["n"].iloc[0] == 4


def test_films_that_the_set_leaves_out_are_not_read(film_set, tmp_path):
    film_set.exclude({"f2": "file missing"})
    (film_set.root / "f2.png").unlink()
    array, kept = cache.film_array(film_set, 32, tmp_path / "cache")
    assert len(array) == len(kept) == 6 and "f2" not in set(kept["image_id"])


def test_no_readable_film_is_one_error(film_set, tmp_path):
    for path in film_set.root.iterdir():
        path.write_text("not an image")
    with pytest.raises(UserError, match="no film of 'own' can be read: unreadable: not an image"):
        cache.film_array(film_set, 32, tmp_path / "cache")


def test_nothing_half_written_stays_when_decoding_stops(film_set, tmp_path):
    def read(path):
        if path.name == "f5.png":
            raise KeyboardInterrupt
        return read_gray(path)

    film_set.read = read
    with pytest.raises(KeyboardInterrupt):
        cache.film_array(film_set, 32, tmp_path / "cache", workers=1)
    assert not list((tmp_path / "cache").iterdir())


def test_paths_do_not_leave_the_set(film_set, tmp_path):
    film_set.films.loc[0, "path"] = "../outside.png"
    write_png(tmp_path / "outside.png", np.zeros((40, 40), np.uint8))
    _, kept = cache.film_array(film_set, 32, tmp_path / "cache")
    assert "f0" not in set(kept["image_id"])


def test_each_kept_film_brings_the_box_of_its_crop(film_set, tmp_path):
    _, kept = cache.film_array(film_set, 32, tmp_path, crop="margins")
    for row in kept.to_dict("records"):
        box = crop_box(read_gray(film_set.root / row["path"]), "margins")
        assert tuple(row[side] for side in cache.BOX) == box


def test_films_that_can_be_read_again_bring_every_size_up_to_date(film_set, tmp_path):
    whole = film_set.read

    def read(path):
        if path.name == "f2.png":
            raise MemoryError
        return whole(path)

    film_set.read = read
    first, _ = cache.film_array(film_set, 32, tmp_path)
    assert len(first) == 6 and "memory" in film_set.excluded["reason"][0]
    again = FilmSet("own", "Own", False, film_set.root, film_set.films)
    again.read = whole  # the same reader by name, on a larger machine
    read.__module__, read.__qualname__ = whole.__module__, whole.__qualname__
    arrays, kept = cache.film_arrays(again, (16,), tmp_path)
    assert cache.cache_key(again, "none") == cache.cache_key(film_set, "none") and len(kept) == 7
    arrays, kept = cache.film_arrays(again, (32, 16), tmp_path)
    for size, array in arrays.items():
        for image, path in zip(array, kept["path"], strict=True):
            np.testing.assert_array_equal(image, resize_gray(read_gray(film_set.root / path), size))


def test_a_picture_that_holds_no_film_is_left_out_with_its_reason_and_the_rest_goes_on(film_set, tmp_path):
    first, second = film_set.films["path"][:2]
    write_png(film_set.root / first, np.full((90, 90), 130, np.uint8))
    write_png(film_set.root / second, np.tile(np.arange(250, dtype=np.uint8), (3, 9)))
    array, kept = cache.film_array(film_set, 32, tmp_path / "cache")
    assert len(array) == len(kept) == len(film_set.films) - 2
    assert list(film_set.excluded["reason"]) == [
        "unreadable: not a film: blank",
        "unreadable: not a film: 2250 x 3 pixels",
    ]


def test_a_film_listed_with_a_backslash_is_decoded_again_when_it_is_replaced(film_set, tmp_path):
    (film_set.root / "sub").mkdir()
    for path in film_set.films["path"]:
        (film_set.root / path).rename(film_set.root / "sub" / path)
    film_set.films["path"] = "sub\\" + film_set.films["path"]
    before, _ = cache.film_array(film_set, 32, tmp_path / "cache")
    name = film_set.films["path"].iloc[0].replace("\\", "/")
    write_png(film_set.root / name, np.tile(np.arange(200, dtype=np.uint8), (150, 1)))
    after, _ = cache.film_array(film_set, 32, tmp_path / "cache")
    assert (before[0] != after[0]).any() and (before[1] == after[1]).all()
