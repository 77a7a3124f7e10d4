import numpy as np
from simulator.simulator_fixture import mixed_design

from nbhelpers.simulator.film import draw_films


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
