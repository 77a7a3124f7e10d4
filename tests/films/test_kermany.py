import numpy as np
import pytest
from films.films_fixture import FILMS, write_layout

from nbhelpers.errors import UserError
from nbhelpers.films import kermany, registry
from nbhelpers.images.files import write_png


@pytest.mark.parametrize("folder", ["chest_xray", "kermany", "kermany224", "chest_xray/chest_xray"])
def test_kermany_reads_the_original_layout_under_any_of_its_names(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    write_layout(tmp_path / folder)
    found = registry.load("kermany", {}, tmp_path / "run")
    assert dict(zip(found.films["path"], found.films["label"], strict=True)) == FILMS
    assert not found.simulated and found.films["image_id"].is_unique
    assert set(found.films["view"]) == {"AP"}


def test_kermany_patients_are_read_from_names_with_separate_numberings():
    read = kermany.patient_of
    assert read("person12_bacteria_34.jpeg") == read("person12_bacteria_35.jpeg") == "bacteria-12"
    assert read("person12_virus_36.jpeg") == "virus-12"
    assert read("person1628_virus_2.jpeg") != read("person162_virus_82.jpeg")
    assert read("IM-0115-0001.jpeg") == read("IM-0115-0001-0002.jpeg") == "IM-0115"
    assert read("NORMAL2-IM-0115-0001.jpeg") == "NORMAL2-IM-0115"
    assert read("BACTERIA-1008087-0001.jpeg") == read("BACTERIA-1008087-0002.jpeg") == "1008087"
    assert read("renamed.jpeg") is None


def test_kermany_says_how_its_counts_differ_from_the_published_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    write_layout(tmp_path / "chest_xray")
    notes = " ".join(registry.load("kermany", {}, tmp_path).notes)
    assert "normal: 1,583 films published, 3 there" in notes
    assert "pneumonia: 4,273 films published, 5 there" in notes
    assert "1 file names give no patient" in notes


def test_a_missing_data_set_is_one_error_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"'kermany' was not found.*download.*NBHELPERS_DATA"):
        registry.load("kermany", {}, tmp_path)


def test_an_empty_layout_and_one_class_only_are_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    (tmp_path / "chest_xray/train/NORMAL").mkdir(parents=True)
    with pytest.raises(UserError, match="no film"):
        registry.load("kermany", {}, tmp_path)
    write_png(tmp_path / "chest_xray/train/NORMAL/IM-0001-0001.png", np.zeros((40, 40), np.uint8))
    with pytest.raises(UserError, match="only one class"):
        registry.load("kermany", {}, tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        *("chest_xray", "chest_xray/chest_xray", "chest_xray/chest_xray/chest_xray", "ChestXRay2017/chest_xray"),
        *("chest-xray-pneumonia/chest_xray", "Kermany/CellData/chest_xray", "kermany224"),
    ],
)
def test_kermany_is_found_however_its_archive_wraps_and_spells_it(tmp_path, monkeypatch, place):
    write_layout(tmp_path / place)
    (tmp_path / place / "train").rename(tmp_path / place / "Train")
    (tmp_path / place / "Train" / "NORMAL").rename(tmp_path / place / "Train" / "Normal")
    (tmp_path / place.split("/")[0] / "__MACOSX" / "train" / "NORMAL").mkdir(parents=True)
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    found = kermany.load({}, tmp_path)
    assert found.root == tmp_path / place and len(found.films) == len(FILMS)
    assert sorted(found.films["label"]) == sorted(FILMS.values())


def test_one_name_in_both_classes_and_beside_itself_is_each_a_film_of_its_own(tmp_path, monkeypatch):
    write_layout(tmp_path / "kermany")
    for place in ("train/NORMAL/x.jpeg", "train/NORMAL/x.png", "train/PNEUMONIA/x.jpeg"):
        write_png(tmp_path / "kermany" / place, np.eye(40, dtype=np.uint8))
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    found = kermany.load({}, tmp_path)
    assert len(found.films) == len(FILMS) + 3 and found.films["image_id"].is_unique
    assert any(note.startswith("2 films are identical copies") for note in found.notes)
