"""The published layouts, as written files."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from segmentation.segmentation_fixture import disc, photo, write

from nbhelpers.errors import UserError
from nbhelpers.segmentation import datasets, layouts

MASK = disc().astype(np.uint8) * 255
PARAMETERS = {"seed": 0, "segmentation_test_share": 0.5}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    return tmp_path / "segmentation"


def loaded(name: str, data: Path) -> datasets.SegmentationSet:
    found = datasets.load(name, PARAMETERS, data)
    for case in found.cases.to_dict("records"):
        assert found.truth(case).shape == found.image(case).shape[:2]
    return found


def test_busi_joins_masks_keeps_normals_empty_and_copies_together(data: Path) -> None:
    for number in range(1, 5):
        write(data / f"Dataset_BUSI_with_GT/benign/benign ({number}).png", photo(seed=number))
        write(data / f"Dataset_BUSI_with_GT/benign/benign ({number})_mask.png", MASK)
    write(data / "Dataset_BUSI_with_GT/benign/benign (1)_mask_1.png", np.roll(MASK, 20, 1))
    for number in range(1, 4):
        write(data / f"Dataset_BUSI_with_GT/malignant/malignant ({number}).png", photo(seed=10 + number))
        write(data / f"Dataset_BUSI_with_GT/malignant/malignant ({number})_mask.png", MASK)
    write(data / "Dataset_BUSI_with_GT/malignant/malignant (9).png", photo(seed=2))  # benign (2) again
    write(data / "Dataset_BUSI_with_GT/malignant/malignant (9)_mask.png", MASK)
    write(data / "Dataset_BUSI_with_GT/normal/normal (1).png", photo(seed=20))
    write(data / "Dataset_BUSI_with_GT/normal/normal (1)_mask.png", MASK * 0)
    found = loaded("busi", data)
    cases = found.cases.set_index("case", drop=False)
    assert len(cases) == 9
    assert found.truth(cases.loc["benign (1)"].to_dict()).sum() > (MASK > 0).sum()
    assert not found.truth(cases.loc["normal (1)"].to_dict()).any()
    assert cases.loc["malignant (9)", "duplicate_of"] == "benign (2)"
    assert cases.loc["malignant (9)", "split"] == cases.loc["benign (2)", "split"]


def test_fives_has_its_split_and_diseases(data: Path) -> None:
    for split in ("train", "test"):
        for name in ("1_A", "2_N"):
            write(data / f"FIVES/{split}/Original/{name}.png", photo())
            write(data / f"FIVES/{split}/Ground truth/{name}.png", MASK)
    found = loaded("fives", data)
    assert sorted(case["case"] for case in found.part("test")) == ["test_1_A", "test_2_N"]
    assert set(found.cases["disease"]) == {"A", "N"} and found.thin


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("colondb", "TestDataset/CVC-ColonDB"),
        ("kvasir", "TestDataset/Kvasir"),
        ("etis", "ETIS-LaribPolypDB"),
        ("cvc300", "TestDataset/CVC-300"),
    ],
)
def test_pranets_layout(data: Path, name: str, folder: str) -> None:
    for number in range(6):
        write(data / folder / f"images/{number}.png", photo(seed=number))
        write(data / folder / f"masks/{number}.png", MASK)
    assert len(loaded(name, data).part("test")) == 3


def test_clinicdb_is_split_by_its_29_sequences(data: Path) -> None:
    for frame in (1, 25, 26, 50, 51, 67, 68, 612):
        write(data / f"CVC-ClinicDB/Original/{frame}.png", photo(seed=frame))
        write(data / f"CVC-ClinicDB/Ground Truth/{frame}.png", MASK)
    cases = loaded("clinicdb", data).cases.set_index("case")["group"]
    assert cases["1"] == cases["25"] == "sequence 01" and cases["26"] == cases["50"] == "sequence 02"
    assert cases["67"] == "sequence 03" and cases["68"] == "sequence 04" and cases["612"] == "sequence 29"
    assert len(layouts.CLINICDB_STARTS) == 29


def test_drive_as_published_is_scored_inside_the_view_with_two_annotators(data: Path) -> None:
    view = disc(centre=(48, 48), radius=40).astype(np.uint8) * 255
    for part, number in (("training", 21), ("test", 1)):
        root = data / "DRIVE" / part
        write(root / f"images/{number:02d}_{part}.tif", photo())
        write(root / f"1st_manual/{number:02d}_manual1.gif", np.full_like(MASK, 255) * (MASK == 0))
        write(root / f"mask/{number:02d}_{part}_mask.gif", view)
    write(data / "DRIVE/test/2nd_manual/01_manual2.gif", MASK)
    found = loaded("drive", data)
    test = found.part("test")
    assert [case["case"] for case in test] == ["01_test"]
    assert not found.truth(test[0])[0, 0] and (found.truth(test[0]) <= (view > 0)).all()
    assert found.truth(test[0], "annotator_2").sum() == ((MASK > 0) & (view > 0)).sum()
    (data / "DRIVE/test/1st_manual/01_manual1.gif").unlink()
    with pytest.raises(UserError, match="vessels are missing"):
        datasets.load("drive", PARAMETERS, data)


def test_stare_is_read_gzipped_with_both_annotators(data: Path) -> None:
    for number in range(4):
        for folder, name in (("images", ""), ("labels-ah", ".ah"), ("labels-vk", ".vk")):
            path = data / f"STARE/{folder}/im000{number}{name}.ppm"
            write(path, photo(seed=number) if folder == "images" else np.dstack([MASK] * 3))
            (path.parent / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    found = loaded("stare", data)
    assert len(found.cases) == 4 and found.truth(found.part("test")[0], "annotator_2").any()
    (data / "STARE/labels-vk/im0001.vk.ppm.gz").unlink()
    assert loaded("stare", data).cases.set_index("case")["annotator_2"].isna().to_dict() == {
        f"im000{number}": number == 1 for number in range(4)
    }


def test_both_eyes_of_a_child_stay_together_in_chase(data: Path) -> None:
    for child in range(1, 5):
        for eye in "LR":
            write(data / f"CHASEDB1/Image_{child:02d}{eye}.jpg", photo(seed=child))
            for annotator in ("1stHO", "2ndHO"):
                write(data / f"CHASEDB1/Image_{child:02d}{eye}_{annotator}.png", MASK > 0)
    found = loaded("chase_db1", data)
    assert found.cases.groupby("group")["split"].nunique().eq(1).all() and found.cases["group"].nunique() == 4
    assert found.cases["annotator_2"].notna().all()
    (data / "CHASEDB1/Image_02R_2ndHO.png").unlink()
    lacking = loaded("chase_db1", data).cases.set_index("case")["annotator_2"].isna()
    assert lacking[lacking].index.tolist() == ["Image_02R"]


def test_a_missing_set_says_where_it_is_looked_for(data: Path) -> None:
    data.mkdir(parents=True)
    with pytest.raises(UserError, match="FIVES"):
        datasets.load("fives", PARAMETERS, data)
    shutil.rmtree(data)


def test_a_table_of_ones_own_names_groups_and_several_masks(data: Path) -> None:
    write(data / "p/a.png", photo())
    write(data / "p/m1.png", MASK)
    write(data / "p/m2.png", np.roll(MASK, 30, 0))
    write(data / "p/b.png", photo(seed=1))
    rows = "image,mask,group\np/a.png,p/m1.png;p/m2.png,x\np/b.png,,y\n"
    (data / "t.csv").write_text(rows, encoding="utf-8")
    parameters = {"segmentation_folder": str(data / "t.csv"), "segmentation_test_share": 1.0}
    found = datasets.load("folder", parameters, data)
    assert found.cases["group"].tolist() == ["x", "y"]
    first, second = found.part("test")
    assert found.truth(first).sum() > (MASK > 0).sum() and not found.truth(second).any()
