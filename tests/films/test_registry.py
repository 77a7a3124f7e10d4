from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nbhelpers import metrics
from nbhelpers.errors import UserError
from nbhelpers.films import film_set, hospital, kermany, registry
from nbhelpers.images.files import write_png
from nbhelpers.simulator.truth import read_truth
from nbhelpers.validation import subgroups

FILMS = {
    "train/NORMAL/IM-0115-0001.jpeg": 0,
    "train/NORMAL/NORMAL2-IM-0115-0001.JPG": 0,
    "train/PNEUMONIA/person12_bacteria_34.jpeg": 1,
    "train/PNEUMONIA/person12_bacteria_35.PNG": 1,
    "train/PNEUMONIA/person12_virus_36.jpeg": 1,
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": 0,
    "test/PNEUMONIA/person1_virus_6.jpeg": 1,
    "test/PNEUMONIA/renamed.jpeg": 1,
}


def write_layout(root):
    for number, name in enumerate(FILMS):
        side = 40 + number
        image = np.full((side, side + 5), 10 * number, np.uint8)
        target = root / name
        if target.suffix.lower() == ".png":
            write_png(target, image)
        else:
            from PIL import Image

            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(target, format="JPEG")
    (root / "train/NORMAL/._IM-0115-0001.jpeg").write_bytes(b"what a Mac leaves in an archive")
    (root / "train/NORMAL/Thumbs.db").write_bytes(b"what Windows leaves")


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
    assert "3 normal films found, 1583 published" in notes
    assert "5 pneumonia films found, 4273 published" in notes
    assert "1 file names tell no patient" in notes


def test_a_missing_data_set_is_one_error_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"'kermany' is not found.*download.*NBHELPERS_DATA"):
        registry.load("kermany", {}, tmp_path)


def test_an_empty_layout_and_one_class_only_are_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    (tmp_path / "chest_xray/train/NORMAL").mkdir(parents=True)
    with pytest.raises(UserError, match="no film"):
        registry.load("kermany", {}, tmp_path)
    write_png(tmp_path / "chest_xray/train/NORMAL/IM-0001-0001.png", np.zeros((40, 40), np.uint8))
    with pytest.raises(UserError, match="one class only"):
        registry.load("kermany", {}, tmp_path)


def test_unknown_and_doubly_named_sets_are_errors(tmp_path):
    with pytest.raises(UserError, match="did you mean 'kermany'"):
        registry.load("kermani", {}, tmp_path)
    with pytest.raises(UserError, match="named twice"):
        registry.load_all(["kermany", "kermany"], {}, tmp_path)
    with pytest.raises(UserError, match="no data set is named"):
        registry.load_all([], {}, tmp_path)


def write_folder(root, table, files):
    root.mkdir(exist_ok=True)
    for name in files:
        write_png(root / name, np.zeros((40, 40), np.uint8))
    table.to_csv(root / "films.csv", index=False)
    return {"folder_films": str(root / "films.csv")}


def test_folder_takes_labels_as_numbers_or_words_and_lists_missing_files(tmp_path):
    table = pd.DataFrame(
        {
            "path": ["a.png", "sub/b.png", "gone.png", "d.png"],
            "label": ["Pneumonia", "normal", "1", "0"],
            "patient_id": ["007", "7", None, "007"],
            "age": [3, 40, None, 61],
        }
    )
    found = registry.load("folder", write_folder(tmp_path / "own", table, ["a.png", "sub/b.png", "d.png"]), tmp_path)
    assert list(found.films["label"]) == [1, 0, 1, 0]
    assert list(found.films["image_id"]) == ["a", "sub/b", "gone", "d"]
    assert list(found.films["patient_id"].dropna()) == ["007", "7", "007"] and found.n_patients == 2
    assert found.excluded.to_dict("records") == [{"image_id": "gone", "reason": "file missing"}]
    assert len(found.kept()) == 3
    summary = registry.summary({"folder": found}).iloc[0]
    assert (summary["n"], summary["n_positive"], summary["excluded"], summary["n_patients"]) == (3, 1, 1, 2)
    assert registry.exclusions({"folder": found}).iloc[0].to_dict() == {
        **{"dataset": "folder", "reason": "file missing", "films": 1, "example": "gone"}
    }


def test_every_film_that_is_left_out_is_a_row_with_its_whole_reason(tmp_path):
    table = pd.DataFrame({"path": ["a.png", "b.png", "gone.png", "lost.png"], "label": [0, 1, 1, 0]})
    found = registry.load("folder", write_folder(tmp_path / "own", table, ["a.png", "b.png"]), tmp_path)
    found.exclude({"b": "unreadable: cut short after 12 bytes"})
    assert registry.excluded_films({"folder": found}).to_dict("records") == [
        {"dataset": "folder", "image_id": "gone", "reason": "file missing"},
        {"dataset": "folder", "image_id": "lost", "reason": "file missing"},
        {"dataset": "folder", "image_id": "b", "reason": "unreadable: cut short after 12 bytes"},
    ]
    grouped = registry.exclusions({"folder": found})
    assert grouped["films"].tolist() == [2, 1]


def test_patients_of_films_that_are_left_out_are_not_counted():
    films = pd.DataFrame({"image_id": list("abc"), "path": "x", "label": [0, 1, 1], "patient_id": ["p", "q", "r"]})
    found = film_set.FilmSet("own", "Own", False, Path(), films)
    found.exclude({"c": "file missing"})
    assert found.n_patients == 2 and "2 patients" in str(found)
    assert registry.summary({"own": found})["n_patients"][0] == 2


def test_views_and_sexes_are_taken_as_people_write_them(tmp_path):
    views = [" ap ", "PA", "AP supine", "Pa", "LL", None, "posteroanterior", "AP_portable"]
    sexes = ["F", " female", "Woman", "m", "Male ", "X", "", None]
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(8)], "label": [0, 1] * 4, "view": views, "sex": sexes})
    found = registry.load("folder", write_folder(tmp_path / "own", table, list(table["path"])), tmp_path)
    told = found.films[["view", "sex"]].astype(object).where(found.films[["view", "sex"]].notna(), None)
    assert told["view"].tolist() == ["AP", "PA", "AP", "PA", None, None, "PA", "AP"]
    assert told["sex"].tolist() == ["female", "female", "female", "male", "male", None, None, None]
    notes = " ".join(found.notes)
    assert "1 films have a view that is not understood ('LL'): view unknown." in notes
    assert "1 films have a sex that is not understood ('X'): sex unknown." in notes
    assert dict(subgroups.members(found.films)).keys() == {"view AP", "view PA", "sex female", "sex male"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": ["a.png", "b.png"]}, "column 'label' is missing"),
        ({"label": [0, 1]}, "column 'path' is missing"),
        ({"path": ["a.png", "b.png"], "label": [0, 2]}, "label '2' in row 2"),
        ({"path": ["a.png", "b.png"], "label": ["0", None]}, "label 'nan' in row 2"),
        ({"path": ["a.png", "../b.png"], "label": [0, 1]}, "leaves its folder"),
        ({"path": ["a.png", "/etc/passwd"], "label": [0, 1]}, "leaves its folder"),
        ({"path": ["x.png", "y.png"], "label": [0, 1]}, "none of the 2 files exists"),
        ({"path": ["a.png", "a.png"], "label": [0, 1]}, "share an image_id"),
        ({"path": ["a.png", "b.png"], "label": [1, 1]}, "one class only"),
        ({"path": [], "label": []}, "lists no film"),
    ],
)
def test_a_bad_folder_table_is_one_clear_error(tmp_path, table, message):
    parameters = write_folder(tmp_path / "own", pd.DataFrame(table), ["a.png", "b.png"])
    with pytest.raises(UserError, match=message):
        registry.load("folder", parameters, tmp_path)


def test_folder_without_a_table_says_what_to_set(tmp_path):
    with pytest.raises(UserError, match="folder_films"):
        registry.load("folder", {"folder_films": None}, tmp_path)
    with pytest.raises(UserError, match="table not found"):
        registry.load("folder", {"folder_films": str(tmp_path / "none.csv")}, tmp_path)


def test_hospital_design_has_the_planted_shortcut_and_nothing_else_that_tells_the_label():
    design = hospital.design(1500, seed=0)
    label = (design["label"] == "pneumonia").astype(int)
    assert 0.35 < label.mean() < 0.5
    assert 0.70 < metrics.auroc(label, design["view"] == "AP") < 0.80
    for name in ("age", "sex", "habitus"):
        # 1,500 patients: a standard error of about 0.015.
        assert abs(metrics.auroc(label, pd.factorize(design[name], sort=True)[0]) - 0.5) < 0.06, name
    assert (design.loc[label == 0, list(("pattern", "side", "lobe", "extent"))] == "").all(axis=None)


def test_hospital_patients_keep_sex_age_and_anatomy_over_their_films():
    design = hospital.design(200, seed=1)
    grouped = design.groupby("patient_id")
    assert grouped.ngroups == 200 and grouped.size().max() > 3
    for name in ("sex", "age", "habitus", "pair_seed"):
        assert (grouped[name].transform("first") == design[name]).all(), name
    assert design["seed"].is_unique and design["image_id"].is_unique
    assert (grouped["label"].min() != grouped["label"].max()).any()


def test_hospital_of_any_allowed_size_has_both_classes_and_smaller_ones_are_refused():
    for seed in range(5):
        assert hospital.design(10, seed)["label"].nunique() == 2
    with pytest.raises(UserError, match="use 10 or more"):
        hospital.design(9, 0)


def test_hospital_is_drawn_once_with_truth_and_goes_on_after_a_stop(tmp_path):
    parameters = {"hospital_patients": 10, "seed": 0, "workers": 1}
    first = registry.load("simulated_hospital", parameters, tmp_path)
    assert first.simulated and "(simulated)" in first.title
    images = sorted((first.root / "images").iterdir())
    assert len(images) == len(first.films)
    for row in first.films.to_dict("records"):
        lungs, lesion, _ = read_truth(first.root / row["truth_path"])
        assert lungs.any() and lesion.any() == bool(row["label"])
    kept, lost = images[0], images[1]
    before, pixels = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    again = registry.load("simulated_hospital", parameters, tmp_path)
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == pixels
    pd.testing.assert_frame_equal(
        again.films[["image_id", "label", "path"]], first.films[["image_id", "label", "path"]]
    )
