from pathlib import Path

import pandas as pd
from films.films_fixture import write_folder

from nbhelpers.films import film_set, registry
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
    assert "1 films have a view that is not understood ('LL'): view unknown." in notes
    assert "1 films have a sex that is not understood ('X'): sex unknown." in notes
    assert dict(subgroups.members(found.films)).keys() == {"view AP", "view PA", "sex female", "sex male"}
