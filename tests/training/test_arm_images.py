import numpy as np
import pandas as pd
import pytest
from training.training_fixture import SIZE, disc_arm

from nbhelpers.errors import UserError
from nbhelpers.images.files import write_png
from nbhelpers.runs.tables import write_table
from nbhelpers.training.arm_images import load_arm

ARMS = {"cropped": {"source": "simulator", "crop": "content"}}


@pytest.fixture(scope="module")
def arm():
    return disc_arm(12)


def cropped_run(folder, table, images, status="ok"):
    stage = folder / "02_cropping" / "simulator"
    for name, image in zip(table["image_id"], images, strict=True):
        write_png(stage / "content" / f"{name}.png", image)
    rows = table.assign(
        path="content/" + table["image_id"] + ".png",
        source="simulator",
        simulated=True,
        prompt="",
        model="",
        sha256="",
        width=SIZE,
        height=SIZE,
        status=status,
        reason="" if status == "ok" else "too_small",
        crop="content",
        left=0,
        top=0,
        right=SIZE,
        bottom=SIZE,
    )
    write_table(pd.concat([rows, rows.assign(crop="none", path="none/x.png")]), stage / "images.csv", "cropped")


def test_an_arm_is_read_by_its_crop_and_in_the_order_of_its_table(arm, tmp_path):
    table, images = arm
    cropped_run(tmp_path, table, images)
    kept, read = load_arm(tmp_path, ARMS, "cropped", SIZE)
    assert kept["image_id"].tolist() == table["image_id"].tolist()
    assert np.array_equal(read[:], images) and len(read) == len(images)


def test_an_arm_of_which_all_is_excluded_says_why(arm, tmp_path):
    cropped_run(tmp_path, *arm, status="excluded")
    with pytest.raises(UserError, match=r"all 24 images were excluded: too_small \(24\)"):
        load_arm(tmp_path, ARMS, "cropped", SIZE)


@pytest.mark.parametrize(
    ("arms", "name", "message"),
    [
        (ARMS, "croped", "did you mean 'cropped'"),
        ({"a": {"source": "simulator", "crop": "margins"}}, "a", "no image has the crop 'margins'"),
        ({"a": {"source": "folder", "crop": "none"}}, "a", "not found"),
    ],
)
def test_an_arm_that_is_not_there_is_one_clear_error(arm, tmp_path, arms, name, message):
    cropped_run(tmp_path, *arm)
    with pytest.raises(UserError, match=message):
        load_arm(tmp_path, arms, name, SIZE)


def test_only_images_that_are_asked_for_are_read(arm, tmp_path):
    table, images = arm
    cropped_run(tmp_path, table, images)
    _, stored = load_arm(tmp_path, ARMS, "cropped", SIZE)
    (tmp_path / "02_cropping" / "simulator" / "content" / f"{table['image_id'][5]}.png").unlink()
    np.testing.assert_array_equal(stored[[7, 2]], images[[7, 2]])
    np.testing.assert_array_equal(stored[np.arange(len(images)) > 20], images[21:])
    with pytest.raises(UserError, match=table["image_id"][5]):
        stored[:]
