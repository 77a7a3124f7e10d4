import numpy as np
import pytest
from simulator.simulator_fixture import PLAIN, mixed_design

from nbhelpers.simulator import overlays
from nbhelpers.simulator.film import PHYSICS, draw_film, draw_films


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


def test_a_field_is_the_whole_image_or_leaves_a_frame_of_a_tenth_at_most():
    fields = [overlays.choose_field(PHYSICS["nano_banana"], 200, seed)[0] for seed in range(200)]
    framed = [field for field in fields if field != (0, 0, 200, 200)]
    assert 0.5 * PHYSICS["nano_banana"].frames < len(framed) / 200 < 1.5 * PHYSICS["nano_banana"].frames
    assert all(
        0 <= f.left <= 20 and 0 <= f.top <= 20 and 180 <= f.right <= 200 and 180 <= f.bottom <= 200 for f in framed
    )
