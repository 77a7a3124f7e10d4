"""Surface distances: hand-made cases, and MONAI and MedPy as oracles."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from metrics.mask_fixture import as_drawn, blob, vessel_tree
from scipy.ndimage import distance_transform_edt

from nbhelpers.errors import UserError
from nbhelpers.metrics import surface
from nbhelpers.metrics.overlap import cldice, dice, dice_shifted
from nbhelpers.metrics.surface import outline, surfaces


def monai_directed(mask: np.ndarray, truth: np.ndarray) -> float:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    both = [torch.from_numpy(values)[None, None].float() for values in (mask, truth)]
    return float(metrics.compute_hausdorff_distance(*both, include_background=True, percentile=95)[0, 0])


def medpy_pooled(mask: np.ndarray, truth: np.ndarray) -> float:
    return float(pytest.importorskip("medpy.metric.binary").hd95(mask, truth))


def monai_nsd(mask: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    both = [torch.from_numpy(values)[None, None].float() for values in (mask, truth)]
    return float(metrics.compute_surface_dice(*both, class_thresholds=[tolerance], include_background=True)[0, 0])


PAIRS = {
    "blobs": (blob(352, 1), blob(352, 2)),
    "one inside the other": (blob(200, 3), cv2.dilate(blob(200, 3).astype(np.uint8), np.ones((9, 9))) > 0),
    "vessels as a good model draws them": (as_drawn(vessel_tree(512, 3), 3), vessel_tree(512, 3)),
    "vessels": (vessel_tree(512, 1), vessel_tree(512, 1, shift=2)),
    "two trees": (vessel_tree(512, 1), vessel_tree(512, 2)),
    "a pixel and a blob": (np.pad(np.ones((1, 1), bool), 50), np.pad(blob(60, 4), ((0, 41), (41, 0)))),
    "at the image's edge": (np.tri(90, dtype=bool), np.tri(90, dtype=bool)[::-1].copy()),
    "the same twice": (blob(100, 5), blob(100, 5)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_hd95_equals_monai_by_the_larger_direction_and_medpy_pooled(name: str) -> None:
    mask, truth = PAIRS[name]
    found = surfaces(mask, truth)
    assert found.hd95() == pytest.approx(monai_directed(mask, truth), abs=1e-4)
    assert found.hd95("pooled") == pytest.approx(medpy_pooled(mask, truth), abs=1e-4)


@pytest.mark.parametrize("tolerance", [1.0, 3.5])
@pytest.mark.parametrize("name", PAIRS)
def test_nsd_equals_monai(name: str, tolerance: float) -> None:
    mask, truth = PAIRS[name]
    assert surfaces(mask, truth).nsd(tolerance) == pytest.approx(monai_nsd(mask, truth, tolerance), abs=1e-6)


@pytest.mark.parametrize(
    ("pairs", "side", "apart"), [(2_000_000, 5_000, 0.2), (0, 5_000, 0.0), (0, 5_000, 2.0), (0, 0, 2.0)]
)
def test_each_way_to_the_distances_gives_those_of_the_exact_transform(
    pairs: int, side: int, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface, "APART", apart)
    monkeypatch.setattr(surface, "PAIRS", pairs)
    monkeypatch.setattr(surface, "CHAMFER_SIDE", side)
    rng = np.random.default_rng(5)
    for number in range(60):
        # From a few pixels far apart to ragged masks that nearly agree, in images of any shape.
        shape = tuple(rng.integers(1, 140, 2))
        mask, other = rng.random(shape), rng.random(shape)
        level = rng.choice([0.002, 0.05, 0.5, 0.97])
        mask, truth = mask < level, (other < level if number % 2 else mask < 0.9 * level)
        if not (mask.any() and truth.any()):
            continue
        edges = [outline(mask), outline(truth)]
        there, back = (distance_transform_edt(~edges[1 - i])[edges[i]] for i in (0, 1))
        found, both = surfaces(mask, truth), np.concatenate([there, back])
        assert found.hd95("pooled") == pytest.approx(np.percentile(both, 95), abs=1e-5)
        assert found.hd95() == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-5)
        for tolerance in (0.0, 1.5, float(rng.choice(both)), 30.0):
            # Half a hair more, since the squares of distances are whole numbers and their roots are not.
            assert found.nsd(tolerance + 1e-4) == pytest.approx(np.mean(both <= tolerance + 1e-4))


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "maps", "most"), [("cvc_clinicdb", "pred_pranet", 62), ("drive_native", "pred_unet", 5)]
)
def test_hd95_equals_both_libraries_on_real_masks(folder: str, maps: str, most: int) -> None:
    root = Path(os.environ.get("NBHELPERS_DATA", "nowhere")) / "segmentation" / folder
    if not (root / maps).is_dir():
        pytest.skip("NBHELPERS_DATA holds no segmentation data")
    for path in sorted((root / maps).glob("*.png"))[:most]:
        truth = read(root / "masks" / path.name)
        mask = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), truth.shape[::-1]) > 127
        if mask.any():
            found = surfaces(mask, truth)
            assert found.hd95() == pytest.approx(monai_directed(mask, truth), abs=1e-4)
            assert found.hd95("pooled") == pytest.approx(medpy_pooled(mask, truth), abs=1e-4)


def test_parallel_lines_are_as_far_apart_as_they_are() -> None:
    mask, truth = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    mask[4], truth[11] = True, True
    assert surfaces(mask, truth).hd95() == surfaces(mask, truth).hd95("pooled") == 7
    assert surfaces(mask, truth).nsd(6.9) == 0 and surfaces(mask, truth).nsd(7) == 1


def test_empty_masks_follow_the_stated_rule() -> None:
    empty, some = np.zeros((30, 40), bool), np.pad(np.ones((4, 4), bool), ((0, 26), (0, 36)))
    assert surfaces(empty, empty).hd95() == 0 and surfaces(empty, empty).nsd(1) == 1
    for pair in ((empty, some), (some, empty)):
        assert surfaces(*pair).hd95() == surfaces(*pair).hd95("pooled") == 50 and surfaces(*pair).nsd(1) == 0
    assert dice(empty, empty) == cldice(empty, empty) == 1 and dice(some, empty) == cldice(some, empty) == 0


def test_an_unknown_definition_and_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="hd95_definition"):
        surfaces(blob(50, 1), blob(50, 1)).hd95("mean")
    with pytest.raises(UserError, match="cannot be compared"):
        surfaces(blob(50, 1), blob(60, 1))


def test_the_outline_of_a_square_is_its_rim() -> None:
    square = np.zeros((9, 9), bool)
    square[2:7, 2:7] = True
    rim = square.copy()
    rim[3:6, 3:6] = False
    assert (outline(square) == rim).all()
    assert outline(np.ones((4, 5), bool)).sum() == 14  # the image's edge counts


def test_dice_of_a_known_overlap_and_after_a_known_shift() -> None:
    truth = np.zeros((100, 200), bool)
    truth[40:60, 80:120] = True
    moved = np.roll(truth, (2, -5), axis=(0, 1))
    assert dice(moved, truth) == pytest.approx(2 * 18 * 35 / (2 * 800))
    assert dice_shifted(moved, truth) == 1.0
    far = np.roll(truth, 20, axis=1)  # 10 % of the width: more than is looked for
    assert dice(far, truth) < dice_shifted(far, truth) < 1.0


def test_dice_shifted_equals_a_search_over_all_shifts() -> None:
    rng = np.random.default_rng(0)
    mask, truth = rng.random((60, 40)) > 0.6, rng.random((60, 40)) > 0.6
    best = 0.0
    for down in range(-2, 3):
        for across in range(-1, 2):
            moved = np.zeros_like(mask)
            rows, columns = np.nonzero(mask)
            inside = (rows + down >= 0) & (rows + down < 60) & (columns + across >= 0) & (columns + across < 40)
            moved[rows[inside] + down, columns[inside] + across] = True
            best = max(best, dice(moved, truth))
    # The shift is found by the shared pixels, its Dice counted exactly: at the edge a pixel or two may be lost.
    assert dice_shifted(mask, truth) == pytest.approx(best, abs=0.01)


def test_cldice_of_a_vessel_forgives_its_width_and_not_a_missing_branch() -> None:
    pytest.importorskip("skimage")
    truth = np.zeros((80, 80), bool)
    truth[38:43, 5:75] = True
    thick = cv2.dilate(truth.astype(np.uint8), np.ones((5, 5))) > 0
    half = truth.copy()
    half[:, 40:] = False
    assert cldice(thick, truth) > 0.99 > dice(thick, truth)
    assert cldice(half, truth) == pytest.approx(2 / 3, abs=0.03)
    assert math.isclose(cldice(truth, truth), 1.0)
