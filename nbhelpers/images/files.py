"""Image files in and out: formats told by their bytes, sizes bounded before anything is decoded."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from nbhelpers.errors import UserError
from nbhelpers.runs.files import inside, write_bytes

MAX_PIXELS = 64_000_000  # a 40 MP detector fits; a decompression bomb does not
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif", "bmp": ".bmp", "tiff": ".tif"}
Gray = NDArray[np.uint8]

_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp"))


def sniff_format(data: bytes) -> str | None:
    """Format by the first bytes: `png`, `jpeg`, `webp`, `gif`, `bmp` or `tiff`; None when it is none of them."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "tiff"
    return next((name for magic, name in _SIGNATURES if data.startswith(magic)), None)


def decode(data: bytes, where: str = "", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file's bytes completely; when they are none, or cut short, a `UserError` that names `where`.

    An image of more than `max_pixels` (width times height, of the header) is refused before it is decoded.
    """
    if sniff_format(data) is None:
        raise UserError("not an image file", where, "PNG, JPEG, WebP, TIFF, BMP and GIF are read")
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > max_pixels:
            raise UserError(f"image of {image.width} x {image.height} is over {max_pixels} pixels", where, "resize it")
        # Another library may have set this; a half-decoded film must never pass as a film.
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        image.load()
    except UserError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"image cannot be decoded: {error}", where, "replace or remove the file") from None
    return image


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
    """Luminance as uint8 `(height, width)`; 16-bit and floating images are stretched from their own range."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.float32)
        low, high = float(values.min()), float(values.max())
        return ((values - low) * (255.0 / max(high - low, 1e-6))).astype(np.uint8)
    if image.mode in ("RGBA", "LA", "PA", "P"):
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    return np.asarray(image.convert("L"), dtype=np.uint8).copy()


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
