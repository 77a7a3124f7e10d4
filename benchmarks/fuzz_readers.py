"""Mutated files through every reader of pictures, films and tables: each gives a result or a `UserError`.

`python benchmarks/fuzz_readers.py --files 100000` prints how many of each were read and refused, and stops at the first
that raises anything else. Seeds are fixed, so that a number of a file names it for ever.
"""

from __future__ import annotations

import argparse
import collections
import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from nbhelpers.errors import UserError
from nbhelpers.images import dicom, files
from nbhelpers.runs.cells import read_cells

Reader = Callable[[Path], object]


def pictures(rng: np.random.Generator) -> list[bytes]:
    """One small picture in every format and depth that is read."""
    pixels = rng.integers(0, 256, (40, 36), dtype=np.uint8)
    found = []
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        for mode in ("L", "RGB"):
            buffer = io.BytesIO()
            image = Image.fromarray(pixels).convert(mode)
            exif = image.getexif()
            exif[274] = 6
            image.save(buffer, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}))
            found.append(buffer.getvalue())
    for options in ({"photometric": "miniswhite"}, {"compression": "zlib"}, {}):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels.astype(np.uint16) * 200, **options)
        found.append(buffer.getvalue())
    return found


def films(rng: np.random.Generator) -> list[bytes]:
    """DICOM files of 8 and 16 bits, with and without rescaling, window and padding."""
    found = []
    for bits in (8, 16):
        for displayed in (False, True):
            film = pydicom.Dataset()
            film.file_meta = FileMetaDataset()
            film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
            film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = generate_uid(entropy_srcs=[str(bits)])
            film.Rows, film.Columns, film.SamplesPerPixel = 40, 36, 1
            film.PhotometricInterpretation, film.PixelRepresentation = "MONOCHROME2", 0
            film.BitsAllocated, film.BitsStored, film.HighBit = bits, bits, bits - 1
            film.ViewPosition, film.PatientSex, film.PatientAge, film.PixelSpacing = "PA", "F", "058Y", [0.1, 0.1]
            if displayed:
                film.RescaleSlope, film.RescaleIntercept, film.WindowCenter, film.WindowWidth = 2, -100, 128, 200
                film.PixelPaddingValue = 0
            film.PixelData = rng.integers(0, 2**bits, (40, 36)).astype(f"u{bits // 8}").tobytes()
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, film, enforce_file_format=True)
            found.append(buffer.getvalue())
    return found


def tables() -> list[bytes]:
    """The same small table as several programs write it."""
    text = "path,label,age,sex\na.png,0,045Y,F\nsub/b.png,1,30,M\n"
    return [text.encode(), text.replace(",", ";").encode("utf-16"), b"\xef\xbb\xbf# of us\n" + text.encode("cp1252")]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, a piece cut out, doubled or appended; half of the changes within the first 400 bytes."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        place = int(rng.integers(0, min(len(changed), 400) if rng.random() < 0.5 else len(changed)))
        kind = rng.random()
        if kind < 0.8:
            changed[place] = int(rng.choice([0, 1, 255, 127, rng.integers(256)]))
        elif kind < 0.9:
            del changed[place : place + int(rng.integers(1, 50))]
        else:
            changed[place:place] = changed[place : place + int(rng.integers(1, 50))]
        if not changed:
            return b""
    return bytes(changed)


def main() -> int:
    """Run the fuzz; the exit code is 1 when something escaped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    count = parser.parse_args().files
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    kinds: list[tuple[str, Reader, list[bytes]]] = [
        ("picture", files.read_gray, pictures(rng)),
        ("film", dicom.read_film, films(rng)),
        ("header", dicom.read_header, films(rng)),
        ("table", lambda path: read_cells(path, ["path", "label"]), tables()),
    ]
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated"
        for number in range(count):
            kind, read, samples = kinds[number % len(kinds)]
            own = np.random.default_rng(number)
            path.write_bytes(mutated(samples[int(own.integers(len(samples)))], own))
            try:
                read(path)
                counts[kind, "read"] += 1
            except UserError:
                counts[kind, "refused"] += 1
            except Exception as error:
                print(f"file {number} ({kind}): {type(error).__name__}: {error}", file=sys.stderr)
                return 1
    for (kind, fate), n in sorted(counts.items()):
        print(f"{kind:8} {fate:8} {n:7,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
