"""DICOM decoding against pydicom's own steps, closed forms and hand-made broken files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
from films import rsna_fixture as fixture
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from nbhelpers.errors import UserError
from nbhelpers.images import dicom

RAMP = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
DEEP = np.tile(np.arange(4096, dtype=np.uint16), (16, 1))


def written(tmp_path: Path, film: Dataset, name: str = "film.dcm") -> Path:
    fixture.save(film, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize(
    ("text", "years"),
    [
        *(("058Y", 58.0), ("58", 58.0), (" 58Y ", 58.0), ("018M", 1.5), ("365D", 365 / 365.25), ("052W", 364 / 365.25)),
        *(("120", 120.0), ("000Y", 0.0)),
        *(("148", math.nan), ("412Y", math.nan), ("", math.nan), ("n/a", math.nan), ("-5", math.nan)),
    ],
)
def test_age_is_read_in_all_its_forms_and_what_cannot_be_is_unknown(text: str, years: float) -> None:
    assert dicom.parse_age(text) == pytest.approx(years, nan_ok=True)


def test_jpeg_baseline_pixels_equal_pydicoms(tmp_path: Path) -> None:
    image = fixture.draw_film([[200, 300, 150, 200]], 512, np.random.default_rng(0))
    path = written(tmp_path, fixture.dataset("a", image))
    film = dicom.read_film(path)
    assert film.dtype == np.uint8 and film.shape == (512, 512)
    np.testing.assert_array_equal(film, pydicom.dcmread(path).pixel_array)


def test_monochrome1_gives_the_film_that_monochrome2_gives(tmp_path: Path) -> None:
    negative = fixture.dataset("a", np.asarray(255 - RAMP), compressed=False)
    negative.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_array_equal(dicom.read_film(written(tmp_path, negative)), RAMP)


def test_deep_film_without_window_is_stretched_from_its_own_range_without_padding(tmp_path: Path) -> None:
    pixels = DEEP.copy() // 4 + 100  # 100 to 1123
    pixels[0, 0] = 4000
    film = fixture.dataset("a", pixels, compressed=False)
    film.BitsStored, film.HighBit, film.PixelPaddingValue = 12, 11, 4000
    values = dicom.read_film(written(tmp_path, film))
    np.testing.assert_allclose(values[1], np.rint((pixels[1] - 100.0) * 255 / 1023), atol=1)
    assert values[0, 0] == 255


def test_linear_window_follows_the_standards_formula(tmp_path: Path) -> None:
    centre, width = 2048.0, 1024.0
    film = fixture.dataset("a", DEEP, compressed=False)
    film.BitsStored, film.HighBit, film.WindowCenter, film.WindowWidth = 12, 11, [centre, 10], [width, 10]
    # PS3.3 C.11.2.1.2.1, over an output of 0 to 255.
    expected = np.clip(((DEEP[0] - (centre - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
    np.testing.assert_allclose(dicom.read_film(written(tmp_path, film))[0], expected, atol=0.51)


def test_rescale_moves_the_values_that_the_window_sees(tmp_path: Path) -> None:
    film = fixture.dataset("a", DEEP, compressed=False)
    film.BitsStored, film.HighBit = 12, 11
    film.RescaleSlope, film.RescaleIntercept, film.WindowCenter, film.WindowWidth = 2, -1000, 1000, 2000
    expected = np.clip(((DEEP[0] * 2.0 - 1000 - 999.5) / 1999 + 0.5) * 255, 0, 255)
    np.testing.assert_allclose(dicom.read_film(written(tmp_path, film))[0], expected, atol=0.51)


def test_voi_lut_is_looked_up(tmp_path: Path) -> None:
    film = fixture.dataset("a", RAMP, compressed=False)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 16])
    table = (np.arange(256, dtype=np.uint32) ** 2 * 65535 // 255**2).astype(np.uint16)
    item.add_new("LUTData", "US", table.tolist())
    film.VOILUTSequence = Sequence([item])
    np.testing.assert_allclose(dicom.read_film(written(tmp_path, film))[0], table / 257, atol=0.51)


def test_modality_lut_is_looked_up_before_the_own_range(tmp_path: Path) -> None:
    film = fixture.dataset("a", RAMP, compressed=False)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 16])
    item.ModalityLUTType = "US"
    item.add_new("LUTData", "US", list(range(10_000, 10_000 + 256 * 3, 3)))
    film.ModalityLUTSequence = Sequence([item])
    np.testing.assert_allclose(dicom.read_film(written(tmp_path, film))[0], np.arange(256), atol=1)


def test_signed_pixels_are_stretched_too(tmp_path: Path) -> None:
    film = fixture.dataset("a", (DEEP.astype(np.int16) - 2048).view(np.uint16), compressed=False)
    film.PixelRepresentation = 1
    np.testing.assert_allclose(dicom.read_film(written(tmp_path, film))[0], np.arange(4096) / 4095 * 255, atol=0.51)


def test_header_fields_are_read_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    film = fixture.dataset("a", RAMP)
    fixture.set_header(film, "AP", "F", "58", 0.14300000000000002)
    recwarn.clear()
    path = written(tmp_path, film)
    recwarn.clear()
    header = dicom.read_header(path)
    assert not recwarn.list
    assert (header.view, header.sex, header.age, header.age_text) == ("AP", "female", 58.0, "58")
    assert header.pixel_spacing == pytest.approx(0.143)
    assert (header.rows, header.columns, header.photometric, header.bits) == (64, 256, "MONOCHROME2", 8)


def test_absent_header_fields_are_unknown(tmp_path: Path) -> None:
    header = dicom.read_header(written(tmp_path, fixture.dataset("a", RAMP)))
    assert header.view is None and header.sex is None and math.isnan(header.age) and math.isnan(header.pixel_spacing)


def _cut(film: Dataset, path: Path) -> None:
    fixture.save(film, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_film_cut_short_is_refused_and_never_half_read(tmp_path: Path, compressed: bool) -> None:
    image = fixture.draw_film([], 256, np.random.default_rng(0))
    _cut(fixture.dataset("a", image, compressed=compressed), tmp_path / "cut.dcm")
    with pytest.raises(UserError, match=r"cut\.dcm"):
        dicom.read_film(tmp_path / "cut.dcm")


def test_jpeg_cut_short_inside_a_whole_file_is_refused(tmp_path: Path) -> None:
    image = fixture.draw_film([], 256, np.random.default_rng(0))
    film = fixture.dataset("a", image)
    stream = fixture.jpeg(image)
    film.PixelData = encapsulate([stream[: len(stream) // 2]])
    with pytest.raises(UserError, match="cannot be decoded"):
        dicom.read_film(written(tmp_path, film))


def test_what_is_no_film_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no film")
    (tmp_path / "empty.dcm").write_bytes(b"")
    for name in ("text.dcm", "empty.dcm"):
        with pytest.raises(UserError, match="not a DICOM file"):
            dicom.read_film(tmp_path / name)
        assert not dicom.is_dicom(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read"):
        dicom.read_header(tmp_path / "absent.dcm")
    assert not dicom.is_dicom(tmp_path / "absent.dcm")
    assert dicom.is_dicom(written(tmp_path, fixture.dataset("a", RAMP)))


def test_size_is_bounded_by_the_header_before_decoding(tmp_path: Path) -> None:
    path = written(tmp_path, fixture.dataset("a", RAMP))
    with pytest.raises(UserError, match="over 1000 pixels"):
        dicom.read_film(path, max_pixels=1000)


def test_jpeg_of_another_size_than_the_header_says_is_refused(tmp_path: Path) -> None:
    film = fixture.dataset("a", RAMP)
    film.Rows = film.Columns = 16  # a small claim over a large image: what a decompression bomb does
    with pytest.raises(UserError, match="JPEG image is 256 x 64"):
        dicom.read_film(written(tmp_path, film))


def test_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    frames = fixture.dataset("a", RAMP, compressed=False)
    frames.NumberOfFrames = 2
    palette = fixture.dataset("a", RAMP, compressed=False)
    palette.PhotometricInterpretation = "PALETTE COLOR"
    headless = fixture.dataset("a", RAMP, compressed=False)
    del headless.PixelData
    for film, message in ((frames, "2 frames"), (palette, "PALETTE COLOR"), (headless, "without pixels")):
        with pytest.raises(UserError, match=message):
            dicom.read_film(written(tmp_path, film))


def test_colour_film_becomes_luminance(tmp_path: Path) -> None:
    film = fixture.dataset("a", RAMP, compressed=False)
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PlanarConfiguration = 3, "RGB", 0
    film.PixelData = np.repeat(RAMP[:, :, None], 3, axis=2).tobytes()
    np.testing.assert_array_equal(dicom.read_film(written(tmp_path, film)), RAMP)


@pytest.mark.filterwarnings("ignore")
def test_any_cut_or_flipped_byte_gives_a_film_or_a_clear_error(tmp_path: Path) -> None:
    image = fixture.draw_film([], 64, np.random.default_rng(0))
    film = fixture.dataset("a", image)
    fixture.set_header(film, "AP", "F", "58", 0.143)
    whole = written(tmp_path, film).read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "odd.dcm"
    for trial in range(300):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(0, len(data))]
        else:
            for position in rng.integers(0, len(data), 1 + trial % 5):
                data[position] = rng.integers(0, 256)
        path.write_bytes(data)
        for read in (dicom.read_film, dicom.read_header):
            try:
                read(path)
            except UserError as error:
                assert str(path) in str(error)


EMPTY = {
    "RescaleSlope": [None, 0, "nan"],
    "RescaleIntercept": [None],
    "WindowWidth": [None, 0, -3],
    "WindowCenter": [None],
    "VOILUTSequence": [None, Sequence([Dataset()])],
    "ModalityLUTSequence": [None, Sequence([Dataset()])],
    "VOILUTFunction": [None],
    "PixelPaddingValue": [None],
    "NumberOfFrames": [None],
    "PixelRepresentation": [None],
    "BitsStored": [None],
    "HighBit": [None],
    "SamplesPerPixel": [None],
    "PixelSpacing": [None],
    "PatientAge": [None],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("keyword", "value"), [(name, value) for name, values in EMPTY.items() for value in values])
@pytest.mark.parametrize("deep", [False, True])
def test_an_empty_or_meaningless_element_counts_as_absent(
    tmp_path: Path, keyword: str, value: object, deep: bool
) -> None:
    def film() -> Dataset:
        made = fixture.dataset("a", DEEP if deep else RAMP, compressed=False)
        if deep:
            made.BitsStored, made.HighBit = 16, 15
        return made

    without, emptied = film(), film()
    if keyword in ("WindowWidth", "WindowCenter"):
        emptied.WindowCenter, emptied.WindowWidth = 128, 64
    if keyword == "RescaleIntercept":
        without.RescaleSlope = emptied.RescaleSlope = 2
    setattr(emptied, keyword, value)
    expected = dicom.read_film(written(tmp_path, without, "without.dcm"))
    np.testing.assert_array_equal(dicom.read_film(written(tmp_path, emptied, "emptied.dcm")), expected)


def test_a_compression_without_a_decoder_is_named_and_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = fixture.dataset("a", RAMP, compressed=False)
    film.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(100)])
    film["PixelData"].VR = "OB"
    film.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000
    monkeypatch.setattr(type(pydicom.pixels.get_decoder(pydicom.uid.JPEG2000)), "is_available", False)
    with pytest.raises(UserError, match=r"JPEG 2000.* has no decoder here.*pylibjpeg"):
        dicom.read_film(written(tmp_path, film))
