from __future__ import annotations

import numpy as np
import pytest
from editing import editing_fixture as known

from nbhelpers.editing import anatomy


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anatomy")
    made = anatomy.load_anatomy(known.PARAMETERS, folder)
    made.cache = folder / "features"
    return made, folder


def test_the_lung_segmenter_draws_lungs_and_is_kept(found, capsys):
    made, folder = found
    assert made.lungs_dice > 0.9
    before = {path: path.stat().st_mtime_ns for path in (folder / "lungs").rglob("*.*")}
    again = anatomy.load_anatomy(known.PARAMETERS, folder)
    told = f"embedded by {known.PARAMETERS['editing_backbone']}: {known.PARAMETERS['editing_init']}"
    assert told in capsys.readouterr().out
    assert again.lungs_dice == made.lungs_dice
    assert before and before == {path: path.stat().st_mtime_ns for path in (folder / "lungs").rglob("*.*")}


def test_lungs_are_the_same_in_the_same_picture_and_others_in_another(found):
    image, target, _ = known.pair()
    other = known.pair("consolidation", 1)[0]
    made = found[0]
    pairs = [(image, image), (image, np.roll(image, 60, axis=1)), (image, target), (image, other), (image, None)]
    same, moved, edited, another, none = made.lung_dice(pairs)
    assert same == 1 and moved < 0.8 and edited > another and np.isnan(none)


def test_similarity_is_the_cosine_of_features_and_empty_without_a_picture(found):
    image, target, _ = known.pair()
    other = known.pair("consolidation", 1)[0]
    same, near, far, none = found[0].similarity([(image, image), (image, target), (image, other), (image, None)])
    assert same == pytest.approx(1, abs=1e-5) and 1 > near > far and np.isnan(none)


def test_lungs_are_compared_on_chest_films_alone(found):
    from dataclasses import replace

    film = known.few_pictures(number=1)[0]
    pairs = [(film, film.image), (replace(film, chest_film=False), film.image), (film, None)]
    kept = found[0].columns(pairs)
    assert kept["lung_dice"][0] == 1 and np.isnan(kept["lung_dice"][1:]).all()
    assert kept["embedding_similarity"][:2] == pytest.approx([1, 1], abs=1e-5)
    assert np.isnan(kept["embedding_similarity"][2])
