"""Image files: formats told by their bytes, nothing half-decoded, sizes bounded."""

from __future__ import annotations

import contextlib
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "CMYK", "LAB"])
def test_colours_are_those_that_are_seen_whatever_the_mode(mode: str) -> None:
    image = Image.fromarray(np.full((8, 8, 3), 102, np.uint8)).convert(mode)
    assert np.abs(files.to_rgb(image).astype(int) - 102).max() <= 1
    assert np.abs(files.to_gray(image).astype(int) - 102).max() <= 1


def test_colours_lie_on_white_where_they_are_transparent_and_are_never_stretched() -> None:
    assert files.to_rgb(Image.new("RGBA", (4, 4), (9, 9, 9, 0))).min() == 255
    for deep in (np.full((4, 4), 40_000, np.uint16), np.full((4, 4), 0.5, np.float32)):
        with pytest.raises(UserError, match="8 bits"):
            files.to_rgb(Image.fromarray(deep))


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


def oriented(path: Path, orientation: int, suffix: str) -> Path:
    """A picture with a bright left upper corner, stored so that its orientation tag brings that corner about."""
    upright = np.zeros((40, 60), np.uint8)
    upright[:10, :15] = 200
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[274] = orientation
    image.save(path.with_suffix(suffix), exif=exif, **({"quality": 95} if suffix == ".jpg" else {}))
    return path.with_suffix(suffix)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_read_as_its_orientation_tag_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    film = files.read_gray(oriented(tmp_path / "a", orientation, suffix))
    assert film.shape == (40, 60)
    assert film[:8, :13].min() > 150 and film[14:].max() < 50 and film[:, 20:].max() < 50


@pytest.mark.parametrize("deep", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_tiff_whose_white_is_zero_is_no_negative(tmp_path: Path, deep: type, orientation: int) -> None:
    import tifffile

    ramp = np.tile(np.arange(200), (50, 1)).astype(deep)
    stored = np.iinfo(np.uint8).max - ramp if deep is np.uint8 else 200 - ramp
    stored = np.rot90(stored) if orientation == 6 else stored
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", extratags=[(274, "H", 1, orientation, True)])
    film = files.read_gray(tmp_path / "a.tif").astype(int)
    assert film.shape == (50, 200) and (np.diff(film[0]) >= 0).all() and film[0, -1] > film[0, 0] + 100


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [(258, "H", 0), (259, "H", 99), (273, "I", 2**31), (277, "H", 7), (339, "H", 9), (322, "d", float("nan"))],
)
def test_a_broken_tag_is_a_clear_error_or_changes_nothing(tmp_path: Path, tag: int, kind: str, value: float) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="minisblack")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    start = int.from_bytes(data[4:8], "little")
    entries = [start + 2 + 12 * n for n in range(int.from_bytes(data[start : start + 2], "little"))]
    entry = next((e for e in entries if int.from_bytes(data[e : e + 2], "little") == tag), entries[-1])
    code = {"H": 3, "I": 4, "d": 12}[kind]
    packed = struct.pack("<" + kind, value)[:4].ljust(4, b"\0")
    data[entry : entry + 12] = struct.pack("<HHI", tag, code, 1) + packed
    try:
        assert files.to_gray(files.decode(bytes(data), "a.tif")).size
    except UserError as error:
        assert "a.tif" in str(error)


def test_several_images_in_one_file_are_no_film(tmp_path: Path) -> None:
    pages = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    for suffix in (".tif", ".gif", ".webp"):
        pages[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pages[1:])
        with pytest.raises(UserError, match="2 images in one file"):
            files.read_image(tmp_path / f"a{suffix}")


def test_values_that_are_not_finite_are_refused() -> None:
    values = np.ones((40, 40), np.float32)
    values[3, 3] = np.nan
    with pytest.raises(UserError, match="not finite"):
        files.to_gray(Image.fromarray(values))


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64)), np.full((64, 64), 7), np.ones((1, 1)), np.eye(2, 4000) * 9, np.eye(31, 64) * 200]
)
def test_a_picture_that_can_hold_no_film_is_refused(image: np.ndarray) -> None:
    with pytest.raises(UserError, match="not a film"):
        files.check_film(image.astype(np.uint8))


def test_what_is_transparent_is_black_in_every_mode() -> None:
    clear = Image.new("LA", (40, 40), (200, 0))
    assert files.to_gray(clear).max() == 0
    paletted = Image.fromarray(PIXELS).convert("P")
    paletted.info["transparency"] = 0
    assert files.to_gray(paletted).shape == PIXELS.shape


@pytest.mark.filterwarnings("ignore")
def test_whatever_is_mutated_gives_a_picture_or_a_clear_error(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", PIXELS.astype(np.uint16) * 200, compression="zlib")
    samples = [encoded(PIXELS, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]
    samples += [(tmp_path / "a.tif").read_bytes(), oriented(tmp_path / "b", 6, ".jpg").read_bytes()]
    for number in range(1600):
        data = bytearray(samples[number % len(samples)])
        for place in RNG.integers(0, min(len(data), 400 if number % 2 else len(data)), 1 + number % 5):
            data[place] = RNG.integers(256)
        with contextlib.suppress(UserError):
            files.to_gray(files.decode(bytes(data), "a"))
