"""The RSNA 2018 loader on an RSNA-shaped fixture whose truth is known, and on the real metadata where it is at hand."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from films import rsna_fixture as fixture

from nbhelpers.errors import UserError
from nbhelpers.films import cache, registry
from nbhelpers.films.rsna import (
    CLASSES,
    COHORTS,
    CROSS_REFERENCE,
    HARD_NEGATIVE,
    IMAGES,
    LABELS,
    PUBLISHED,
    compare_counts,
    find_root,
    read_headers,
    read_patients,
    read_tables,
)
from nbhelpers.films.rsna import (
    load as load_rsna,
)
from nbhelpers.images import dicom
from nbhelpers.images.masks import Box
from nbhelpers.validation import published


@pytest.fixture(scope="module")
def rsna(tmp_path_factory: pytest.TempPathFactory) -> fixture.Fixture:
    return fixture.write(tmp_path_factory.mktemp("data"), n_films=36, size=256)


@pytest.fixture
def places(rsna: fixture.Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBHELPERS_DATA", str(rsna.root.parent))
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    return tmp_path / "outputs"


def load(places: Path, **parameters: Any) -> Any:
    return load_rsna(parameters, places / "demo")


def truth(rsna: fixture.Fixture, classes: tuple[str, ...]) -> pd.DataFrame:
    """The fixture's films of some classes that can be read, by name."""
    lost = [rsna.broken, rsna.cut, rsna.missing]
    films = rsna.films[rsna.films["class"].isin(classes)].set_index("patientId")
    return films[~films.index.isin(lost)]


@pytest.mark.parametrize("cohort", ["paper", "full"])
def test_cohort_holds_its_classes_with_their_labels_boxes_and_headers(
    rsna: fixture.Fixture, places: Path, cohort: str
) -> None:
    films = load(places, rsna_cohort=cohort, rsna_patients=str(rsna.mapping)).films.set_index("image_id")
    expected = truth(rsna, COHORTS[cohort])
    readable = films.drop(index=rsna.cut, errors="ignore")  # its header is whole: the decoder finds it
    assert set(readable.index) == set(expected.index)
    expected = expected.loc[readable.index]
    assert readable["label"].tolist() == expected["target"].tolist()
    assert [json.loads(text) for text in readable["boxes"]] == expected["boxes"].tolist()
    assert readable["view"].tolist() == expected["view"].tolist()
    assert readable["sex"].tolist() == ["male" if sex == "M" else "female" for sex in expected["sex"]]
    assert readable["patient_id"].tolist() == [name[:8] for name in expected["nih_file"]]
    ages = expected["age"].where(expected.index != rsna.implausible_age).astype(float)
    np.testing.assert_array_equal(readable["age"], ages)
    np.testing.assert_allclose(readable["pixel_spacing"], expected["pixel_spacing"])
    assert (readable[["width", "height"]] == 256).all(axis=None)


def test_every_listed_film_is_kept_or_excluded_with_a_reason(rsna: fixture.Fixture, places: Path) -> None:
    for cohort, classes in COHORTS.items():
        found = load(places, rsna_cohort=cohort)
        both = pd.concat([found.films["image_id"], found.excluded["image_id"]])
        assert sorted(both) == sorted(rsna.films["patientId"])
        assert found.excluded["reason"].str.len().gt(0).all()
        reasons = found.excluded.set_index("image_id")["reason"]
        outside = rsna.films.loc[~rsna.films["class"].isin(classes), "patientId"]
        assert reasons[outside].str.startswith("not in the cohort").all()
    assert reasons[rsna.missing] == "file missing"
    assert reasons[rsna.broken] == "unreadable: not a DICOM file"


@pytest.mark.filterwarnings("ignore")
def test_odd_films_decode_as_the_others_do(rsna: fixture.Fixture, places: Path) -> None:
    found = load(places, rsna_cohort="full")
    paths = found.films.set_index("image_id")["path"]
    for name in (rsna.monochrome1, rsna.sixteen_bit):
        film = dicom.read_film(found.root / paths[name])
        # The top of a lung, above any box, is darker than the mediastinum, whatever the file's polarity and depth.
        assert film[52:60, 70:80].mean() + 30 < film[52:60, 123:133].mean()
    with pytest.raises(UserError, match=r"truncated|cannot be decoded"):
        dicom.read_film(found.root / paths[rsna.cut])


def test_differences_from_the_published_counts_are_noted(places: Path) -> None:
    notes = " / ".join(load(places).notes)
    listed = read_tables(find_root(Path(os.environ["NBHELPERS_DATA"])))
    for name, published_films in PUBLISHED.items():
        count = int((listed["class"] == name).sum())
        assert f"{name}: {published_films:,} films published, {count} listed, " in notes
    assert "patients are unknown" in notes and "age over 120" in notes


def test_published_counts_are_recognised() -> None:
    names = [name for name, count in PUBLISHED.items() for _ in range(count)]
    listed = pd.DataFrame({"class": names, "reason": ""})
    assert len(listed) == 26_684
    present = pd.Series(True, index=listed.index)
    (note,) = compare_counts(listed, present)
    assert note == "all 26,684 published films are listed and present, in each class"
    (note,) = compare_counts(listed[1:], present)
    assert note == "Normal: 8,851 films published, 8,850 listed, 8,850 found"


def test_tables_of_the_whole_set_beside_a_part_of_its_files_are_not_the_whole_set() -> None:
    names = [name for name, count in PUBLISHED.items() for _ in range(count)]
    listed = pd.DataFrame({"class": names, "reason": ""})
    notes = compare_counts(listed, listed.index.to_series() < 339)
    assert notes[0] == "Normal: 8,851 films published, 8,851 listed, 339 found"
    assert notes[1] == "Lung Opacity: 6,012 films published, 6,012 listed, 0 found"


def test_the_third_class_is_not_called_normal(places: Path) -> None:
    sets = {cohort: load(places, rsna_cohort=cohort) for cohort in COHORTS}
    table = registry.summary(sets).set_index("dataset")
    assert dict(table["negatives"]) == {"paper": "normal", "full": "no lung opacity"}
    assert dict(table["published"]) == {"paper": 14_863, "full": 26_684}


def test_patients_unknown_without_and_known_with_the_cross_reference(rsna: fixture.Fixture, places: Path) -> None:
    assert load(places).films["patient_id"].isna().all()
    found = load(places, rsna_patients=str(rsna.mapping))
    assert found.films["patient_id"].notna().all()
    assert any("patients, 8,462 published" in note for note in found.notes)


def test_both_cohorts_stand_side_by_side_from_the_same_files(rsna: fixture.Fixture, places: Path) -> None:
    sets = registry.load_all(["rsna", "rsna_full"], {"rsna_cohort": "paper"}, places / "demo")
    assert [found.title for found in sets.values()] == ["RSNA 2018", "RSNA 2018 (all classes)"]
    assert {name: found.name for name, found in sets.items()} == {"rsna": "rsna", "rsna_full": "rsna_full"}
    hard = set(rsna.films.loc[rsna.films["class"] == HARD_NEGATIVE, "patientId"])
    paper, full = (set(found.films["image_id"]) for found in sets.values())
    assert hard and not hard & paper and full == paper | hard
    negatives = sets["rsna_full"].films.set_index("image_id").loc[sorted(hard), "label"]
    assert (negatives == 0).all() and sets["rsna"].root == sets["rsna_full"].root
    assert published.reference("rsna", 14_863) and published.reference("rsna_full", 26_684) is None
    # With the third class its name says so; its films are not the paper's, whatever their number.
    assert published.reference("rsna_full", 14_863) is None


def test_cross_reference_in_the_data_sets_folder_is_found(
    rsna: fixture.Fixture, tmp_path: Path, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data" / "rsna"
    shutil.copytree(rsna.root, root)
    monkeypatch.setenv("NBHELPERS_DATA", str(root.parent))
    assert load(places, rsna_patients=None).n_patients is None
    shutil.copy(rsna.mapping, root / CROSS_REFERENCE)
    found = load(places, rsna_patients=None)
    by_hand = load(places, rsna_patients=str(rsna.mapping))
    pd.testing.assert_series_equal(found.films["patient_id"], by_hand.films["patient_id"])
    assert found.n_patients and "patients are unknown" not in " ".join(found.notes)


def test_cross_reference_is_read_from_json_and_from_csv(rsna: fixture.Fixture, tmp_path: Path) -> None:
    patients = read_patients(rsna.mapping)
    rsna.films[["patientId", "nih_file"]].to_csv(tmp_path / "a.csv", index=False)
    renamed = {"patientId": "subset_img_id", "nih_file": "img_id"}
    rsna.films.rename(columns=renamed).to_csv(tmp_path / "b.csv", index=False)
    expected = dict(zip(rsna.films["patientId"], rsna.films["nih_file"].str[:8], strict=True))
    assert patients == expected
    assert read_patients(tmp_path / "a.csv") == expected
    assert read_patients(tmp_path / "b.csv") == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "not readable as JSON"),
        ("a.json", '{"a": 1}', "not a list"),
        ("a.json", '[{"a": 1}]', "lacks its columns"),
        ("a.csv", "patientId,nih_file\nx,photo.png\n", "not an NIH file name"),
        ("a.csv", "", "not readable as CSV"),
    ],
)
def test_odd_cross_reference_is_a_clear_error(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_patients(tmp_path / name)


@pytest.mark.filterwarnings("ignore")
def test_second_arm_and_second_run_read_no_dicom(
    rsna: fixture.Fixture, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(places, rsna_cohort="full")
    pixels, kept = cache.film_array(first, 32)
    assert len(pixels) == len(kept) == len(rsna.films) - 3

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("DICOM was read again")

    monkeypatch.setattr(pydicom, "dcmread", refuse)
    second = load_rsna({"rsna_cohort": "full"}, places / "another_run")
    again, kept_again = cache.film_array(second, 32)
    pd.testing.assert_frame_equal(first.films, second.films)
    pd.testing.assert_frame_equal(first.excluded, second.excluded)
    pd.testing.assert_frame_equal(kept, kept_again)
    np.testing.assert_array_equal(pixels, again)


@pytest.mark.filterwarnings("ignore")
def test_film_cut_short_is_found_by_the_decoder_and_listed(rsna: fixture.Fixture, places: Path) -> None:
    found = registry.load("rsna", {"rsna_cohort": "paper"}, places / "demo")
    cache.film_array(found, 32)
    reasons = found.excluded.set_index("image_id")["reason"]
    assert reasons[rsna.cut].startswith("unreadable: ") and rsna.cut not in set(found.kept()["image_id"])


@pytest.mark.filterwarnings("ignore")
def test_cached_array_holds_each_film_as_pydicom_and_an_area_mean_give_it(rsna: fixture.Fixture, places: Path) -> None:
    found = load(places, rsna_cohort="paper", rsna_patients=str(rsna.mapping))
    pixels, kept = cache.film_array(found, 64)
    for image, row in zip(pixels, kept.to_dict("records"), strict=True):
        if row["image_id"] in (rsna.monochrome1, rsna.sixteen_bit):
            continue
        whole = pydicom.dcmread(found.root / row["path"]).pixel_array.astype(float)
        np.testing.assert_allclose(image, whole.reshape(64, 4, 64, 4).mean(axis=(1, 3)), atol=0.51)


def test_changed_film_is_read_again(rsna: fixture.Fixture, tmp_path: Path) -> None:
    folder = tmp_path / IMAGES
    folder.mkdir()
    film = fixture.dataset("a", np.zeros((16, 16), np.uint8))
    fixture.set_header(film, "PA", "F", "58", 0.1)
    fixture.save(film, folder / "a.dcm")
    path = f"{IMAGES}/a.dcm"
    assert read_headers([path], tmp_path, tmp_path / "cache")["view"].tolist() == ["PA"]
    fixture.set_header(film, "AP", "F", "58", 0.1)
    fixture.save(film, folder / "a.dcm")
    os.utime(folder / "a.dcm", ns=(1, 1))
    assert read_headers([path], tmp_path, tmp_path / "cache")["view"].tolist() == ["AP"]


def _tables(folder: Path, labels: str, classes: str) -> pd.DataFrame:
    (folder / LABELS).write_text("patientId,x,y,width,height,Target\n" + labels)
    (folder / CLASSES).write_text("patientId,class\n" + classes)
    return read_tables(folder).set_index("image_id")


def test_tables_that_do_not_settle_a_film_exclude_it_alone(tmp_path: Path) -> None:
    hard = HARD_NEGATIVE
    films = _tables(
        tmp_path,
        "good,1,2,3,4,1\ngood,5,6,7,8,1\nalone,,,,,0\nboth,,,,,0\nlie,,,,,0\nturn,1,2,3,4,1\nturn,,,,,0\n"
        "odd,,,,,0\n../up,,,,,0\nnumb,1,2,,4,1\n",
        f"good,Lung Opacity\ngood,Lung Opacity\nboth,Normal\nboth,{hard}\nlie,Lung Opacity\nturn,Lung Opacity\n"
        "odd,Fracture\nextra,Normal\n../up,Normal\nnumb,Lung Opacity\n",
    )
    assert films["reason"].to_dict() == {
        "good": "",
        "numb": "",
        "alone": f"not in {CLASSES}",
        "both": "two classes, or an unknown class",
        "lie": "class and target disagree",
        "turn": "class and target disagree",
        "odd": "two classes, or an unknown class",
        "extra": f"not in {LABELS}",
        "../up": "not a possible file name",
    }
    assert json.loads(films.loc["good", "boxes"]) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert films.loc["numb", "boxes"] == "[]"  # a box without a width is no box


def test_missing_parts_say_what_to_do(rsna: fixture.Fixture, tmp_path: Path, places: Path) -> None:
    with pytest.raises(UserError, match=r"python -m nbhelpers fetch rsna"):
        find_root(tmp_path)
    with pytest.raises(UserError, match=r"stage_2_train_labels\.csv.*fetch rsna"):
        read_tables(tmp_path)
    (tmp_path / LABELS).write_text("patientId,x\n")
    with pytest.raises(UserError, match="lacks y, width, height, Target"):
        read_tables(tmp_path)
    with pytest.raises(UserError, match="did you mean 'full'"):
        load(places, rsna_cohort="ful")


def test_zipped_tables_are_read_as_kaggle_gives_them(rsna: fixture.Fixture, tmp_path: Path) -> None:
    for name in (LABELS, CLASSES):
        pd.read_csv(rsna.root / name).to_csv(tmp_path / f"{name}.zip", index=False, compression="zip")
    pd.testing.assert_frame_equal(read_tables(tmp_path), read_tables(rsna.root))


def test_tables_zipped_on_a_mac_are_read(rsna: fixture.Fixture, tmp_path: Path) -> None:
    for name in (LABELS, CLASSES):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.write(rsna.root / name, f"rsna/{name}")
            archive.writestr(f"__MACOSX/rsna/._{name}", b"what a Mac adds")
    pd.testing.assert_frame_equal(read_tables(tmp_path), read_tables(rsna.root))


@pytest.mark.parametrize("spelling", ["{}.DCM", "{}", "{}.Dcm"])
@pytest.mark.parametrize("nested", ["", "stage_2_train_images/"])
def test_films_are_found_however_they_are_spelt_and_nested(
    rsna: fixture.Fixture, places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, nested: str
) -> None:
    before = load(places)
    root = tmp_path / "data" / "RSNA" / "rsna-pneumonia-detection-challenge"
    folder = root / "stage_2_train_images" / nested
    folder.mkdir(parents=True)
    for name in (LABELS, CLASSES):
        shutil.copy(rsna.root / name, root / name)
    for film in (rsna.root / "stage_2_train_images").glob("*.dcm"):
        shutil.copy(film, folder / spelling.format(film.stem))
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "data"))
    after = load(tmp_path / "other")
    columns = ["image_id", "label", "view", "age"]
    pd.testing.assert_frame_equal(after.films[columns], before.films[columns])
    assert not any("not listed in any table" in note for note in after.notes)
    assert (
        cache.film_array(after, 32, tmp_path / "cache")[0].shape
        == cache.film_array(before, 32, tmp_path / "cache")[0].shape
    )


SAMPLE = Path(os.environ.get("NBHELPERS_DATA", "")) / "rsna_metadata_sample" / "films.csv"


@pytest.mark.skipif(not SAMPLE.is_file(), reason="no real RSNA metadata below NBHELPERS_DATA")
def test_real_metadata_is_understood(tmp_path: Path) -> None:
    sample = pd.read_csv(SAMPLE)
    rows, classes = [], []
    for row in sample.to_dict("records"):
        for box in json.loads(row["boxes_json"]) or [[None] * 4]:
            rows.append([row["patientId"], *box, row["Target"]])
            classes.append([row["patientId"], row["class"]])
    columns = ["patientId", "x", "y", "width", "height", "Target"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / LABELS, index=False)
    pd.DataFrame(classes, columns=["patientId", "class"]).to_csv(tmp_path / CLASSES, index=False)
    films = read_tables(tmp_path).set_index("image_id")
    assert (films["reason"] == "").all() and len(films) == len(sample)
    sample = sample.set_index("patientId").loc[films.index]
    assert films["label"].tolist() == sample["Target"].tolist()
    assert [json.loads(text) for text in films["boxes"]] == [json.loads(text) for text in sample["boxes_json"]]
    patients = read_patients(SAMPLE)
    assert [patients[name] for name in films.index] == sample["nih_file"].str[:8].tolist()


def test_truth_of_a_film_is_its_boxes_and_of_films_without_a_box_nothing_is_known(
    rsna: fixture.Fixture, places: Path
) -> None:
    found = load(places, rsna_cohort="paper")
    films = found.films.set_index("image_id")
    assert films["truth_known"].tolist() == (films["label"] == 1).tolist()
    name = str(films.index[films["truth_known"]][0])
    expected = np.zeros((256, 256), bool)
    for left, top, width, height in rsna.films.set_index("patientId")["boxes"][name]:
        # The fixture's boxes are in pixels of 1,024, its films have 256; a pixel counts when its centre lies inside.
        centres = np.arange(256) + 0.5
        inside = (centres >= top) & (centres < top + height), (centres >= left) & (centres < left + width)
        expected |= inside[0][:, None] & inside[1][None, :]
    truth = found.truth(films.loc[name].to_dict(), 256, Box(0, 0, 256, 256))
    np.testing.assert_array_equal(truth.lesion, expected)
    assert truth.lungs is None
