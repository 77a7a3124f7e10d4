"""Image files in and out: formats told by their bytes, sizes bounded before anything is decoded."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from nbhelpers.errors import UserError
from nbhelpers.runs.files import inside, write_bytes

MAX_PIXELS = 64_000_000  # a 40 MP detector fits; a decompression bomb does not
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif", "bmp": ".bmp", "tiff": ".tif", "pnm": ".ppm"}
MIN_SIDE = 32  # pixels; less shows no chest
Gray = NDArray[np.uint8]

_ORIENTATION, _PHOTOMETRIC, _WHITE_IS_ZERO = 274, 262, 0  # of TIFF 6.0 and EXIF

_SIGNATURES = (
    *((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp")),
    *((b"P4", "pnm"), (b"P5", "pnm"), (b"P6", "pnm")),
)


def sniff_format(data: bytes) -> str | None:
    """Format by the first bytes: `png`, `jpeg`, `webp`, `gif`, `bmp`, `tiff` or `pnm`; None when it is none of them."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "tiff"
    return next((name for magic, name in _SIGNATURES if data.startswith(magic)), None)


def decode(data: bytes, where: str = "", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file's bytes completely, turned as its orientation tag says and with bright as large values.

    When they are none, are cut short, or hold several images, a `UserError` that names `where`.
    An image of more than `max_pixels` (width times height, of the header) is refused before it is decoded.
    """
    if sniff_format(data) is None:
        raise UserError("not an image file", where, "use PNG, JPEG, WebP, TIFF, BMP, GIF or PPM")
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > max_pixels:
            raise UserError(f"image of {image.width} x {image.height} is over {max_pixels} pixels", where, "resize it")
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a telephone's picture with its own preview behind it
            raise UserError(f"{frames} images in one file", where, "give one image per file")
        # Another library may have set this; a half-decoded film must never pass as a film.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        image.load()
        return _upright(_dark_is_zero(image))
    except (UserError, MemoryError):
        raise
    except Exception as error:  # broken bytes make decoders raise nearly anything
        message = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"image cannot be decoded: {message}", where, "replace or remove the file") from None


def _dark_is_zero(image: Image.Image) -> Image.Image:
    """The image with bright as large values; Pillow turns TIFFs of 8 bits whose white is zero, and no deeper ones."""
    if image.format != "TIFF" or not is_deep(image) or getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) != _WHITE_IS_ZERO:
        return image
    values = np.asarray(image)
    turned = -values if values.dtype.kind == "f" else np.invert(values)
    upright = Image.fromarray(turned.astype(np.int32) if turned.dtype.kind == "i" else turned)
    upright.info = image.info
    upright.getexif().update({_ORIENTATION: image.getexif().get(_ORIENTATION, 1)})
    return upright


def _upright(image: Image.Image) -> Image.Image:
    """The image as its orientation tag says that it is to be seen; one that cannot be read counts as absent."""
    # A broken block of metadata says nothing of the pixels. In place, they are turned before the tag is taken off.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def is_deep(image: Image.Image) -> bool:
    """Whether a decoded image holds grey values of more than 8 bits, or floating ones."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def read_image(path: Path | str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read and decode one image file; see `decode` for what it refuses."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"image cannot be read: {error.strerror}", str(path), "check the path") from None
    return decode(data, str(path), max_pixels)


def copy_original(data: bytes, folder: Path, name: str) -> str:
    """Keep an image file's bytes as they came; gives its path below `folder`, `images/<name>.<what the bytes are>`.

    A file that holds these bytes already is left alone. A `UserError` when the bytes are no image that can be decoded
    whole, or `name` leaves the folder.
    """
    decode(data)
    path = f"images/{name}{SUFFIXES[sniff_format(data) or 'png']}"
    target = inside(folder, path)
    if not target.is_file() or target.read_bytes() != data:
        write_bytes(target, data, durable=False)
    return path


def to_gray(image: Image.Image) -> Gray:
    """Luminance as uint8 `(height, width)`, what is transparent on black.

    16-bit and floating images are stretched from their own range; a `UserError` when a value is not finite.
    """
    if is_deep(image):
        values = np.asarray(image, dtype=np.float32)
        if not np.isfinite(values).all():
            raise UserError("image with values that are not finite", do="replace or remove the file")
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255.0 / max(high - low, 1e-6))).astype(np.uint8)
    if image.mode in ("RGBA", "LA", "PA", "P", "LAB") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    return np.asarray(image.convert("L"), dtype=np.uint8).copy()


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Colours as uint8 `(height, width, 3)`, what is transparent on white.

    Of more than 8 bits a channel it is a `UserError`: no stretch keeps the grey levels of another image.
    """
    if is_deep(image):
        raise UserError(f"more than 8 bits per channel (mode {image.mode})", do="save it as PNG with 8 bits")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"), dtype=np.uint8)


def check_film(image: Gray, where: str = "") -> Gray:
    """The picture, unless it can hold no film: a side under `MIN_SIDE` pixels, or one value nearly everywhere."""
    if min(image.shape) < MIN_SIDE:
        raise UserError(f"not a film: {image.shape[1]} x {image.shape[0]} pixels", where, "replace or remove the file")
    low, high = np.percentile(image, (1, 99))
    if high - low < 2:
        raise UserError("not a film: blank", where, "replace or remove the file")
    return image


def read_gray(path: Path | str, max_pixels: int = MAX_PIXELS) -> Gray:
    """Read one image file as uint8 luminance `(height, width)`."""
    return to_gray(read_image(path, max_pixels))


def resize_gray(image: Gray, size: int) -> Gray:
    """Resize to `(size, size)` uint8: area averaging when shrinking, cubic when growing; aspect ratio is not kept."""
    height, width = image.shape
    shrinking = height >= size and width >= size
    return np.asarray(
        cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC), dtype=np.uint8
    )


def write_png(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write a uint8 array, `(h, w)` gray or `(h, w, 3)` RGB, as PNG: atomically, not flushed."""
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    # Level 1: a run writes thousands of films, and level 9 costs ten times the time for a few percent of the size.
    done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise UserError("image cannot be encoded as PNG", str(path), "check shape and dtype")
    write_bytes(path, encoded.tobytes(), durable=False)
