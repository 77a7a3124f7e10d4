"""Real films: run only where `NBHELPERS_DATA` names a folder that holds them."""

import os
from pathlib import Path

import numpy as np
import pytest

from nbhelpers import metrics
from nbhelpers.errors import UserError
from nbhelpers.films import cache, registry
from nbhelpers.films.kermany import find
from nbhelpers.runs.stage import data_root
from nbhelpers.validation import baselines


def kermany_is_there():
    try:
        return bool(os.environ.get("NBHELPERS_DATA")) and find(data_root()) is not None
    except UserError:
        return False


pytestmark = pytest.mark.skipif(
    not kermany_is_there(), reason="NBHELPERS_DATA is not set, or holds no kermany/, chest_xray/ or kermany224/"
)


@pytest.fixture(scope="module")
def kermany():
    return registry.load("kermany", {}, Path("unused"))


@pytest.fixture(scope="module")
def films(kermany, tmp_path_factory):
    return cache.film_array(kermany, baselines.SIZE, tmp_path_factory.mktemp("cache"))


def test_kermany_counts_are_the_published_ones_with_or_without_the_val_folder(kermany):
    complete = kermany.films["split"].eq("val").any()
    normal, pneumonia = (int((kermany.films["label"] == label).sum()) for label in (0, 1))
    assert (normal, pneumonia) == ((1583, 4273) if complete else (1575, 4265))


def test_every_kermany_film_tells_its_patient_and_no_patient_is_in_two_splits(kermany):
    assert kermany.films["patient_id"].notna().all()
    splits = kermany.films.groupby("patient_id")["split"]
    assert (splits.min() == splits.max()).all()
    # The two numberings overlap, and one number alone would mix splits: why kind and number make the patient.
    pneumonia = kermany.films[kermany.films["label"] == 1]
    number = pneumonia["patient_id"].str.split("-").str[-1]
    splits = pneumonia.groupby(number)["split"]
    assert (splits.min() != splits.max()).any()


def test_every_kermany_film_can_be_read(kermany, films):
    array, kept = films
    assert len(array) == len(kept) == len(kermany.films) and kermany.excluded.empty


copy_only = pytest.mark.skipif(
    kermany_is_there() and (find(data_root()) / "val").is_dir(),
    reason="the figure is that of the 224 x 224 copy, which has no val/",
)


@copy_only
def test_one_gradient_statistic_separates_kermany_with_auroc_0_937(films):
    array, kept = films
    gradient = baselines.image_statistics(array)["gradient"]
    assert round(metrics.auroc(kept["label"], -gradient), 3) == 0.937


@copy_only
def test_file_size_separates_kermany_with_auroc_0_891(kermany, films):
    sizes = baselines.file_sizes([kermany.root / path for path in films[1]["path"]])
    assert round(metrics.auroc(films[1]["label"], -sizes), 3) == 0.891


@copy_only
def test_a_thumbnail_separates_kermany_under_grouped_cross_validation(films):
    array, kept = films
    groups = kept["patient_id"].astype("category").cat.codes.to_numpy().astype(np.int64)
    scores = baselines.out_of_fold(baselines.thumbnails(array), kept["label"].to_numpy(), groups)
    assert metrics.auroc(kept["label"], scores) == pytest.approx(0.981, abs=0.005)
