import numpy as np
from simulator.simulator_fixture import SICK, mixed_design

from nbhelpers.images.files import write_png
from nbhelpers.simulator.film import draw_film, draw_films
from nbhelpers.simulator.truth import pack_truth, read_truth


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


def test_masks_come_back_as_they_were_stored(tmp_path):
    film = draw_film(SICK, 1, 2, size=96)
    write_png(tmp_path / "truth.png", pack_truth(film))
    for found, mask in zip(read_truth(tmp_path / "truth.png"), (film.lungs, film.lesion, film.overlay), strict=True):
        np.testing.assert_array_equal(found, mask)
