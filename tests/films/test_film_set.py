from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from films import rsna_fixture
from films.films_fixture import write_folder

from nbhelpers.errors import UserError
from nbhelpers.films import film_set, registry
from nbhelpers.images.files import write_png
from nbhelpers.validation import subgroups


def test_patients_of_films_that_are_left_out_are_not_counted():
    films = pd.DataFrame({"image_id": list("abc"), "path": "x", "label": [0, 1, 1], "patient_id": ["p", "q", "r"]})
    found = film_set.FilmSet("own", "Own", False, Path(), films)
    found.exclude({"c": "file missing"})
    assert found.n_patients == 2 and "2 patients" in str(found)
    assert registry.summary({"own": found})["n_patients"][0] == 2


def test_views_and_sexes_are_taken_as_people_write_them(tmp_path):
    views = [" ap ", "PA", "AP supine", "Pa", "LL", None, "posteroanterior", "AP_portable"]
    sexes = ["F", " female", "Woman", "m", "Male ", "X", "", None]
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(8)], "label": [0, 1] * 4, "view": views, "sex": sexes})
    found = registry.load("folder", write_folder(tmp_path / "own", table, list(table["path"])), tmp_path)
    told = found.films[["view", "sex"]].astype(object).where(found.films[["view", "sex"]].notna(), None)
    assert told["view"].tolist() == ["AP", "PA", "AP", "PA", None, None, "PA", "AP"]
    assert told["sex"].tolist() == ["female", "female", "female", "male", "male", None, None, None]
    notes = " ".join(found.notes)
    assert "1 films have an unrecognised view ('LL'): view unknown." in notes
    assert "1 films have an unrecognised sex ('X'): sex unknown." in notes
    assert dict(subgroups.members(found.films)).keys() == {"view AP", "view PA", "sex female", "sex male"}


def test_a_film_is_read_by_its_bytes_whatever_its_name(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    write_png(tmp_path / "film.dcm", pixels)
    np.testing.assert_array_equal(film_set.read_film(tmp_path / "film.dcm"), pixels)
    rsna_fixture.save(rsna_fixture.dataset("a", pixels, compressed=False), tmp_path / "film.png")
    np.testing.assert_array_equal(film_set.read_film(tmp_path / "film.png"), pixels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0, 1, 2]}, "labels other than 0 and 1"),
        ({"label": [1, 1, 1]}, "only one class"),
        ({"image_id": list("aab")}, "share an image_id"),
    ],
)
def test_a_table_that_is_no_set_is_one_clear_error(change, message):
    films = pd.DataFrame({"image_id": list("abc"), "path": "x", "label": [0, 1, 1]} | change)
    with pytest.raises(UserError, match=message):
        film_set.FilmSet("own", "Own", False, Path(), films)


def test_an_empty_table_is_no_set():
    with pytest.raises(UserError, match="has no film"):
        film_set.FilmSet("own", "Own", False, Path(), pd.DataFrame({"image_id": [], "path": [], "label": []}))
