"""The simulated films: determinism, truth, the attributes that must show, and nothing that gives the label away."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulator.simulator_fixture import PLAIN, SICK, mixed_design
from sklearn.metrics import roc_auc_score

from nbhelpers.errors import UserError
from nbhelpers.simulator.film import PHYSICS, draw_film, draw_films
from nbhelpers.simulator.truth import pack_truth


def test_same_seeds_give_the_same_film_and_other_seeds_another():
    first = draw_film(SICK, 1, 2, size=128)
    again = draw_film(SICK, 1, 2, size=128)
    other = draw_film(SICK, 1, 3, size=128)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.lesion, again.lesion)
    assert not np.array_equal(first.image, other.image)


def test_films_do_not_depend_on_the_number_of_workers():
    design = mixed_design(20)
    alone = list(draw_films(design, "nano_banana", 64, workers=1))
    shared = list(draw_films(design, "nano_banana", 64, workers=2))
    assert len(alone) == len(shared) == len(design)
    for one, two in zip(alone, shared, strict=True):
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(pack_truth(one), pack_truth(two))


@pytest.mark.parametrize("physics", sorted(PHYSICS))
def test_flipping_the_label_changes_nothing_away_from_the_lesion(physics, monkeypatch):
    import cv2

    # What an archive does to whole films (fewer pixels, local equalisation) reaches further by its nature.
    monkeypatch.setitem(PHYSICS, physics, replace(PHYSICS[physics], detail=(1, 1), equalise=(0, (1, 1))))
    changed = 0
    for seed in range(12):
        sick = draw_film({**SICK, "extent": "severe"}, seed, 50 + seed, physics, 192)
        well = draw_film({**SICK, "label": "normal", "extent": "severe"}, seed, 50 + seed, physics, 192)
        assert not well.lesion.any() and well.lesion_box is None
        assert np.array_equal(sick.lungs, well.lungs) and np.array_equal(sick.overlay, well.overlay)
        differs = sick.image != well.image
        # The edge enhancement reaches 17 pixels beyond the lungs here, and a JPEG block 8 further: past them nothing.
        near = cv2.dilate(sick.lungs.astype(np.uint8), np.ones((61, 61), np.uint8)) > 0
        assert not near.all() and not differs[~near].any()
        if sick.lesion.any():
            changed += bool(differs[sick.lesion].mean() > 0.7)
    assert changed >= 10


def test_nothing_but_the_disease_predicts_the_label():
    # Each row is drawn under both labels, so that chance does not blur what the label itself would change.
    design = mixed_design(80, seed=11)
    swapped = design.assign(label=design["label"].map({"normal": "pneumonia", "pneumonia": "normal"}))
    design = pd.concat([design, swapped], ignore_index=True)
    label = (design["label"] == "pneumonia").to_numpy()
    rows = []
    for film in draw_films(design, "nano_banana", 80, workers=1):
        outside = ~film.lungs & ~film.overlay
        border = np.ones_like(film.lungs)
        border[5:-5, 5:-5] = False
        rows.append(
            {
                "border": film.image[border].mean(),
                "corner": film.image[-16:, -16:].mean(),
                "outside mean": film.image[outside].mean(),
                "outside contrast": film.image[outside].std(),
                "overlay": film.overlay.mean(),
                "field": (film.field[2] - film.field[0]) * (film.field[3] - film.field[1]),
                "lung area": film.lungs.mean(),
                "watermark": film.watermark[0],
            }
        )
    for name, values in pd.DataFrame(rows).items():
        assert abs(roc_auc_score(label, values) - 0.5) <= 0.05, name


def test_a_patient_looks_the_same_at_another_size():
    import cv2

    small = draw_film(SICK, 7, 8, "roentgen", 128)
    large = draw_film(SICK, 7, 8, "roentgen", 512)
    reduced = cv2.resize(large.lungs.astype(np.float32), (128, 128), interpolation=cv2.INTER_AREA) > 0.5
    assert (reduced & small.lungs).sum() / (reduced | small.lungs).sum() > 0.95
    pixels = cv2.resize(large.image, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(pixels.ravel(), small.image.ravel())[0, 1] > 0.9  # the grain is each film's own


def test_gaps_in_the_attributes_are_filled_from_the_seeds():
    film = draw_film({"label": "pneumonia", "age": float("nan"), "pattern": "", "sex": None}, 1, 2, size=64)
    again = draw_film({"label": "pneumonia"}, 1, 2, size=64)
    assert film.lesion.any() and np.array_equal(film.image, again.image)


@pytest.mark.parametrize(
    ("change", "physics", "size"),
    [
        ({"view": "lateral"}, "roentgen", 64),
        ({"devices": "ecg_leads;stethoscope"}, "roentgen", 64),
        ({"age": -2}, "roentgen", 64),
        ({"age": "old"}, "roentgen", 64),
        ({}, "hospital_z", 64),
        ({}, "roentgen", 16),
    ],
)
def test_bad_input_is_one_clear_error(change, physics, size):
    with pytest.raises(UserError):
        draw_film({**PLAIN, **change}, 1, 2, physics, size)


@pytest.mark.parametrize("pair_seed", range(5))
def test_a_pacemaker_stays_on_its_side_in_every_film_of_a_patient(pair_seed: int) -> None:
    sides = set()
    for seed in range(4):
        films = [draw_film({"label": "normal", "devices": one}, pair_seed, seed).image for one in ("none", "pacemaker")]
        change = np.abs(films[1].astype(int) - films[0]).astype(float)
        columns = np.arange(change.shape[1]) - (change.shape[1] - 1) / 2
        sides.add(bool((change.sum(axis=0) * columns).sum() > 0))
    assert len(sides) == 1
