"""Drawing in body coordinates, against closed forms."""

import numpy as np
import pytest

from nbhelpers.simulator import canvas as drawing


def canvas(size=100, scale=20.0):
    """Body (0, 0) at the middle of the film, one body unit `scale` pixels."""
    middle = (size - 1) / 2
    return drawing.Canvas(size, size, np.array([[scale, 0, middle], [0, scale, middle]]))


def test_coordinates_of_a_pixel_are_those_that_map_onto_it():
    found = canvas()
    assert found.scale == pytest.approx(20)
    rows, columns = np.mgrid[0:100, 0:100]
    np.testing.assert_allclose(found.x, (columns - 49.5) / 20, atol=1e-5)
    np.testing.assert_allclose(found.y, (rows - 49.5) / 20, atol=1e-5)


def test_ramp_and_dome_have_their_closed_forms():
    distance = np.array([-1.0, -0.25, 0.0, 0.25, 1.0], np.float32)
    np.testing.assert_allclose(drawing.ramp(distance, 1.0), [0, 0.25, 0.5, 0.75, 1])
    inside = np.array([0.0, 0.5, 1.0, 2.0], np.float32)
    np.testing.assert_allclose(drawing.dome(inside.copy(), 1.0), [0, np.sqrt(0.75), 1, 1], atol=1e-6)


def test_a_curve_goes_through_its_knots():
    knots = [(0, 0), (1, 2), (3, 2), (4, 0)]
    drawn = drawing.curve(knots, count=31)
    np.testing.assert_allclose(drawn[::10], knots, atol=1e-9)


def test_a_polygon_covers_its_area_and_its_softness_moves_no_mass():
    square = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    hard, soft = (float(canvas().polygon(square, softness).sum()) for softness in (0.0, 0.05))
    assert hard == pytest.approx(40 * 40, abs=4 * 40)  # the edge's own pixels are drawn too
    assert soft == pytest.approx(hard, rel=1e-3)


def test_ellipse_is_1_on_the_ellipse_and_blob_falls_by_its_standard_deviations():
    found = canvas()
    radius = found.ellipse(0.5, -0.3, 1.0, 0.5)
    expected = (found.x - 0.5) ** 2 + ((found.y + 0.3) / 0.5) ** 2
    np.testing.assert_allclose(radius, expected, atol=1e-4)
    spot = found.blob(0.5, -0.3, 0.4, 0.2)
    np.testing.assert_allclose(spot, np.exp(-((found.x - 0.5) ** 2) / 0.32 - (found.y + 0.3) ** 2 / 0.08), atol=1e-4)


def test_distance_inside_a_square_is_that_to_its_edge():
    found = canvas()
    inside = (np.abs(found.x) < 1) & (np.abs(found.y) < 1)
    depth = found.distance_inside(inside.astype(np.float32))
    assert depth.max() == pytest.approx(1, abs=0.06) and not depth[~inside].any()


def test_bands_are_as_wide_as_they_are_asked_to_be():
    path = np.array([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]])
    left, right = drawing.band_edges(path, [[0.2, 0.2, 0.2]])
    np.testing.assert_allclose(np.linalg.norm(left - right, axis=-1), 0.2)
    np.testing.assert_allclose((left + right) / 2, path)


@pytest.mark.parametrize("sigma", [0.1, 2.0, 12.0])
def test_a_blur_keeps_what_is_constant(sigma):
    np.testing.assert_allclose(drawing.blur_pixels(np.full((64, 64), 3, np.float32), sigma), 3, rtol=1e-5)


def test_random_fields_have_unit_variance_and_look_the_same_at_any_size():
    fields = [canvas(size, size / 5).random_field(np.random.default_rng(3), 30) for size in (96, 192)]
    assert fields[1].std() == pytest.approx(1, abs=0.35)
    assert np.corrcoef(fields[0].ravel(), fields[1][::2, ::2].ravel())[0, 1] > 0.9
