import numpy as np
import pandas as pd
import pytest
from interpretability.interpretability_fixture import LESION, SIDE, film_set, save_arm

from nbhelpers.cropping.methods import crop_box
from nbhelpers.films.film_set import Truth
from nbhelpers.images.files import read_gray
from nbhelpers.interpretability import features, sampling
from nbhelpers.networks import trained


def test_truth_is_resized_with_its_film(tmp_path):
    sample = sampling.sample_films(film_set(tmp_path), [48], 0)
    truth = sampling.truth_of(sample, 48)
    left, top, right, bottom = (edge // 2 for edge in LESION)
    expected = np.zeros((48, 48), bool)
    expected[top:bottom, left:right] = True
    np.testing.assert_array_equal(truth.lesion[1], expected)
    np.testing.assert_array_equal(truth.lesion_known, sample.labels == 1)
    assert truth.lungs_known.all() and truth.lungs[0].sum() == 36 * 36 and not truth.lesion[0].any()


def test_truth_goes_through_the_crop_that_its_film_went_through(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    films = film_set(tmp_path)
    sample = sampling.sample_films(films, [64], 0, crop="margins")
    box = crop_box(read_gray(tmp_path / "images/1.png"), "margins")
    truth = sampling.truth_of(sample, 64)
    rows, columns = np.nonzero(truth.lesion[1])
    scale = 64 / (box[2] - box[0]), 64 / (box[3] - box[1])
    assert columns.min() == pytest.approx((LESION[0] - box[0]) * scale[0], abs=1)
    assert rows.max() + 1 == pytest.approx((LESION[3] - box[1]) * scale[1], abs=1)
    # The lesion is the only bright part of the film, so film and mask must agree.
    bright = sample.images[64][1] > 180
    assert (bright & truth.lesion[1]).sum() / (bright | truth.lesion[1]).sum() > 0.85


def test_a_set_that_knows_of_one_film_tells_of_that_film_alone(tmp_path):
    films = film_set(tmp_path)
    known = films.truth
    films.truth = lambda film, size, box: known(film, size, box) if film["image_id"] == "f3" else Truth(None, None)
    truth = sampling.truth_of(sampling.sample_films(films, [SIDE], 0), SIDE)
    left, top, right, bottom = LESION
    assert truth.lesion[3].sum() == (right - left) * (bottom - top)
    assert np.flatnonzero(truth.lesion_known).tolist() == np.flatnonzero(truth.lungs_known).tolist() == [3]
    films.truth = None
    assert not sampling.truth_of(sampling.sample_films(films, [SIDE], 0), SIDE).lungs_known.any()


def test_a_sample_is_drawn_blind_to_labels_and_alike_for_all_sizes(stage, tmp_path):
    save_arm(stage.run_folder, "large", seed=4, size=96)
    films = film_set(tmp_path / "films", n=30)
    one = features.take_films({"toy": films}, trained.load_networks(["one"], stage), 10, seed=2)["toy"]
    both = features.take_films({"toy": films}, trained.load_networks(["one", "large"], stage), 10, seed=2)["toy"]
    pd.testing.assert_frame_equal(one.films, both.films)
    assert one.images[64].shape == (10, 64, 64) and both.images[96].shape == (10, 96, 96)
    np.testing.assert_array_equal(one.images[64], both.images[64])
    assert list(one.films["image_id"]) == sorted(one.films["image_id"], key=lambda name: int(name[1:]))
