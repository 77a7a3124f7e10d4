import pytest
from simulator.simulator_fixture import PLAIN, chest_of

from nbhelpers.simulator import acquisition
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
