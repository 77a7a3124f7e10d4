import numpy as np
import pytest
from scipy.stats import spearmanr

from nbhelpers.errors import UserError
from nbhelpers.metrics import overlap


def hand_made():
    """Three maps of 2 x 2 and one mask: the peak inside, the peak outside, nothing at all."""
    maps = np.array([[[4, 1], [0, 3]], [[1, 8], [1, 0]], [[0, 0], [0, 0]]], dtype=np.float32)
    masks = np.array([[[True, False], [True, False]]] * 3)
    return maps, masks


def test_the_pointing_game_asks_where_the_peak_is():
    np.testing.assert_array_equal(overlap.pointing_game(*hand_made()), [1, 0, 0])


def test_peaks_that_tie_count_by_their_share():
    maps = np.array([[[5, 5], [5, 1]]])
    masks = np.array([[[True, False], [True, False]]])
    assert overlap.pointing_game(maps, masks) == pytest.approx(2 / 3)


def test_energy_is_the_share_of_the_sum_inside():
    np.testing.assert_allclose(overlap.energy_inside(*hand_made()), [4 / 8, 2 / 10, np.nan])


def test_iou_is_cut_at_a_share_of_each_maps_own_maximum():
    # Cut at half the maximum: {4, 3}, {8}, nothing; the mask has two pixels.
    np.testing.assert_allclose(overlap.iou(*hand_made()), [1 / 3, 0, 0])
    np.testing.assert_allclose(overlap.iou(*hand_made(), threshold=1.0), [1 / 2, 0, 0])
    maps, masks = hand_made()
    np.testing.assert_allclose(overlap.iou(maps * 1000, masks), overlap.iou(maps, masks))


def test_a_map_equal_to_the_mask_scores_one_everywhere():
    _, masks = hand_made()
    for score in (overlap.pointing_game, overlap.energy_inside, overlap.iou):
        np.testing.assert_allclose(score(masks.astype(float), masks), 1)


def test_a_flat_map_has_the_energy_of_the_masks_area():
    masks = np.random.default_rng(0).random((4, 9, 9)) < 0.3
    np.testing.assert_allclose(overlap.energy_inside(np.ones((4, 9, 9)), masks), masks.mean(axis=(1, 2)))


@pytest.mark.parametrize("maps", [-np.ones((1, 2, 2)), np.full((1, 2, 2), np.nan), np.ones((1, 3, 3)), np.ones((2, 2))])
def test_maps_that_cannot_be_scored_are_one_clear_error(maps):
    with pytest.raises(UserError):
        overlap.energy_inside(maps, np.ones((1, 2, 2), bool))


def test_rank_similarity_equals_spearman_of_scipy_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (5, 4, 4)), rng.integers(0, 4, (5, 4, 4))
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(overlap.rank_similarity(a, b), expected)
    assert np.isnan(overlap.rank_similarity(np.zeros((1, 2, 2)), np.ones((1, 2, 2)))).all()
