"""The simulated films: determinism, truth, the attributes that must show, and nothing that gives the label away."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from nbhelpers.errors import UserError
from nbhelpers.simulator import acquisition, anatomy, lesions
from nbhelpers.simulator.film import CHOICES, DEVICES, DISEASE, PHYSICS, draw_film, draw_films
from nbhelpers.simulator.truth import pack_truth

PLAIN = {
    "label": "normal",
    "sex": "male",
    "age_group": "adult",
    "age": 40,
    "view": "PA",
    "position": "erect",
    "habitus": "average",
    "devices": "none",
    "exposure": "normal",
}
SICK = {**PLAIN, "label": "pneumonia", "pattern": "lobar", "side": "right", "lobe": "lower", "extent": "moderate"}


def mixed_design(pairs: int, seed: int = 0) -> pd.DataFrame:
    # Matched as a real design is: a pair shares every attribute but the disease; each film has its own seed.
    rng = np.random.default_rng(seed)
    shared = [name for name in CHOICES if name not in (*DISEASE, "label")]
    rows = []
    for pair in range(pairs):
        patient = {name: str(rng.choice(CHOICES[name])) for name in shared}
        patient["devices"] = str(rng.choice(["none", "none", "ecg_leads", "central_line;ecg_leads", "pacemaker"]))
        patient["pair_seed"] = int(rng.integers(2**31))
        for label in ("normal", "pneumonia"):
            sick = label == "pneumonia"
            disease = {name: str(rng.choice(CHOICES[name])) if sick else "" for name in DISEASE}
            image_id = f"{label[0]}{pair:05d}"
            rows.append({"image_id": image_id, **patient, **disease, "label": label, "seed": int(rng.integers(2**31))})
    return pd.DataFrame(rows)


def chest_of(attributes, pair_seed, size=128):
    patient = anatomy.build_patient(attributes, pair_seed)
    canvas = acquisition.frame_patient(patient, acquisition.PHYSICS["roentgen"], (0, 0, size, size), size, seed=5)
    return anatomy.draw_chest(patient, canvas), canvas


def lesion_of(attributes, pair_seed, seed=3):
    chest, canvas = chest_of(attributes, pair_seed)
    return lesions.draw_lesion(chest, canvas, attributes, seed), chest, canvas


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
def test_flipping_the_label_changes_nothing_away_from_the_lesion(physics):
    import cv2

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


@pytest.mark.parametrize("side", ["left", "right", "both"])
@pytest.mark.parametrize("pattern", CHOICES["pattern"])
def test_lesions_lie_on_the_side_asked_for(side, pattern):
    for pair_seed in range(4):
        lesion, chest, canvas = lesion_of({**SICK, "side": side, "pattern": pattern, "extent": "severe"}, pair_seed)
        middle = 0.6 * chest.patient.rotation
        # The patient's right lung is on the left of the image.
        right, left = lesion.mask[canvas.x < middle].sum(), lesion.mask[canvas.x > middle].sum()
        assert (right > 30) == (side != "left") and (left > 30) == (side != "right")


def test_lesions_lie_in_the_lobe_asked_for():
    depth = {}
    for lobe in ("upper", "middle", "lower"):
        found = []
        for pair_seed in range(8):
            lesion, chest, _ = lesion_of({**SICK, "lobe": lobe}, pair_seed)
            found.append(chest.depth[lesion.mask].mean())
        depth[lobe] = np.mean(found)
    assert depth["upper"] < 0.45 < 0.55 < depth["middle"] < depth["lower"]


@pytest.mark.parametrize("pattern", CHOICES["pattern"])
def test_more_extent_means_more_lesion_in_every_patient(pattern):
    for pair_seed in range(8):
        area = [
            lesion_of({**SICK, "extent": extent, "pattern": pattern, "lobe": "diffuse"}, pair_seed)[0].added.sum()
            for extent in ("mild", "moderate", "severe")
        ]
        assert area[0] < area[1] < area[2]


def test_an_opacity_never_replaces_more_air_than_there_is():
    for pair_seed in range(10):
        lesion, chest, _ = lesion_of({**SICK, "extent": "severe", "lobe": "diffuse"}, pair_seed)
        assert lesion.added.min() >= 0
        assert (lesion.added <= chest.air + 1e-5).all()
        assert lesion.added[lesion.mask].mean() > 0.3 * chest.air[lesion.mask].mean()


def test_silhouette_sign_a_middle_lobe_hides_the_heart_border():
    def border_contrast(attenuation, chest, canvas):
        beside = (chest.heart < 0.2) & (np.abs(canvas.x) < 0.75) & (canvas.x < 0)
        rows = (chest.depth > 0.62) & (chest.depth < 0.8)
        near = canvas.distance_inside(1 - chest.heart)
        lung = beside & rows & (near > 0.04) & (near < 0.10)
        heart = (chest.heart > 0.95) & (canvas.x < 0) & rows & (canvas.distance_inside(chest.heart) < 0.10)
        return attenuation[heart].mean() - attenuation[lung].mean()

    less = 0
    for pair_seed in range(8):
        lesion, chest, canvas = lesion_of({**SICK, "lobe": "middle", "extent": "severe"}, pair_seed)
        before = border_contrast(chest.attenuation, chest, canvas)
        after = border_contrast(chest.attenuation + lesion.added, chest, canvas)
        less += after < 0.5 * before
    assert less >= 6


def test_air_bronchograms_stay_darker_than_the_consolidation_around_them():
    darker = 0
    for pair_seed in range(8):
        attributes = {**SICK, "extent": "severe", "lobe": "diffuse"}
        lesion, chest, _ = lesion_of(attributes, pair_seed)
        share = lesion.added / np.maximum(chest.air - chest.vessels, 1e-3)
        solid = (share > 0.4) & (chest.air > 0.15)
        airway = solid & (chest.bronchi > 0.7)
        if airway.any():
            darker += share[airway].mean() < share[solid & (chest.bronchi < 0.05)].mean()
    assert darker >= 6


def heart_width(chest, canvas):
    inside = (chest.heart > 0.5) & (chest.depth > 0.55) & (chest.depth < 0.98)
    return np.ptp(canvas.x[inside])


def test_the_heart_is_wider_from_the_front_and_lying_down():
    for pair_seed in range(6):
        widths = [
            heart_width(*chest_of({**PLAIN, "view": view, "position": position}, pair_seed))
            for view, position in (("PA", "erect"), ("AP", "erect"), ("AP", "supine"))
        ]
        assert widths[0] < widths[1] < widths[2]


def test_shoulder_blades_lie_further_in_on_ap_films():
    rows = []
    for view in ("PA", "AP"):
        patients = [anatomy.build_patient({**PLAIN, "view": view}, seed) for seed in range(20)]
        rows.append(np.mean([patient.blade for patient in patients]))
    assert rows[1] < rows[0] - 0.15


def test_children_have_shorter_lungs_and_wider_hearts():
    child = [anatomy.build_patient({**PLAIN, "age_group": "child", "age": 3}, seed) for seed in range(40)]
    adult = [anatomy.build_patient(PLAIN, seed) for seed in range(40)]
    assert np.mean([p.lung_height for p in child]) < 0.9 * np.mean([p.lung_height for p in adult])
    assert np.mean([p.heart_ratio for p in child]) > 0.03 + np.mean([p.heart_ratio for p in adult])


def test_habitus_adds_soft_tissue_and_breasts_show_on_women():
    def overlying(attributes):
        chest, _ = chest_of(attributes, 4)
        rows = (chest.depth > 0.6) & (chest.depth < 0.9) & (chest.lungs > 0.5)
        return chest.attenuation[rows].mean()

    slim, large = (anatomy.build_patient({**PLAIN, "habitus": h}, 4).soft_tissue for h in ("slim", "large"))
    assert large > 2 * slim
    assert overlying({**PLAIN, "sex": "female"}) > overlying(PLAIN) + 0.02


@pytest.mark.parametrize("device", DEVICES)
def test_each_device_adds_attenuation_and_shows_on_the_film(device):
    attributes = {**PLAIN, "view": "AP", "position": "supine"}
    chest, canvas = chest_of(attributes, 1)
    assert acquisition.draw_devices(chest, canvas, set(), 2).max() == 0
    added = acquisition.draw_devices(chest, canvas, {device}, 2)
    assert added.min() >= 0 and added.max() > 0.05
    without = draw_film(attributes, 1, 2, "roentgen", 128).image.astype(int)
    with_it = draw_film({**attributes, "devices": device}, 1, 2, "roentgen", 128).image.astype(int)
    assert (with_it - without).max() > 12


def test_under_exposed_films_are_brighter_than_over_exposed_ones():
    for seed in range(5):
        under, normal, over = (
            draw_film({**PLAIN, "exposure": exposure}, seed, seed, "roentgen", 96).image.mean()
            for exposure in ("under", "normal", "over")
        )
        assert under > normal > over


def test_watermark_is_always_there_at_the_lower_right_and_off_the_lungs():
    design = mixed_design(60, seed=2)
    covered = []
    for film in draw_films(design, "nano_banana", 128, workers=1):
        left, top, right, bottom = film.watermark
        assert 0.8 * 128 < left < right <= 128 and 0.8 * 128 < top < bottom <= 128
        assert film.overlay[top:bottom, left:right].any()
        covered.append(film.lungs[int(0.86 * 128) + 1 :].sum() / film.lungs.sum())
    # A crop above the watermark keeps the lungs.
    assert np.mean(covered) < 0.01 and max(covered) < 0.05


@pytest.mark.parametrize("physics", ["roentgen", "hospital_a", "hospital_b"])
def test_other_physics_have_no_watermark_and_no_frame(physics):
    for seed in range(5):
        film = draw_film(PLAIN, seed, seed, physics, 96)
        assert film.watermark is None and film.field == (0, 0, 96, 96)


def test_truth_lies_where_it_must():
    for seed, film in enumerate(draw_films(mixed_design(30, seed=5), "nano_banana", 96, workers=1)):
        left, top, right, bottom = film.field
        outside = np.ones_like(film.lungs)
        outside[top:bottom, left:right] = False
        assert film.image.dtype == np.uint8 and film.image.shape == film.lungs.shape == (96, 96)
        assert 0.08 < film.lungs.mean() < 0.6
        assert not (film.lesion & ~film.lungs).any() and not (film.lungs & outside).any()
        assert film.overlay[outside].all()
        if film.lesion_box is not None:
            rows, columns = np.nonzero(film.lesion)
            assert film.lesion_box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert film.lesion.any() == (seed % 2 == 1)


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
        ({}, "hospital_c", 64),
        ({}, "roentgen", 16),
    ],
)
def test_bad_input_is_one_clear_error(change, physics, size):
    with pytest.raises(UserError):
        draw_film({**PLAIN, **change}, 1, 2, physics, size)
