import numpy as np
import pandas as pd
import pytest

from nbhelpers import metrics
from nbhelpers.errors import UserError
from nbhelpers.films import hospital, registry
from nbhelpers.images.masks import Box
from nbhelpers.simulator.truth import read_truth


def test_hospital_design_has_the_planted_shortcut_and_nothing_else_that_tells_the_label():
    design = hospital.design(1500, seed=0)
    label = (design["label"] == "pneumonia").astype(int)
    assert 0.35 < label.mean() < 0.5
    assert 0.70 < metrics.auroc(label, design["view"] == "AP") < 0.80
    for name in ("age", "sex", "habitus"):
        # 1,500 patients: a standard error of about 0.015.
        assert abs(metrics.auroc(label, pd.factorize(design[name], sort=True)[0]) - 0.5) < 0.06, name
    assert (design.loc[label == 0, list(("pattern", "side", "lobe", "extent"))] == "").all(axis=None)


def test_hospital_patients_keep_sex_age_and_anatomy_over_their_films():
    design = hospital.design(200, seed=1)
    grouped = design.groupby("patient_id")
    assert grouped.ngroups == 200 and grouped.size().max() > 3
    for name in ("sex", "age", "habitus", "pair_seed"):
        assert (grouped[name].transform("first") == design[name]).all(), name
    assert design["seed"].is_unique and design["image_id"].is_unique
    assert (grouped["label"].min() != grouped["label"].max()).any()


def test_hospital_of_any_allowed_size_has_both_classes_and_smaller_ones_are_refused():
    for seed in range(5):
        assert hospital.design(10, seed)["label"].nunique() == 2
    with pytest.raises(UserError, match="use 10 or more"):
        hospital.design(9, 0)


def test_hospital_is_drawn_once_with_truth_and_goes_on_after_a_stop(tmp_path):
    parameters = {"hospital_patients": 10, "seed": 0, "workers": 1}
    first = registry.load("simulated_hospital", parameters, tmp_path)
    assert first.simulated and "(simulated)" in first.title
    images = sorted((first.root / "images").iterdir())
    assert len(images) == len(first.films)
    for row in first.films.to_dict("records"):
        lungs, lesion, _ = read_truth(first.root / row["truth_path"])
        assert lungs.any() and lesion.any() == bool(row["label"])
    kept, lost = images[0], images[1]
    before, pixels = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    again = registry.load("simulated_hospital", parameters, tmp_path)
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == pixels
    pd.testing.assert_frame_equal(
        again.films[["image_id", "label", "path"]], first.films[["image_id", "label", "path"]]
    )


def test_truth_of_a_film_is_its_stored_masks_through_the_crop(tmp_path):
    found = registry.load("simulated_hospital", {"hospital_patients": 10, "seed": 0, "workers": 1}, tmp_path)
    assert found.films["truth_known"].all()
    film = next(row for row in found.films.to_dict("records") if row["label"] == 1)
    lungs, lesion, _ = read_truth(found.root / film["truth_path"])
    whole = found.truth(film, 256, Box(0, 0, 256, 256))
    np.testing.assert_array_equal(whole.lungs, lungs)
    np.testing.assert_array_equal(whole.lesion, lesion)
    part = found.truth(film, 64, Box(64, 32, 192, 160))
    blocks = lungs[32:160, 64:192].reshape(64, 2, 64, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(part.lungs, blocks >= 0.5)
