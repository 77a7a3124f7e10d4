"""Writes an RSNA-shaped data set: the Kaggle layout with invented films, for tests and benchmarks.

Nothing is copied from the real data. Rates that shape it are published counts: the class sizes (8,851 / 6,012 /
11,821), the number of boxes on a positive film (2,614 / 3,266 / 119 / 13 films with 1 to 4), and how often a film is
AP in each class (0.776 of the positives, 0.185 of the normal, half of the rest). The films are simulated.
"""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage, generate_uid

CLASSES = ("Normal", "Lung Opacity", "No Lung Opacity / Not Normal")
CLASS_RATES = np.array([8851, 6012, 11821]) / 26684
AP_RATES = {"Normal": 0.185, "Lung Opacity": 0.776, "No Lung Opacity / Not Normal": 0.498}
BOX_RATES = np.array([2614, 3266, 119, 13]) / 6012


@dataclass(frozen=True)
class Fixture:
    """Where the data set lies, what is true of each film, and the odd ones by name."""

    root: Path
    films: pd.DataFrame  # patientId, class, target, boxes, view, sex, age, nih_file, pixel_spacing
    mapping: Path
    broken: str  # not DICOM at all
    cut: str  # header whole, compressed pixels cut short
    missing: str
    monochrome1: str
    sixteen_bit: str
    implausible_age: str


def draw_film(boxes: list[list[float]], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A simulated film `(size, size)`: bright body, two dark lungs, a cloud in each box, grain."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    film = 190 * np.exp(-(((x - 0.5) / 0.42) ** 6)) + 20
    for centre in (0.3, 0.7):
        lung = ((x - centre) / 0.14) ** 2 + ((y - 0.47) / 0.3) ** 2
        film -= 110 / (1 + np.exp(np.minimum(12 * (lung - 1), 50)))
    for left, top, width, height in np.asarray(boxes, dtype=np.float32).reshape(-1, 4) / 1024:
        cloud = ((x - left - width / 2) / (width / 2)) ** 2 + ((y - top - height / 2) / (height / 2)) ** 2
        film += 80 * np.exp(-1.5 * cloud)
    grain = cv2.GaussianBlur(rng.normal(0, 10, (size, size)).astype(np.float32), (0, 0), 1.0)
    return np.clip(film + grain, 0, 255).astype(np.uint8)


def jpeg(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    """Baseline JPEG bytes of a gray image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def dataset(image_id: str, pixels: NDArray[np.uint8] | NDArray[np.uint16], compressed: bool = True) -> Dataset:
    """A DICOM data set as those of the challenge: secondary capture, 8-bit JPEG baseline, or uncompressed."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = JPEGBaseline8Bit if compressed else ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[image_id])
    film = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    film.SOPClassUID, film.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    film.Modality, film.ConversionType, film.BodyPartExamined = "CR", "WSD", "CHEST"
    film.PatientID = film.PatientName = image_id
    bits = 8 * pixels.dtype.itemsize
    film.Rows, film.Columns = pixels.shape
    film.SamplesPerPixel, film.PixelRepresentation, film.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    film.BitsAllocated, film.BitsStored, film.HighBit = bits, bits, bits - 1
    film.PixelData = encapsulate([jpeg(pixels)]) if compressed else pixels.tobytes()
    if compressed:
        film.LossyImageCompression, film.LossyImageCompressionMethod = "01", "ISO_10918_1"
    return film


def set_header(film: Dataset, view: str, sex: str, age: str, spacing: float) -> None:
    """Write the fields that an evaluation reads, in the form that the challenge has them (ages as `58`)."""
    film.ViewPosition, film.PatientSex = view, sex
    film.add_new("PixelSpacing", "DS", [str(spacing), str(spacing)])
    element = film.data_element("PixelSpacing")
    assert element is not None
    # pydicom checks the form of an age when it is set; the challenge's ages do not have it.
    from pydicom import config
    from pydicom.dataelem import DataElement

    film.add(DataElement("PatientAge", "AS", age, validation_mode=config.IGNORE))


def save(film: Dataset, path: Path) -> None:
    """Write a film as a DICOM file."""
    from pydicom import config

    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        film.save_as(path, enforce_file_format=True)
    finally:
        config.settings.writing_validation_mode = before


def draw_table(n_films: int, rng: np.random.Generator) -> pd.DataFrame:
    """What is true of each film; patients have a few films each, and keep their sex."""
    kinds = rng.choice(3, n_films, p=CLASS_RATES)
    kinds[:7] = [0, 1, 0, 1, 0, 1, 2][: len(kinds)]  # every class is there, and the odd films are in both cohorts
    patients = np.sort(rng.integers(0, max(1, int(n_films * 0.6)), n_films))
    sexes = rng.choice(["M", "F"], patients.max() + 1, p=[0.57, 0.43])
    rows = []
    for index, (kind, patient) in enumerate(zip(kinds, patients, strict=True)):
        name = CLASSES[kind]
        view = "AP" if rng.random() < AP_RATES[name] else "PA"
        n_boxes = int(rng.choice(4, p=BOX_RATES)) + 1 if name == "Lung Opacity" else 0
        boxes = []
        for box in range(n_boxes):
            width, height = rng.integers(100, 280), rng.integers(120, 420)
            left = rng.integers(130, 260) if box % 2 == 0 else rng.integers(560, 680)
            boxes.append([float(left), float(rng.integers(250, 500)), float(width), float(height)])
        rows.append(
            {
                "patientId": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                "class": name,
                "target": int(name == "Lung Opacity"),
                "boxes": boxes,
                "view": view,
                "sex": sexes[patient],
                "age": int(np.clip(rng.normal(47, 17), 2, 92)),
                "nih_file": f"{patient + 1:08d}_{index:03d}.png",
                "pixel_spacing": float(rng.choice([0.139, 0.168] if view == "AP" else [0.143, 0.171, 0.194])),
            }
        )
    return pd.DataFrame(rows)


def write(folder: Path, n_films: int = 36, seed: int = 0, size: int = 1024, odd: bool = True) -> Fixture:
    """Write the data set to `folder/rsna` and the patients' cross-reference to `folder/mapping.json`.

    With `odd`, six films are special: one is no DICOM file, one is cut short, one is missing, one is MONOCHROME1, one
    has 16 bits, and one patient is 151 years old.
    """
    rng = np.random.default_rng(seed)
    films = draw_table(n_films, rng)
    root = folder / "rsna"
    special = films["patientId"].tolist()[:6] if odd else [""] * 6
    broken, cut, missing, monochrome1, sixteen_bit, implausible_age = special
    for row in films.to_dict("records"):
        image_id = row["patientId"]
        path = root / "stage_2_train_images" / f"{image_id}.dcm"
        if image_id == missing:
            continue
        if image_id == broken:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"this is no film")
            continue
        pixels = draw_film(row["boxes"], size, rng)
        if image_id == sixteen_bit:
            film = dataset(image_id, pixels.astype(np.uint16) * 16, compressed=False)
            film.BitsStored, film.HighBit = 12, 11
        elif image_id == monochrome1:
            film = dataset(image_id, np.asarray(255 - pixels, dtype=np.uint8))
            film.PhotometricInterpretation = "MONOCHROME1"
        else:
            film = dataset(image_id, pixels)
        age = "151" if image_id == implausible_age else str(row["age"])
        set_header(film, row["view"], row["sex"], age, row["pixel_spacing"])
        save(film, path)
        if image_id == cut:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    # One row a box in both tables: that is where the real tables' duplicate class rows come from.
    labels = films.explode("boxes", ignore_index=True)
    corners = pd.DataFrame(
        [box if isinstance(box, list) else [np.nan] * 4 for box in labels["boxes"]],
        columns=["x", "y", "width", "height"],
    )
    table = pd.concat([labels[["patientId"]], corners, labels[["target"]].rename(columns={"target": "Target"})], axis=1)
    table.to_csv(root / "stage_2_train_labels.csv", index=False)
    shuffled = labels[["patientId", "class"]].sample(frac=1, random_state=seed)
    shuffled.to_csv(root / "stage_2_detailed_class_info.csv", index=False)
    mapping = folder / "mapping.json"
    entries = [
        {"subset_img_id": row["patientId"], "img_id": row["nih_file"], "orig_labels": [], "subset": "train"}
        for row in films.to_dict("records")
    ]
    mapping.write_text(json.dumps(entries), encoding="utf-8")
    return Fixture(root, films, mapping, broken, cut, missing, monochrome1, sixteen_bit, implausible_age)
