import numpy as np
from simulator.simulator_fixture import PLAIN, chest_of

from nbhelpers.simulator import anatomy


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
