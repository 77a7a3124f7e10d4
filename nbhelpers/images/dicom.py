"""DICOM films: pixels as 8-bit luminance where bright is dense, and the few header fields that an evaluation needs."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels import get_decoder
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID

from nbhelpers.errors import UserError
from nbhelpers.images.files import MAX_PIXELS, Gray, to_gray

MAX_BYTES = 256 * 2**20  # 64 million pixels of 16 bit are 122 MiB; a larger file is no single film
OLDEST = 120  # years; the public sets hold ages such as 148 and 412, which are slips of the key
# pydicom logs and warns of what it finds broken, and raises too; the raised one is what a reader gets to see here.
logging.getLogger("pydicom").addHandler(logging.NullHandler())
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\..*")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}  # baseline and extended
_HEADER = (
    *("ViewPosition", "PatientSex", "PatientAge", "PixelSpacing", "ImagerPixelSpacing"),
    *("Rows", "Columns", "PhotometricInterpretation", "BitsStored"),
)
_LOOK_UPS = {  # what an item of each must hold
    "VOILUTSequence": ("LUTDescriptor", "LUTData"),
    "ModalityLUTSequence": ("LUTDescriptor", "LUTData"),
}
_SCALES = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
_AGE = re.compile(r"(\d{1,4}(?:\.\d+)?)\s*([DWMY]?)")
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_SEXES = {"F": "female", "FEMALE": "female", "M": "male", "MALE": "male"}


@dataclass(frozen=True)
class Header:
    """What a film's header says of it; None (or NaN) where it says nothing, or nothing that can be true."""

    view: str | None  # as written (PA, AP, LL, ...)
    sex: str | None  # `female` or `male`
    age: float  # years
    age_text: str  # as written
    pixel_spacing: float  # height of a pixel in mm
    rows: int
    columns: int
    photometric: str
    bits: int


def parse_age(text: str) -> float:
    """Age in years from a DICOM age: `058Y`, `58`, `018M`, `006W`, `010D`; NaN when empty, odd, or over `OLDEST`."""
    found = _AGE.fullmatch(text.strip().upper())
    if found is None:
        return math.nan
    years = float(found[1]) * _YEARS[found[2]]
    return years if years <= OLDEST else math.nan


def is_dicom(path: Path | str) -> bool:
    """Whether a file begins as DICOM files do: `DICM` after 128 bytes; False too when it cannot be read."""
    try:
        with open(path, "rb") as handle:
            return handle.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path | str) -> Header:
    """Header fields of one film; a missing file, one that is no DICOM, or a broken header is a `UserError`."""
    with open_file(path) as handle, _clear_errors(str(path)):
        dataset = pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=list(_HEADER))
        age = _text(dataset, "PatientAge")
        spacing = _text(dataset, "PixelSpacing") or _text(dataset, "ImagerPixelSpacing")
        return Header(
            view=_text(dataset, "ViewPosition").upper() or None,
            sex=_SEXES.get(_text(dataset, "PatientSex").upper()),
            age=parse_age(age),
            age_text=age,
            pixel_spacing=_first_number(spacing),
            rows=int(dataset.get("Rows") or 0),
            columns=int(dataset.get("Columns") or 0),
            photometric=_text(dataset, "PhotometricInterpretation"),
            bits=int(dataset.get("BitsStored") or 0),
        )


def read_film(path: Path | str, max_pixels: int = MAX_PIXELS) -> Gray:
    """Pixels of one film as uint8 `(rows, columns)`, bright where the body is dense.

    The modality LUT and the first VOI LUT or window are applied as the standard says (PS3.3 C.11), MONOCHROME1 is
    turned round, and the window's whole output range becomes 0 to 255. Films of up to 8 bits that carry neither keep
    their values; deeper ones that carry neither are stretched from their own range, padding left out.

    Read are files of one frame, of 8 or 16 bits allocated, or RGB. One that is missing, no DICOM, broken, cut short, of
    another kind, or larger than `max_pixels` (by the header, and before it is decoded) is a `UserError`.
    """
    where = str(path)
    with open_file(path) as handle:
        data = handle.read()
    # A deflated file is inflated whole while it is parsed, whatever its size may be.
    if _DEFLATED in data[:2048]:
        raise UserError("deflated DICOM is not read", where, "store the film in another transfer syntax")
    with _clear_errors(where):
        dataset = pydicom.dcmread(io.BytesIO(data))
        _drop_what_says_nothing(dataset)
        _check_shape(dataset, where, max_pixels)
        pixels = _pixels(dataset, where)
        if pixels.ndim == 3:
            return to_gray(Image.fromarray(pixels.astype(np.uint8)))
        return _windowed(pixels, dataset)


def open_file(path: Path | str) -> io.BufferedReader:
    """Open a film's file for reading; `UserError` when it is missing, not readable or over `MAX_BYTES`."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(
                f"file of over {MAX_BYTES // 2**20} MiB is too large for a single film", str(path), "remove it"
            )
        return path.open("rb")
    except OSError as error:
        raise UserError(f"film cannot be read: {error.strerror}", str(path), "check the path") from None


@contextlib.contextmanager
def _clear_errors(where: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except InvalidDicomError:
        raise UserError("not a DICOM file", where, "replace or remove the file") from None
    except Exception as error:  # broken bytes make pydicom and its decoders raise nearly anything
        message = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"film cannot be decoded: {message}", where, "replace the file") from None


def _text(dataset: pydicom.Dataset, keyword: str) -> str:
    # The bytes as they stand: pydicom would warn of each "58" that ought to be "058Y", once a film.
    element: Any = dataset.get_item(keyword)
    value = b"" if element is None or element.value is None else element.value
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip(" \0")


def _first_number(text: str) -> float:
    try:
        value = float(text.split("\\")[0])
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and value > 0 else math.nan


def _drop_what_says_nothing(dataset: pydicom.Dataset) -> None:
    """Take out elements of the display pipeline that are empty or cannot hold: each then counts as absent."""
    for keyword, needed in _LOOK_UPS.items():
        if keyword in dataset:
            items = [item for item in dataset[keyword].value or [] if all(_numbers(item, name) for name in needed)]
            if items:
                dataset[keyword].value = items
            else:
                del dataset[keyword]
    for keyword in _SCALES:
        if keyword in dataset and not _numbers(dataset, keyword):
            del dataset[keyword]
    pairs = [_numbers(dataset, name) for name in ("WindowCenter", "WindowWidth")]
    linear = str(dataset.get("VOILUTFunction") or "LINEAR")
    if "WindowWidth" in dataset and not (all(pairs) and pairs[1][0] >= (1 if linear == "LINEAR" else 1e-9)):
        del dataset["WindowWidth"]  # PS3.3 C.11.2.1.2: at least 1, or above 0 for the other functions
    if _numbers(dataset, "RescaleSlope") == [0.0]:
        del dataset["RescaleSlope"]
    allocated = int(dataset.get("BitsAllocated") or 0)
    for keyword, usual in (
        ("BitsStored", allocated),
        ("HighBit", int(dataset.get("BitsStored") or allocated) - 1),
        ("PixelRepresentation", 0),
        ("SamplesPerPixel", 1),
    ):
        if dataset.get(keyword) is None:
            setattr(dataset, keyword, usual)
    for keyword in ("PresentationLUTShape", "VOILUTFunction", "NumberOfFrames", "PixelPaddingValue"):
        if keyword in dataset and dataset[keyword].is_empty:
            del dataset[keyword]


def _numbers(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    """The values of an element as finite numbers; empty when it is absent, empty, or holds anything else."""
    try:
        value = dataset[keyword].value
        if isinstance(value, bytes):
            return [1.0] if value else []  # a look-up table as it stands
        found = [float(one) for one in (value if isinstance(value, MultiValue | list | tuple) else [value])]
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return []
    return found if all(map(math.isfinite, found)) else []


def _check_shape(dataset: pydicom.Dataset, where: str, max_pixels: int) -> None:
    if "PixelData" not in dataset:
        raise UserError("DICOM file without pixels, or truncated", where, "replace the file")
    rows, columns, frames = (int(dataset.get(keyword) or 0) for keyword in ("Rows", "Columns", "NumberOfFrames"))
    if rows * columns <= 0:
        raise UserError("DICOM file without an image size", where, "replace the file")
    if rows * columns > max_pixels:
        raise UserError(f"film of {columns} x {rows} is over {max_pixels} pixels", where, "resize it")
    if frames > 1:
        raise UserError(f"{frames} frames in one file", where, "give one film per file")
    photometric, bits = str(dataset.get("PhotometricInterpretation", "")), int(dataset.get("BitsAllocated") or 0)
    readable = photometric in ("MONOCHROME1", "MONOCHROME2") and bits in (8, 16)
    if not readable and not (photometric in ("RGB", "YBR_FULL", "YBR_FULL_422") and bits == 8):
        raise UserError(f"{photometric or 'no photometric'} of {bits} bits is not supported", where, "convert the film")


def _pixels(dataset: pydicom.Dataset, where: str) -> NDArray[Any]:
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if syntax.is_transfer_syntax and syntax.is_compressed and not get_decoder(syntax).is_available:
        raise UserError(
            f"its compression, {syntax.name}, has no decoder here",
            where,
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or store the film uncompressed",
        )
    if syntax not in _JPEG:
        return np.asarray(dataset.pixel_array)
    # The compressed image has a size of its own, and decoders allocate by that one.
    with Image.open(io.BytesIO(get_frame(dataset.PixelData, 0, number_of_frames=1))) as image:
        if image.size != (dataset.Columns, dataset.Rows):
            raise UserError(
                f"header says {dataset.Columns} x {dataset.Rows}, its JPEG image is {image.width} x {image.height}",
                where,
                "replace the file",
            )
        if image.mode == "L" and dataset.SamplesPerPixel == 1 and dataset.BitsStored == 8:
            # What pydicom would do too, less its copies and checks: 26,684 films go this way.
            return np.asarray(image)
    return np.asarray(dataset.pixel_array)


def _windowed(pixels: NDArray[Any], dataset: pydicom.Dataset) -> Gray:
    bits = int(dataset.BitsStored)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    has_voi = "VOILUTSequence" in dataset or ("WindowCenter" in dataset and "WindowWidth" in dataset)
    has_modality = "ModalityLUTSequence" in dataset or _rescale(dataset) != (1.0, 0.0)
    if bits <= 8 and not has_voi and not has_modality and int(dataset.PixelRepresentation) == 0:
        top = 2**bits - 1
        values = (
            (np.minimum(pixels, top) * (255 / top)).astype(np.uint8) if bits < 8 or pixels.dtype != np.uint8 else pixels
        )
        return np.array(255 - values if inverted else values, dtype=np.uint8)
    values = apply_modality_lut(pixels, dataset)
    if values.dtype.kind == "f" and np.array_equal(values, np.rint(values)):
        values = values.astype(np.int32)
    if has_voi:
        low, high = _output_range(dataset)
        values = apply_voi_lut(values, dataset, index=0)
    else:
        low, high = _own_range(values, pixels, dataset)
    scaled = np.clip((values.astype(np.float64) - low) * (255.0 / max(high - low, 1e-9)), 0, 255)
    film = np.rint(255.0 - scaled if inverted else scaled).astype(np.uint8)
    return np.ascontiguousarray(film)


def _rescale(dataset: pydicom.Dataset) -> tuple[float, float]:
    """Slope and intercept."""
    return float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)


def _output_range(dataset: pydicom.Dataset) -> tuple[float, float]:
    """Lowest and highest value that the VOI step can give: PS3.3 C.11.2.1.2, as pydicom's `apply_windowing` has it."""
    if "VOILUTSequence" in dataset:
        return 0.0, float(2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    if "ModalityLUTSequence" in dataset:
        return 0.0, float(2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    bits = int(dataset.BitsStored)
    low, high = (0, 2**bits - 1) if int(dataset.PixelRepresentation) == 0 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    slope, intercept = _rescale(dataset)
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _own_range(values: NDArray[Any], stored: NDArray[Any], dataset: pydicom.Dataset) -> tuple[float, float]:
    padding = dataset.get("PixelPaddingValue")
    seen = values[stored != int(padding)] if padding is not None else values
    seen = seen if seen.size else values
    return float(seen.min()), float(seen.max())
