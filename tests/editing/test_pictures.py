from __future__ import annotations

import cv2
import numpy as np
import pytest
from editing import editing_fixture as known

from nbhelpers.editing import pictures
from nbhelpers.editing.tasks import THINGS, read_tasks
from nbhelpers.errors import UserError

PARTS = [thing for thing in THINGS if thing != "nothing"]


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("thing", PARTS)
def test_outside_the_mask_not_one_pixel_differs(thing, place):
    start, target, mask = known.pair(thing, place)
    assert (start[~mask] == target[~mask]).all()
    assert (start[mask] != target[mask]).any() and mask.mean() < 0.4


@pytest.mark.parametrize("thing", PARTS)
def test_the_acquisition_is_frozen_before_anything_is_composed(thing):
    patient = pictures.Patient(5, 6, 256, {"pattern": "lobar", "lobe": "lower", "side": "right", "extent": "severe"})
    without, having = patient.film(), patient.film((thing,))
    mask = pictures.composed(having, without)[2]
    assert np.abs(without.astype(int) - having)[~mask].max() < 3
    assert np.abs(without.astype(int) - having)[mask].max() > 15


def test_a_consolidation_lies_in_the_lobe_and_lung_that_were_asked_for():
    tasks = read_tasks()
    for name, left, low in (("add_consolidation", False, True), ("remove_consolidation", True, False)):
        for picture in pictures.simulated_pictures([tasks[name]], 4, 128, 1):
            rows, columns = np.nonzero(picture.mask)
            assert (columns.mean() > 64) == left  # the patient faces the reader
            assert low == (rows.mean() > 60) and picture.lesion


def test_add_and_remove_go_opposite_ways():
    add, remove = known.few_pictures(names=("add_consolidation", "remove_consolidation"), number=1)
    assert add.target[add.mask].mean() > add.image[add.mask].mean() + 5
    assert remove.target[remove.mask].mean() < remove.image[remove.mask].mean() - 5


def test_the_same_patients_stand_behind_all_tasks_and_others_behind_the_donors():
    first, second, add, _ = known.few_pictures(names=("take_off_lettering", "add_consolidation"))
    assert first.image_id == add.image_id != second.image_id
    assert (first.target == add.image).all() and not (second.target == add.image).all()
    assert (first.donor != first.target).mean() > 0.5 and set(add.known) == {"target", "donor", "donor_mask"}


def test_pictures_are_the_same_at_every_run_and_others_with_another_seed():
    task = [read_tasks()["take_off_lines"]]
    one, same = (pictures.simulated_pictures(task, 1, 128, 3)[0] for _ in range(2))
    other = pictures.simulated_pictures(task, 1, 128, 4)[0]
    assert (one.image == same.image).all() and (one.image != other.image).mean() > 0.5


def test_a_task_to_keep_has_an_empty_mask_and_its_input_as_target():
    (picture,) = known.few_pictures(names=("leave_as_it_is",), number=1)
    assert not picture.mask.any() and (picture.target == picture.image).all() and picture.simulated
    assert not picture.patient


@pytest.fixture
def table(tmp_path):
    """A table of one's own with a coloured photograph, a film, its mask and its target, in a folder."""
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
    film = rng.integers(0, 256, (96, 96), dtype=np.uint8)
    mask = np.zeros((96, 96), np.uint8)
    mask[10:20, 10:30] = 255
    for name, image in (("photo", photo), ("film", film), ("mask", mask), ("target", film // 2)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)

    def write(*lines, header="path,prompt,mask,target,patient"):
        (tmp_path / "own.csv").write_text("\n".join((header, *lines)) + "\n")
        return tmp_path / "own.csv"

    return write


def test_own_pictures_have_what_their_table_says(table):
    path = table("photo.png,costume,,,no", "film.png,Take off the box.,mask.png,target.png,", "film.png,Again,,,")
    photo, film, again = pictures.own_pictures(path, read_tasks())
    assert (photo.task, photo.kind, photo.patient) == ("costume", "replace", False)
    assert photo.image.shape == (80, 100, 3) and photo.mask is None and photo.target is None
    assert photo.instruction == read_tasks()["costume"].instruction
    assert (film.task, film.kind, film.patient) == ("own", "replace", True), "whose picture is not said is a patient's"
    assert film.mask.sum() == 200 and (film.target == film.image // 2).all()
    assert len({photo.image_id, film.image_id, again.image_id}) == 3 and not film.simulated and not film.lesion
    (taken_off,) = pictures.own_pictures(table("film.png,remove_consolidation,mask.png,,"), read_tasks())
    assert taken_off.lesion and taken_off.kind == "remove"


def test_names_of_files_may_be_of_any_letters_and_length(table, tmp_path):
    names = ["日本.png", "x" * 240 + "é.png", "x" * 240 + "ü.png", "a b.png", "c.png", "C.png"]
    for name in names:
        cv2.imencode(".png", np.full((96, 96), 90, np.uint8))[1].tofile(tmp_path / name)
    found = pictures.own_pictures(table(*(f"{name},100 % {{x}} %s,,," for name in names)), {})
    ids = [one.image_id for one in found]
    assert (
        len({one.lower() for one in ids}) == 6
        and ids[3] == "a_b"
        and all(one.isascii() and len(one) < 80 for one in ids)
    )
    assert {one.instruction for one in found} == {"100 % {x} %s"}


def test_own_pictures_are_read_in_their_colours(table, tmp_path):
    (picture,) = pictures.own_pictures(table("photo.png,x,,,no"), {})
    assert (picture.image == cv2.imread(str(tmp_path / "photo.png"))[..., ::-1]).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere.png,x,,,", "cannot be read"),
        ("film.png,,,,", "no prompt"),
        ("film.png,x,small.png,,", "the mask is 40 x 40 for an image of 96 x 96"),
        ("film.png,x,,small.png,", "the target is 40 x 40"),
        ("film.png,x,empty.png,,", "the mask is empty, or covers"),
        ("../film.png,x,,,", "leaves its folder"),
        ("film.png,x,../mask.png,,", "leaves its folder"),
        ("/etc/passwd,x,,,", "leaves its folder"),
        ("small.png,x,,,", "40 x 40 pixels"),
        ("wide.png,x,,,", "5000 x 64 pixels"),
        ("own.csv,x,,,", "not an image file"),
        ("film.png,take_of_lines,,,", "did you mean 'take_off_lines'"),
        ("film.png,x,,,maybe", "use yes or no"),
        ("film.png,x,,deep.png,", "more than 8 bits"),
    ],
)
def test_a_fault_in_a_table_is_one_clear_error_that_names_its_line(table, tmp_path, line, message):
    cv2.imwrite(str(tmp_path / "small.png"), np.full((40, 40), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((96, 96), np.uint8))
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((64, 5000), np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((96, 96), 9000, np.uint16))
    with pytest.raises(UserError, match=message):
        pictures.own_pictures(table("photo.png,x,,,", line), read_tasks())


def test_all_faults_of_a_table_are_told_at_once(table):
    with pytest.raises(UserError) as caught:
        pictures.own_pictures(table("a.png,x,,,", "b.png,x,,,", "film.png,x,,,"), {})
    assert len(caught.value.parts) == 2


@pytest.mark.parametrize("wanted", [{"editing_tasks": []}, {"editing_tasks": "photographs.yaml"}])
def test_a_run_without_any_picture_is_an_error(tmp_path, wanted, monkeypatch):
    (tmp_path / "photographs.yaml").write_text("a: {kind: replace, instruction: x}\n")
    if isinstance(wanted["editing_tasks"], str):
        wanted = {"editing_tasks": str(tmp_path / wanted["editing_tasks"])}
    with pytest.raises(UserError, match="no task has an image"):
        pictures.check_pictures({"editing_pictures": 2, "editing_size": 128, "seed": 0} | wanted)
