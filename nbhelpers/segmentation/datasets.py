"""Images with masks to segment: simulated films, a folder or table of one's own, and the published layouts by name."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.image_models.geometry import resized
from nbhelpers.images import files
from nbhelpers.images.duplicates import near_duplicates, perceptual_hash, thumbnail_of
from nbhelpers.images.files import decode, read_image
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.stage import data_root

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]

MASK_SUFFIX = re.compile(r"(_mask(_\d+)?|_segmentation|_manual\d|_(1st|2nd)HO|\.ah|\.vk)$")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pbm", ".gz"}
SOFT_SHARE = 0.02  # of pixels between 10 % and 90 % of the maximum: more, and the file is no mask
JPEG_MARGIN = 16.0  # grey levels off black and white
PATCH = np.ones((3, 3), dtype=np.uint8)
ORIENTATION, SIDEWAYS = 274, 5  # the tag, and its first value that swaps height and width
NEAR_BITS = 20  # of 256 hash bits, within which two pictures may be the same

# Data set -> module:function that lists it; all take (name, parameters, run folder).
_LAYOUTS = "nbhelpers.segmentation.layouts"
DATASETS = {
    **dict.fromkeys(("simulated_lungs", "simulated_lesions"), "nbhelpers.segmentation.simulated:films"),
    **dict.fromkeys(("colondb", "kvasir", "etis", "cvc300"), f"{_LAYOUTS}:polyps"),
    **{name: f"{_LAYOUTS}:{name}" for name in ("folder", "busi", "fives", "clinicdb", "drive", "stare", "chase_db1")},
}


@dataclass
class SegmentationSet:
    """Images and their masks."""

    name: str
    title: str  # in figures
    target: str  # what is to be segmented: `polyp`, `vessels`, `lesion`, `lungs` or `object`
    # A row an image: `case, image, masks` (several are OR-ed, none is an empty mask), and where known `fov`,
    # `annotator_2` (paths), `quality`, `duplicate_of`. `load` adds `group` and `split` (`train` or `test`) to a layout
    # that has none.
    cases: pd.DataFrame
    root: Path  # where the paths count from
    simulated: bool = False
    resize_masks: bool = False  # resize a mask of another size than its image, in place of an error
    bits: int = 0  # of simulated truth images, the bit that is the mask; 0: mask files
    notes: list[str] = field(default_factory=list)  # what a reader should know

    def image(self, case: Mapping[Any, Any]) -> Pixels:
        """A case's image, uint8 RGB `(h, w, 3)`."""
        return read_rgb(inside(self.root, case["image"]))

    def truth(self, case: Mapping[Any, Any], of: str = "masks") -> Mask:
        """A case's mask, bool `(h, w)`: inside the field of view where there is one. `of` may be `annotator_2`."""
        shape = self.image(case).shape[:2]
        if self.bits:
            return np.asarray(read_image(self.root / case["masks"][0])) & self.bits > 0
        mask = np.zeros(shape, dtype=bool)
        for file in case[of] if isinstance(case[of], list) else [case[of]]:
            mask |= self._mask(file, case, shape)
        return mask & self.view(case, shape)

    def _mask(self, file: str, case: Mapping[Any, Any], shape: tuple[int, ...]) -> Mask:
        path, turned = inside(self.root, file), _orientation(inside(self.root, case["image"]))
        if turned != _orientation(path) and (turned < SIDEWAYS or shape[0] == shape[1]):
            what = "only one of image and mask has a tag that turns it, and which way the other stands cannot be told"
            raise UserError(what, str(path), "save both upright, without the tag")
        return fitted(read_mask(path), shape, path, self.resize_masks)

    def view(self, case: Mapping[Any, Any], shape: tuple[int, ...]) -> Mask:
        """The part of a case's image that is scored: its field of view, or all of it; bool `(h, w)`."""
        file = case.get("fov")
        return self._mask(file, case, shape[:2]) if isinstance(file, str) else np.ones(shape[:2], dtype=bool)

    def part(self, split: str) -> list[dict[Any, Any]]:
        """The cases of `train` or `test`, as dictionaries."""
        return self.cases[self.cases["split"] == split].to_dict("records")

    @property
    def thin(self) -> bool:
        """Whether what is segmented is thin, so that centrelines matter."""
        return self.target == "vessels"


def _orientation(path: Path) -> int:
    with contextlib.suppress(Exception), Image.open(path) as image:
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def opened(path: Path) -> Image.Image:
    """An image file, gzipped or not, decoded; see `images.files.decode` for what it refuses."""
    if path.suffix.lower() != ".gz":
        return read_image(path)
    try:
        return decode(gzip.decompress(path.read_bytes()), str(path))
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"image cannot be read: {error}", str(path), "replace the file") from None


def read_rgb(path: Path) -> Pixels:
    """An image file as uint8 RGB; grey of more than 8 bits is stretched from its own range.

    CVC-ClinicDB's TIFF files are tagged as grey with three samples: Pillow refuses them, OpenCV gives the red channel
    alone; scikit-image reads what is there.
    """
    try:
        image = opened(path)
        if files.is_deep(image):
            return np.repeat(files.to_gray(image)[..., None], 3, axis=2)
        return np.asarray(image.convert("RGB"))
    except UserError:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        from skimage import io

        with contextlib.suppress(Exception):
            pixels = io.imread(path)
            if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
                return np.asarray(pixels)
        raise


def to_gray(image: Pixels) -> Pixels:
    """An RGB image's luminance, uint8 `(h, w)`."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def gray_values(path: Path) -> NDArray[np.float32]:
    """A file's grey values as they stand there, float32 `(h, w)`, of 8 bits, 16 or floating; for masks and maps.

    Alpha is dropped, and a palette's colours are read, not its numbers. A `UserError`: values below 0 or not finite, a
    picture in the alpha channel alone.
    """
    image = opened(path)
    if not files.is_deep(image):
        rgba = np.asarray(image.convert("RGBA"))
        if not rgba[..., :3].any() and np.ptp(rgba[..., 3]):
            raise UserError("the mask lies in the alpha channel alone", str(path), "save it as black and white")
        # Without alpha first: what is transparent would be laid on black.
        image = image.convert("RGB").convert("L")
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all() or values.min(initial=0.0) < 0:
        raise UserError("the file holds values below 0 or not finite", str(path), "give values of 0 or more")
    return values


def read_mask(path: Path) -> Mask:
    """A mask file as bool `(h, w)`: foreground is above half of the file's own maximum.

    So 0/1, 0/255 and JPEG masks read alike. No masks, and a `UserError`: more than 2 % of the pixels between 10 % and
    90 % of the maximum (a soft map), a patch of a third level (labels of several classes), one value everywhere that is
    not 0, and what `gray_values` refuses.
    """
    values = gray_values(path)
    largest = float(values.max())
    if largest == 0:
        return np.zeros(values.shape, dtype=bool)
    if float(values.min()) == largest:
        raise UserError(f"all pixels of the mask are {largest:g}", str(path), "give a mask with a background")
    soft = float(np.mean((values > 0.1 * largest) & (values < 0.9 * largest)))
    if soft > SOFT_SHARE:
        do = "threshold it first; maps of a model go to `masks:<folder>`"
        raise UserError(f"{soft:.0%} of the pixels are neither black nor white: not a mask", str(path), do)
    # A soft edge has no flat patch; JPEG leaves flat ones near black and white, in files of 8 bits alone.
    margin = JPEG_MARGIN if 128 <= largest <= 255 else 0.0
    flat = values[cv2.dilate(values, PATCH) == cv2.erode(values, PATCH)]
    if ((flat > margin) & (flat < largest - margin)).any():
        raise UserError("the mask has more than two levels", str(path), "give each class a file of its own")
    return values > largest / 2


def check_upright(given: tuple[int, ...], shape: tuple[int, ...], path: Path) -> None:
    """A `UserError` where a mask of size `given` lies on its side beside an image of `shape`: resizing mends it not."""
    if abs(math.log(shape[0] / shape[1])) > 0.02 and abs(math.log(given[0] * shape[0] / given[1] / shape[1])) < 0.01:
        raise UserError(f"the mask lies on its side: {_sizes(given, shape)}", str(path), "turn it")


def fitted(mask: Mask, shape: tuple[int, ...], path: Path, resize: bool) -> Mask:
    """A mask of the image's shape `(h, w)`; another size is an error, or is resized where `resize` says so."""
    if mask.shape == shape:
        return mask
    check_upright(mask.shape, shape, path)
    if not resize:
        do = "correct it, or set segmentation_resize_masks: true"
        raise UserError(f"the mask is {_sizes(mask.shape, shape)}", str(path), do)
    return resized(mask.astype(np.uint8) * np.uint8(255), shape) > 127


def _sizes(given: tuple[int, ...], shape: tuple[int, ...]) -> str:
    return f"{given[1]} x {given[0]} for an image of {shape[1]} x {shape[0]}"


def known(name: str) -> str:
    """The whole name of the function that lists a data set; an unknown one is a `UserError`."""
    if name not in DATASETS:
        raise UserError(f"unknown segmentation data {name!r}", "segmentation_data", suggest(name, DATASETS))
    return DATASETS[name]


def load(name: str, parameters: Mapping[str, Any], run_folder: Path) -> SegmentationSet:
    """The data set of this name; an unknown or missing one is a `UserError` that says where it is looked for."""
    module, _, function = known(name).partition(":")
    found: SegmentationSet = getattr(importlib.import_module(module), function)(name, parameters, run_folder)
    found.resize_masks = bool(parameters.get("segmentation_resize_masks", False))
    cases = found.cases = found.cases.reset_index(drop=True)
    cases["group"] = cases["group"].fillna(cases["case"]) if "group" in cases else cases["case"]
    if "split" not in cases:
        share, seed = parameters.get("segmentation_test_share", 0.34), parameters.get("seed", 0)
        cases = found.cases = split_groups(cases, float(share), int(seed))
    if not cases["split"].isin(("train", "test")).all():
        raise UserError("a split is neither train nor test", str(found.root), "correct the column `split`")
    if cases.empty or not (cases["split"] == "test").any():
        raise UserError(f"{name} has no test case", str(found.root), "check the folder")
    if cases["case"].duplicated().any():
        twice = cases.loc[cases["case"].duplicated(), "case"].iloc[0]
        do = "give each image one row; several masks of it are `a.png;b.png`"
        raise UserError(f"case {twice!r} is listed twice", str(found.root), do)
    both = set(cases.loc[cases["split"] == "train", "group"]) & set(cases.loc[cases["split"] == "test", "group"])
    if both:
        raise UserError(
            f"group {min(both)!r} is in both training and test", str(found.root), "split by patient or sequence"
        )
    return found


def pairs_in(images: Path, masks: Path, root: Path) -> pd.DataFrame:
    """Images and masks of two folders, paired by stem after `_mask`, `_mask_1`, `_manual1`, ... are taken off.

    Several masks of a stem are OR-ed. An image without a mask, or the reverse, is a `UserError`.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError("folder not found", str(folder), "it must hold the images, or their masks")
    of: dict[str, list[str]] = {}
    for path in image_files(masks):
        of.setdefault(bare_stem(path), []).append(str(path.relative_to(root)))
    rows = []
    for path in image_files(images):
        if images == masks and MASK_SUFFIX.search(stem(path)):
            continue
        if stem(path) not in of or (images == masks and of[stem(path)] == [str(path.relative_to(root))]):
            raise UserError("an image has no mask", str(path), f"put {stem(path)}.png into {masks}")
        found = [file for file in of[stem(path)] if file != str(path.relative_to(root))]
        rows.append({"case": stem(path), "image": str(path.relative_to(root)), "masks": found})
    if len(of) > len(rows):
        extra = sorted(set(of) - {row["case"] for row in rows})[0]
        raise UserError(f"mask {extra!r} has no image", str(masks), "images and masks share their stems")
    return pd.DataFrame(rows, columns=["case", "image", "masks"])


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder by name, without the hidden ones that other systems leave there."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(path for path in found if not path.name.startswith("."))


def stem(path: PurePath) -> str:
    """A file's name without its suffix, `.gz` and the suffix under it included."""
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def bare_stem(path: Path) -> str:
    """A mask's stem without what its name has behind its image's: `_mask`, `_mask_1`, `_1stHO`, ..."""
    return MASK_SUFFIX.sub("", stem(path))


def located(name: str, *folders: str) -> Path:
    """The first of `folders` that lies below `segmentation/` of the data root, or the data root itself."""
    for folder in folders:
        for parent in (data_root() / "segmentation", data_root()):
            if (parent / folder).is_dir():
                return parent / folder
    where = " or ".join(f"segmentation/{folder}" for folder in folders)
    raise UserError(f"data set {name} not found", str(data_root()), f"put it into {where}, or set NBHELPERS_DATA")


def split_groups(cases: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """`cases` with a column `split`: whole groups go to `test` at random until it holds `share` of the cases."""
    sizes = cases.groupby("group", sort=True).size()
    order = np.random.default_rng([seed, 8]).permutation(len(sizes))
    before = np.cumsum(sizes.to_numpy()[order]) - sizes.to_numpy()[order]
    testing = set(sizes.index[order[before < share * len(cases)]])
    return cases.assign(split=["test" if group in testing else "train" for group in cases["group"]])


def twins(found: SegmentationSet) -> list[str]:
    """For each case the earlier case that its picture nearly equals, or ""."""
    thumbnails = [thumbnail_of(to_gray(found.image(case))) for case in found.cases.to_dict("records")]
    hashes = np.stack([perceptual_hash(thumbnail) for thumbnail in thumbnails])
    names = found.cases["case"].tolist()
    return [names[twin] if twin >= 0 else "" for twin in near_duplicates(hashes, np.stack(thumbnails), NEAR_BITS)]
