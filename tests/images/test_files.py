"""Image files: formats told by their bytes, nothing half-decoded, sizes bounded."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.images import files

RNG = np.random.default_rng(0)


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


PIXELS = RNG.integers(0, 256, (40, 30), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp"), ("TIFF", "tiff")],
)
def test_format_is_told_by_the_bytes_whatever_the_name_says(tmp_path: Path, kind: str, name: str) -> None:
    data = encoded(PIXELS, kind)
    assert files.sniff_format(data) == name
    (tmp_path / "wrong.png").write_bytes(data)
    assert files.read_gray(tmp_path / "wrong.png").shape == (40, 30)


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF0000WAVE"])
def test_what_is_no_image_is_a_user_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.png"):
        files.read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_an_image_that_is_cut_short_is_refused_and_never_half_decoded(kind: str) -> None:
    data = encoded(RNG.integers(0, 256, (200, 200), dtype=np.uint8), kind)
    with pytest.raises(UserError):
        files.decode(data[: len(data) // 2], "x")


def test_a_png_whose_pixels_were_damaged_is_refused() -> None:
    data = bytearray(encoded(RNG.integers(0, 256, (200, 200), dtype=np.uint8), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UserError):
        files.decode(bytes(data), "x")


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match=r"60000 x 60000|exceeds limit"):
        files.decode(bomb, "x")


def test_a_missing_file_is_a_user_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png"):
        files.read_gray(tmp_path / "none.png")
    with pytest.raises(UserError):
        files.read_gray(tmp_path)


def test_gray_of_rgb_is_pillows_luminance() -> None:
    rgb = RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    assert np.array_equal(files.to_gray(image), np.asarray(image.convert("L")))
    expected = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(files.to_gray(image) - expected).max() <= 1


def test_transparency_lies_on_black() -> None:
    rgba = np.zeros((4, 4, 4), dtype=np.uint8)
    rgba[..., :3] = 255
    rgba[:2, :, 3] = 255
    gray = files.to_gray(Image.fromarray(rgba))
    assert gray[:2].min() == 255 and gray[2:].max() == 0


def test_sixteen_bits_keep_their_order_and_use_the_whole_range() -> None:
    values = np.linspace(1000, 5000, 100).astype(np.uint16).reshape(10, 10)
    gray = files.to_gray(Image.fromarray(values))
    assert gray.dtype == np.uint8 and gray.min() == 0 and gray.max() >= 254
    assert (np.diff(gray.reshape(-1).astype(int)) >= 0).all()


@pytest.mark.parametrize("constant", [0, 77, 255])
def test_resizing_keeps_a_constant_image(constant: int) -> None:
    image = np.full((50, 70), constant, dtype=np.uint8)
    for size in (16, 64, 128):
        assert np.array_equal(files.resize_gray(image, size), np.full((size, size), constant))


def test_shrinking_by_a_whole_factor_is_the_mean_of_the_block() -> None:
    image = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    blocks = image.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    assert np.abs(files.resize_gray(image, 16) - blocks).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 3)])
def test_png_goes_there_and_back_unchanged(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    files.write_png(tmp_path / "a.png", pixels)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_copy_is_named_by_its_bytes_and_written_once(tmp_path: Path) -> None:
    data = encoded(PIXELS, "JPEG")
    assert files.copy_original(data, tmp_path, "film.png") == "images/film.png.jpg"
    kept = tmp_path / "images/film.png.jpg"
    written = kept.stat().st_mtime_ns
    files.copy_original(data, tmp_path, "film.png")
    assert kept.read_bytes() == data and kept.stat().st_mtime_ns == written
    for bad in (data[: len(data) // 2], b"no image"):
        with pytest.raises(UserError):
            files.copy_original(bad, tmp_path, "other")
    with pytest.raises(UserError, match="leaves its folder"):
        files.copy_original(data, tmp_path, "../../film")
