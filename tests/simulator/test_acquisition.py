from dataclasses import replace

import cv2
import numpy as np
import pytest
from simulator.simulator_fixture import PLAIN, chest_of

from nbhelpers.simulator import acquisition
from nbhelpers.simulator.acquisition import PHYSICS
from nbhelpers.simulator.film import DEVICES, draw_film


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
