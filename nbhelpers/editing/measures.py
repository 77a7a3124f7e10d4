"""What one edit changed: inside the mask against the true target, outside it against the input, and where.

A picture that came is compared with the input as it came and once more after the simplest alignment that helps: a shift
(phase correlation), an affine map (ECC, Evangelidis and Psarakis 2008), gain and offset. Shift, zoom and gain are
findings of their own. Where none fits, or the answer is mirrored or turned, `alignment` says so, and what only an
aligned answer tells (shift, zoom, gain, the lesion's change) is empty. Grey levels are 0 to 255; lengths in pixels are
of the picture as it was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

GROWN = 15  # pixels at 512 by which the mask is grown before "outside" begins
_LEAST_GROWN = 8  # at any size: the window of SSIM, 11 pixels a side, must not reach into the mask
_ENOUGH = 46.0  # dB outside from which no affine map can help: to resample alone costs that much
_BETTER = 0.5  # dB that an alignment must gain over a simpler one
_FLOOR = 3.0  # grey levels of blurred difference below which nobody sees a change
_SPREADS = 4.0  # scaled median absolute deviations over the median that a change stands out by
_SAME = 30.0  # dB outside under which a picture is not the same one, coded again
_ALIKE = 0.35  # correlation of fine structure, aligned, under which it is another picture: patients reach 0.2
_TURNED = 3.0  # dB by which a mirrored or turned answer must fit better to be called so
_ROTATED = 0.5  # degrees from which a rotation is told
_SMALL = 128  # pixels a side at which that is asked
_SPECK = 2e-4  # share of the picture's pixels: less is no change
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
_COARSEST = 96  # pixels a side of the smallest picture that is mapped

COLUMNS = (
    *("error_inside", "error_untouched", "psnr_outside", "psnr_outside_aligned", "ssim_outside", "shift_px", "zoom"),
    *("gain", "change_iou", "share_outside", "changed_share", "lesion_change", "alignment"),
)
UNALIGNED = "not aligned: it differs too much"
_TURNS: dict[str, Callable[[NDArray], NDArray]] = {
    "mirrored left to right": np.fliplr,
    "mirrored top to bottom": np.flipud,
    "turned by 180 degrees": lambda image: np.rot90(image, 2),
    "turned left by 90 degrees": lambda image: np.rot90(image, 3),
    "turned right by 90 degrees": np.rot90,
}


@dataclass(frozen=True)
class Alignment:
    """An answer brought back onto the input, and what it took: shift (pixels), zoom and gain of the answer."""

    image: Floats  # (h, w, 3), or (h, w, 1) of grey pictures
    valid: Mask  # pixels that the answer holds
    shift: float = 0.0
    zoom: float = 1.0
    gain: float = 1.0
    rotation: float = 0.0  # degrees
    fault: str = ""  # why it could not be aligned, and is as it came


def grown(mask: Mask) -> Mask:
    """A mask grown by `GROWN` pixels at 512, in proportion but by 8 at least; an empty one stays empty."""
    radius = max(_LEAST_GROWN, round(GROWN * max(mask.shape) / 512))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def rms(image: NDArray, other: NDArray, where: Mask) -> float:
    """Root mean square difference over some pixels, grey levels; NaN where there is none."""
    if not where.any():
        return float("nan")
    difference = image.astype(np.float32) - other
    return float(np.sqrt(np.mean(np.square(difference, out=difference).mean(axis=2)[where], dtype=np.float64)))


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio, dB, of a root mean square error in grey levels; `inf` for none."""
    return float("inf") if error == 0 else float(20 * np.log10(255 / error))


def ssim(image: Pixels, other: Pixels, where: Mask) -> float:
    """Mean over some pixels of the whole pictures' SSIM map (Gaussian, sigma 1.5): no hole is ever compared."""
    gray = [_gray(one) for one in (image, other)]
    same = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}
    return float(structural_similarity(*gray, **same)[1][where].mean()) if where.any() else float("nan")


def _gray(image: Pixels) -> Pixels:
    return image[..., 0] if image.shape[2] == 1 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def align(image: Pixels, answer: Pixels, outside: Mask) -> Alignment:
    """The answer on the input, by the simplest way that gains: as it is, shifted, mapped, each with gain or without.

    All is judged and fitted on `outside` alone. An answer that fits better mirrored or turned, or is another picture
    however it is laid, is as it came, with its `fault`: its shift, zoom and gain are unknown (NaN).
    """
    best, error = _best(image, answer, outside)
    fault = ""
    if psnr(error) < _SAME:
        fault = _turned(image, answer, outside) or ("" if _alike(image, best, outside) else UNALIGNED)
    nothing = float("nan")
    return Alignment(answer.astype(np.float32), np.ones_like(outside), *[nothing] * 4, fault) if fault else best


def _turned(image: Pixels, answer: Pixels, outside: Mask) -> str:
    """Of `_TURNS` the one that the answer went through; empty for none, which is asked of small pictures."""
    scale = min(_SMALL / max(outside.shape), 1)
    size = tuple(max(round(side * scale), 1) for side in outside.shape[::-1])
    seen, turned = (cv2.resize(_gray(one), size, interpolation=cv2.INTER_AREA)[..., None] for one in (image, answer))
    there = cv2.resize(outside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0

    ways = {name: np.ascontiguousarray(back(turned)) for name, back in _TURNS.items()}
    found = {name: _best(seen, one, there) for name, one in ways.items() if one.shape == seen.shape}
    name = min(found, key=lambda one: found[one][1])
    better = psnr(found[name][1]) > psnr(_best(seen, turned, there)[1]) + _TURNED
    return name if better and _alike(seen, found[name][0], there) else ""


def _alike(image: Pixels, found: Alignment, outside: Mask) -> bool:
    """Whether an aligned answer has the fine structure of the input: ribs and vessels, not the shape of a chest."""
    scale, kept = max(outside.shape) / 512, outside & found.valid
    fine = [
        cv2.GaussianBlur(one, (0, 0), max(1.5 * scale, 0.75)) - cv2.GaussianBlur(one, (0, 0), max(8 * scale, 1.5))
        for one in (image.astype(np.float32).mean(axis=2), found.image.mean(axis=2))
    ]
    x, y = (one[kept].astype(np.float64) for one in fine)
    if not x.std() > 0 < y.std():
        return False
    return float(np.corrcoef(x, y)[0, 1]) > _ALIKE


def _best(image: Pixels, answer: Pixels, outside: Mask) -> tuple[Alignment, float]:
    """The simplest alignment that gains, and its error; one that leaves less than half of `outside` is none."""
    best = Alignment(answer.astype(np.float32), np.ones(outside.shape, dtype=bool))
    best_error = rms(image, best.image, outside)
    for found in _alignments(image, answer, outside):
        if not found.valid[outside].mean() > 0.5:
            continue
        error = rms(image, found.image, outside & found.valid)
        if psnr(error) > psnr(best_error) + _BETTER:
            best, best_error = found, error
            if psnr(error) > _ENOUGH:
                break
    return best, best_error


def _alignments(image: Pixels, answer: Pixels, outside: Mask) -> Iterator[Alignment]:
    if not rms(image, answer, outside) > 0:  # equal, or nothing is outside
        return
    gray, moved = (_gray(one).astype(np.float32) for one in (image, answer))
    still = np.eye(2, 3, dtype=np.float32)
    yield _fitted(image, answer, still, outside)
    window = cv2.createHanningWindow(gray.shape[::-1], cv2.CV_32F)
    # OpenCV multiplies the pictures that it is given by the window, in place.
    across, down = np.rint(cv2.phaseCorrelate(gray.copy(), moved.copy(), window)[0])
    shift = np.array([[1, 0, across], [0, 1, down]], dtype=np.float32)
    within = max(abs(across), abs(down)) < max(gray.shape) / 8  # a larger one is a false peak
    if within and (across or down):
        yield _mapped(answer, shift)
        yield _fitted(image, answer, shift, outside)
    affine = _ecc(gray, moved, shift if within else still, outside)
    if affine is not None:
        yield _mapped(answer, affine)
        yield _fitted(image, answer, affine, outside)


def _ecc(gray: Floats, moved: Floats, start: NDArray[np.float32], outside: Mask) -> NDArray[np.float32] | None:
    """The affine map from the input to the answer, found coarse to fine; None where the two have nothing in common."""
    affine = start.copy()
    for factor in (4, 2, 1):
        size = (gray.shape[1] // factor, gray.shape[0] // factor)
        if min(size) < _COARSEST:
            continue
        small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (gray, moved)]
        kept = cv2.resize(outside.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_NEAREST)
        affine[:, 2] /= factor
        try:
            found = cv2.findTransformECC(small[0], small[1], affine, cv2.MOTION_AFFINE, _STEPS, kept, 5)[1]
        except cv2.error:
            return None
        affine = np.asarray(found, dtype=np.float32)
        affine[:, 2] *= factor
    return affine if min(affine[0, 0], affine[1, 1]) > 0.5 else None  # mirrored, or turned on its side


def _mapped(answer: Pixels, affine: NDArray[np.float32]) -> Alignment:
    """The answer read at `affine` of each of the input's pixels."""
    height, width = answer.shape[:2]
    whole = np.array_equal(affine, np.rint(affine))
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_NEAREST if whole else cv2.INTER_CUBIC)
    image = cv2.warpAffine(answer.astype(np.float32), affine, (width, height), flags=flags)
    held = cv2.warpAffine(np.ones((height, width), np.float32), affine, (width, height), flags=cv2.WARP_INVERSE_MAP)
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = affine[:, :2] @ middle + affine[:, 2] - middle
    zoom = float(np.sqrt(abs(np.linalg.det(affine[:, :2].astype(np.float64)))))
    rotation = float(np.degrees(np.arctan2(affine[1, 0] - affine[0, 1], affine[0, 0] + affine[1, 1])))
    there = np.asarray(image, dtype=np.float32).reshape(answer.shape)
    return Alignment(there, held > 0.999, float(np.hypot(*shift)), zoom, rotation=rotation)


def _fitted(image: Pixels, answer: Pixels, affine: NDArray[np.float32], outside: Mask) -> Alignment:
    """The mapped answer with its gain and offset taken off: `answer = gain * input + offset`, by least squares."""
    found = _mapped(answer, affine)
    here = outside & found.valid
    x, y = image[here].astype(np.float64).ravel(), found.image[here].astype(np.float64).ravel()
    if x.size < 2 or x.std() < 1:
        return found
    gain = float(np.mean((x - x.mean()) * (y - y.mean())) / x.var())
    if not 0.2 < gain < 5:
        return found
    level = (found.image - np.float32(y.mean() - gain * x.mean())) / np.float32(gain)
    return replace(found, image=level.astype(np.float32), gain=gain)


def changed_region(image: Pixels, aligned: Alignment) -> Mask:
    """Where an aligned answer differs: the blurred difference over its median and spread, opened; bool `(h, w)`.

    The threshold is the median plus 4 scaled median absolute deviations, and never below 3 grey levels; it is those 3
    for an answer that could not be aligned, in which nothing stands out of the rest.
    """
    scale = max(image.shape[:2]) / 512
    difference = (aligned.image - image.astype(np.float32)) * aligned.valid[..., None]
    # With its sign: what a codec or a resampling leaves beside sharp edges cancels, what was put there does not.
    blurred = np.abs(cv2.GaussianBlur(difference, (0, 0), 2.0 * max(scale, 1.0))).reshape(difference.shape).mean(axis=2)
    middle = float(np.median(blurred[aligned.valid])) if aligned.valid.any() else 0.0
    spread = 1.4826 * float(np.median(np.abs(blurred[aligned.valid] - middle))) if aligned.valid.any() else 0.0
    found = (blurred > (_FLOOR if aligned.fault else max(middle + _SPREADS * spread, _FLOOR))).astype(np.uint8)
    side = 2 * max(1, round(2 * scale)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(found, cv2.MORPH_OPEN, kernel) > 0


def share_of_change(image: Pixels, answer: Floats, target: Pixels, mask: Mask) -> float:
    """How much of the true change was made, by the filter matched to it: 0 none, 1 all of it, below 0 the reverse.

    The projection of what changed inside the mask on what should have changed there. NaN where nothing should.
    """
    wanted = target[mask].astype(np.float64) - image[mask]
    energy = float((wanted**2).sum())
    return float((wanted * (answer[mask].astype(np.float64) - image[mask])).sum() / energy) if energy else float("nan")


def measure(
    image: Pixels,
    answer: Pixels | None,
    mask: Mask | None = None,
    target: Pixels | None = None,
    lesion: bool = False,
) -> dict[str, Any]:
    """All pixel measures of one answer, by the columns of `edits.csv`; NaN where one cannot be known.

    `alignment` is text: why the answer could not be aligned, or a rotation; else empty.

    Parameters
    ----------
    image, answer, target : uint8 (h, w, 3)
        What was sent, what came back in the same geometry, and the true answer. Without an answer nothing is known but
        `error_untouched`, the error inside the mask of leaving the picture as it was.
    mask : bool (h, w), optional
        Where the change belongs; all False where nothing is to change, None where it is not known: then all of the
        picture counts as outside, and where the change lies is not judged.
    lesion : bool
        Whether the change is a lesion's: `lesion_change` is `share_of_change` of the aligned answer.
    """
    inside = np.zeros(image.shape[:2], dtype=bool) if mask is None else mask
    row: dict[str, Any] = dict.fromkeys(COLUMNS, float("nan"))
    row["error_untouched"] = float("nan") if target is None else rms(image, target, inside)
    if answer is None:
        return row
    known = [one for one in (image, answer, target) if one is not None]
    if all((one[..., :1] == one[..., 1:]).all() for one in known):  # one channel says it all, in a third of the time
        image, answer, target = image[..., :1], answer[..., :1], None if target is None else target[..., :1]
    outside = ~grown(inside)
    aligned = align(image, answer, outside)
    kept = outside & aligned.valid
    region = changed_region(image, aligned)
    there = int(np.count_nonzero(region))
    row |= {
        "error_inside": float("nan") if target is None else rms(answer, target, inside),
        "psnr_outside": psnr(rms(image, answer, outside)),
        "psnr_outside_aligned": psnr(rms(image, aligned.image, kept)),
        "ssim_outside": ssim(image, answer, outside),
        "shift_px": aligned.shift,
        "zoom": aligned.zoom,
        "gain": aligned.gain,
        "changed_share": there / region.size,
        "alignment": aligned.fault or _rotated(aligned.rotation),
    }
    if mask is not None and there:
        row["share_outside"] = float((region & outside).sum() / there)
    if mask is not None and mask.any():
        row["change_iou"] = float((region & mask).sum() / (region | mask).sum())
    if lesion and target is not None and not aligned.fault:
        row["lesion_change"] = share_of_change(image, aligned.image, target, inside & aligned.valid)
    return row


def _rotated(degrees: float) -> str:
    return f"rotated by {abs(degrees):.1f} degrees" if abs(degrees) >= _ROTATED else ""


def is_unchanged(row: Mapping[str, Any]) -> bool:
    """Whether an answer is the input but for its coding: no change stands out, none of place, size or gain, and the
    rest is not another picture, in which nothing could stand out."""
    still = row["shift_px"] < 1 and abs(row["zoom"] - 1) < 0.005 and abs(row["gain"] - 1) < 0.02
    return row["changed_share"] < _SPECK and still and row["psnr_outside"] > _SAME
