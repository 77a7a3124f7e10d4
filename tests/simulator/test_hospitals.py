from dataclasses import replace

import cv2
import numpy as np
import pytest

from nbhelpers.errors import UserError
from nbhelpers.prompting import prompts
from nbhelpers.simulator import hospitals
from nbhelpers.simulator.acquisition import PHYSICS
from nbhelpers.simulator.film import draw_film, draw_films


@pytest.fixture(scope="module")
def design():
    return prompts.design(60, 0, prompts.load_templates())


@pytest.mark.parametrize("hospital", sorted(hospitals.PATIENTS))
def test_a_hospital_has_its_own_patients_and_the_two_of_a_pair_stay_alike(hospital, design):
    drawn = hospitals.patients_of(hospital, design, 1)
    for name, shares in hospitals.PATIENTS[hospital].items():
        assert set(drawn[name]) <= set(shares)
        assert drawn.groupby("pair_id")[name].nunique().max() == 1
        most = max(shares, key=shares.get)
        assert abs((drawn[name] == most).mean() - shares[most]) < 0.25
    assert hospital in PHYSICS
    films = list(draw_films(drawn[:2], hospital, 96, workers=1))
    assert films[0].lesion.any() != films[1].lesion.any()


def test_a_hospital_that_is_not_described_is_refused(design):
    with pytest.raises(UserError, match="no hospital 'hospital_z'"):
        hospitals.patients_of("hospital_z", design, 1)


def test_haze_veils_a_normal_film_and_marks_no_lesion(monkeypatch):
    patient = {"label": "normal", "view": "PA"}
    clear = draw_film(patient, 1, 1, "hospital_b", 128)
    monkeypatch.setitem(PHYSICS, "hospital_b", replace(PHYSICS["hospital_b"], haze=(0.5, 0.5)))
    veiled = draw_film(patient, 1, 1, "hospital_b", 128)
    assert not veiled.lesion.any()
    inside = cv2.erode(clear.lungs.astype(np.uint8), np.ones((5, 5))) > 0
    assert veiled.image[inside].mean() > clear.image[inside].mean() + 5


def test_a_film_of_little_detail_has_less_fine_structure(monkeypatch):
    def roughness(detail):
        quiet = replace(PHYSICS["roentgen"], detail=(detail, detail), noise=(0, 0), sharpen=(0.0, (0.0, 0.1)))
        monkeypatch.setitem(PHYSICS, "roentgen", quiet)
        image = draw_film({"label": "normal"}, 1, 1, "roentgen", 128).image.astype(float)
        return np.abs(cv2.Laplacian(image, cv2.CV_64F)).mean()

    assert roughness(0.4) < 0.8 * roughness(1.0)
