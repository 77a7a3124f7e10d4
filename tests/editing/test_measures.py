from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from editing import editing_fixture as known
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nbhelpers.editing import measures


def measured(disturbance, thing="consolidation", place=0):
    image, target, mask = known.pair(thing, place)
    return measures.measure(image, np.ascontiguousarray(disturbance(target)), mask, target, lesion=True)


def test_the_true_answer_measures_as_exact():
    row = measured(lambda image: image)
    assert row["error_inside"] == 0 and row["error_untouched"] > 10
    assert row["psnr_outside"] == row["psnr_outside_aligned"] == float("inf") and row["ssim_outside"] == 1
    assert (row["shift_px"], row["zoom"], row["gain"]) == (0, 1, 1)
    assert row["share_outside"] == 0 and row["change_iou"] > 0.75
    assert row["lesion_change"] == pytest.approx(1)


# Medians of four pairs: PSNR outside raw and aligned (facts of a prototype: 50.9, 60.5, 39.0 and 61.9, 26.6 and 61.9,
# 27.4 and 49.2, 27.9 and 45.8, 24.4 and 45.1), then shift, zoom and gain.
@pytest.mark.parametrize(
    ("disturbance", "raw", "aligned", "shift", "zoom", "gain"),
    [
        (known.jpeg, (44, 53), (44, 53), 0, 1, 1),
        (known.enlarged, (52, 66), (52, 66), 0, 1, 1),
        (lambda image: np.roll(image, 1, axis=1), (30, 42), (60, np.inf), 1, 1, 1),
        (lambda image: np.roll(image, (3, 4), axis=(0, 1)), (20, 30), (60, np.inf), 5, 1, 1),
        (lambda image: known.zoomed(image, 1.02), (24, 33), (44, 60), 0, 1.02, 1),
        (known.brighter, (26, 30), (44, 62), 0, 1, 1.05),
        (lambda image: known.jpeg(known.brighter(known.zoomed(image, 1.02))), (21, 28), (42, 50), 0, 1.02, 1.05),
    ],
    ids=["jpeg", "1024 and back", "1 px", "5 px", "zoom", "gain", "all"],
)
def test_known_disturbances_are_told_apart(disturbance, raw, aligned, shift, zoom, gain):
    rows = pd.DataFrame([measured(disturbance, "pacemaker", place) for place in range(4)])
    row = rows.median(numeric_only=True)
    assert raw[0] <= row["psnr_outside"] <= raw[1]
    assert aligned[0] <= row["psnr_outside_aligned"] <= aligned[1]
    assert row["shift_px"] == pytest.approx(shift, abs=0.2)
    assert row["zoom"] == pytest.approx(zoom, abs=2e-3)
    assert row["gain"] == pytest.approx(gain, abs=5e-3)
    assert row["change_iou"] > 0.6 and rows["share_outside"].max() < 0.05


def test_a_redrawn_chest_comes_back_by_no_alignment():
    image, target, mask = known.pair("pacemaker")
    other = known.pair("pacemaker", 1)[1]
    row = measures.measure(image, other, mask, target)
    assert row["psnr_outside_aligned"] < 25 and row["share_outside"] > 0.5


@pytest.mark.parametrize(
    ("name", "turned"),
    [
        ("mirrored left to right", np.fliplr),
        ("mirrored left to right", lambda image: known.jpeg(np.ascontiguousarray(known.brighter(image)[:, ::-1]))),
        ("mirrored top to bottom", np.flipud),
        ("turned by 180 degrees", lambda image: np.rot90(image, 2)),
        ("turned left by 90 degrees", np.rot90),
        ("turned right by 90 degrees", lambda image: np.rot90(image, 3)),
        (measures.UNALIGNED, lambda image: np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)),
        (measures.UNALIGNED, lambda image: 255 - image),
        (measures.UNALIGNED, np.zeros_like),
        (measures.UNALIGNED, lambda image: known.pair("consolidation", 1)[1]),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_turned_or_another_picture_is_called_so_and_has_no_score_of_an_aligned_one(name, turned, place):
    row = measured(lambda image: turned(image), place=place)
    assert row["alignment"] == name and row["psnr_outside_aligned"] == row["psnr_outside"]
    assert all(np.isnan(row[one]) for one in ("shift_px", "zoom", "gain", "lesion_change"))
    assert row["share_outside"] > 0.5 and row["change_iou"] < 0.3 and not measures.is_unchanged(row)


def test_a_rotation_is_taken_off_and_told():
    def turned(image):
        move = cv2.getRotationMatrix2D((255.5, 255.5), 4, 1)
        return cv2.warpAffine(image, move, (512, 512), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    row = measured(turned)
    assert row["alignment"] == "rotated by 4.0 degrees" and row["psnr_outside_aligned"] > 35 > row["psnr_outside"] + 10


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: cv2.medianBlur(image, 9),
        lambda image: np.rint(255 * (image / 255) ** 1.8).astype(np.uint8),
        lambda image: known.zoomed(known.brighter(image, 0.8), 1.1),
        lambda image: known.jpeg(image, 10),
    ],
    ids=["smooth", "gamma", "zoom and gain", "jpeg"],
)
def test_the_same_picture_drawn_otherwise_is_aligned(changed):
    assert measured(changed)["alignment"] == ""


def test_alignment_is_left_out_where_it_does_not_help():
    row = measured(known.jpeg)
    assert row["psnr_outside_aligned"] == row["psnr_outside"]


def test_psnr_and_ssim_are_those_of_scikit_image():
    image, target, _ = known.pair()
    answer = known.jpeg(target, 40)
    everywhere = np.ones(image.shape[:2], bool)
    expected = peak_signal_noise_ratio(image, answer)
    assert measures.psnr(measures.rms(image, answer, everywhere)) == pytest.approx(expected)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
    whole = structural_similarity(image[..., 0], answer[..., 0], data_range=255, **options)[1]
    half = everywhere.copy()
    half[:, :200] = False
    assert measures.ssim(image, answer, half) == pytest.approx(whole[half].mean(), abs=2e-3)


@pytest.mark.parametrize("made", [-0.5, 0.0, 0.3, 1.0])
def test_the_read_out_gives_the_share_of_the_change_that_was_made(made):
    rng = np.random.default_rng(0)
    image = rng.integers(60, 120, (64, 64, 3), dtype=np.uint8)
    target = image + rng.integers(20, 60, (64, 64, 1), dtype=np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[10:30, 10:40] = True
    answer = image + made * (target.astype(np.float32) - image)
    assert measures.share_of_change(image, answer.astype(np.float32), target, mask) == pytest.approx(made, abs=1e-4)


@pytest.mark.parametrize("thing", ["consolidation", "pacemaker", "lettering", "watermark"])
@pytest.mark.parametrize("same", [lambda image: image, known.jpeg, known.enlarged], ids=["equal", "jpeg", "resampled"])
def test_a_picture_that_was_only_coded_again_is_unchanged(thing, same):
    image, target, mask = known.pair(thing)
    assert measures.is_unchanged(measures.measure(image, same(image), mask, target))
    assert not measures.is_unchanged(measures.measure(image, same(target), mask, target))


@pytest.mark.parametrize(
    "moved", [lambda image: known.zoomed(image, 1.02), known.brighter, lambda image: np.roll(image, 3, axis=0)]
)
def test_a_picture_that_is_moved_or_brighter_is_not_unchanged(moved):
    image, _, mask = known.pair("pacemaker")
    assert not measures.is_unchanged(measures.measure(image, moved(image), mask))


def test_another_picture_is_not_unchanged_though_nothing_stands_out_in_it():
    image, target, mask = known.pair("pacemaker")
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    for other in (noise, known.pair("pacemaker", 1)[1], 255 - image):
        assert not measures.is_unchanged(measures.measure(image, other, mask, target))


@pytest.mark.parametrize("thing", ["lettering", "watermark"])
def test_small_pictures_that_were_enlarged_and_brought_back_are_unchanged(thing):
    patient = known.Patient(5, 6, 256)
    image, _, mask = (
        known.rgb(one) if one.ndim == 2 and one.dtype != bool else one for one in patient.pair((thing,), ())
    )
    for side in (1024, 2048):
        big = Image.fromarray(image).resize((side, side))
        back = np.asarray(cv2.resize(np.asarray(big), (256, 256), interpolation=cv2.INTER_AREA))
        assert measures.is_unchanged(measures.measure(image, back, mask))


def test_without_a_mask_or_target_what_cannot_be_known_is_empty():
    image, target, _ = known.pair()
    row = measures.measure(image, known.jpeg(target))
    empty = ("error_inside", "error_untouched", "change_iou", "share_outside", "lesion_change")
    assert all(np.isnan(row[name]) for name in empty) and row["psnr_outside"] > 20


def test_an_empty_mask_makes_everything_outside():
    image, target, mask = known.pair()
    row = measures.measure(image, target, np.zeros_like(mask), image)
    assert row["share_outside"] == 1 and np.isnan(row["change_iou"]) and np.isnan(row["error_inside"])


def test_an_answer_without_a_picture_has_the_error_of_the_input_alone():
    image, target, mask = known.pair()
    row = measures.measure(image, None, mask, target)
    assert row.pop("error_untouched") == pytest.approx(measures.rms(image, target, mask))
    assert all(np.isnan(value) for value in row.values())


@pytest.mark.parametrize("side", [64, 100, 160, 256])
def test_what_changes_inside_the_mask_alone_leaves_the_outside_exact_at_any_size(side):
    image = np.random.default_rng(0).integers(40, 180, (side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), bool)
    mask[side // 3 : side // 2, side // 3 : side // 2] = True
    row = measures.measure(image, np.where(mask[..., None], image + np.uint8(60), image), mask)
    assert row["psnr_outside"] == float("inf") and row["ssim_outside"] == 1


def test_a_mask_is_grown_by_15_pixels_at_512():
    mask = np.zeros((512, 512), bool)
    mask[256, 256] = True
    rows, columns = np.nonzero(measures.grown(mask))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (241, 271, 241, 271)
    assert not measures.grown(np.zeros((512, 512), bool)).any()


def test_nothing_that_is_given_is_written_into():
    image, target, mask = known.pair()
    answer = known.zoomed(target, 1.02)
    before = [one.copy() for one in (image, answer, mask, target)]
    measures.measure(image, answer, mask, target, lesion=True)
    assert all((one == held).all() for one, held in zip((image, answer, mask, target), before, strict=True))
