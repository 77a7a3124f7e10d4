from __future__ import annotations

import numpy as np
import pytest

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import local, registry
from nbhelpers.image_models.editors.edits import EditRequest
from nbhelpers.images.files import read_image

NAMES = ("nothing", "inpainting", "poisson", "simulator", "careless")


def request_of(**changes):
    """A grey slope with a bright square to take off, and another slope as donor."""
    slope = np.tile(np.linspace(40, 200, 96, dtype=np.uint8)[:, None, None], (1, 96, 3))
    mask = np.zeros((96, 96), bool)
    mask[30:50, 20:45] = True
    image = slope.copy()
    image[34:46, 24:41] = 250
    known = {"target": slope, "donor": slope[:, ::-1].copy(), "donor_mask": mask}
    return EditRequest("a", instruction="take it off", **({"image": image, "mask": mask, "known": known} | changes))


def edited(name, request, folder):
    (editor,) = registry.make_editors({name: None}, {})
    return editor.edit_all([request], folder)["a"]


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_has_the_size_of_the_picture_and_is_kept(name, tmp_path):
    request = request_of()
    answer = edited(name, request, tmp_path)
    assert answer.kind == "edited" and answer.image.shape == request.image.shape and answer.image.dtype == np.uint8
    assert (np.asarray(read_image(tmp_path / answer.path)) == answer.image).all()
    assert (answer.width, answer.height, answer.cost_usd) == (96, 96, None) and answer.seconds >= 0


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_has_the_same_answer_and_is_not_written_into(name, tmp_path):
    request = request_of()
    before = [one.copy() for one in (request.image, request.mask, *request.known.values())]
    first, second = (edited(name, request, tmp_path).image for _ in range(2))
    assert (first == second).all()
    after = (request.image, request.mask, *request.known.values())
    assert all((one == held).all() for one, held in zip(after, before, strict=True))


def test_nothing_gives_the_input_and_simulator_the_target(tmp_path):
    request = request_of()
    assert (edited("nothing", request, tmp_path).image == request.image).all()
    assert (edited("simulator", request, tmp_path).image == request.known["target"]).all()


def test_inpainting_fills_the_mask_and_leaves_the_rest(tmp_path):
    request = request_of()
    answer = edited("inpainting", request, tmp_path).image
    assert (answer[~request.mask] == request.image[~request.mask]).all()
    assert np.abs(answer[request.mask].astype(int) - request.known["target"][request.mask]).max() < 25


def test_a_donor_that_fits_is_blended_in_and_the_rest_changes_by_about_one_level(tmp_path):
    request = request_of()
    fitting = request_of(known=dict(request.known) | {"donor": request.known["target"] + np.uint8(30)})
    answer = edited("poisson", fitting, tmp_path).image.astype(int)
    assert np.abs(answer - request.known["target"])[request.mask].max() <= 4  # the donor's level is not taken over
    assert np.abs(answer - request.image)[~request.mask].max() <= 2


def test_a_donor_is_moved_to_where_the_mask_is(tmp_path):
    image = np.full((96, 96, 3), 100, np.uint8)
    donor, donor_mask = np.full((96, 96, 3), 60, np.uint8), np.zeros((96, 96), bool)
    donor[64:76, 54:71], donor_mask[60:80, 50:75] = 160, True
    moved = request_of(image=image, known={"donor": donor, "donor_mask": donor_mask})
    answer = edited("poisson", moved, tmp_path).image
    assert answer[40, 32, 0] > 170 and answer[70, 62, 0] == pytest.approx(100, abs=2)


def test_a_mask_at_the_edge_can_be_blended(tmp_path):
    mask = np.zeros((96, 96), bool)
    mask[:6, :40] = True
    assert edited("poisson", request_of(mask=mask), tmp_path).image.shape == (96, 96, 3)


def test_careless_errs_by_zoom_gain_and_side(tmp_path):
    request = request_of()
    answer = edited("careless", request, tmp_path).image.astype(int)
    inside, mirrored = request.image[40, 32].astype(int), (40, 95 - 32)
    assert answer[40, 32].mean() > inside.mean() - 10  # still there
    assert answer[mirrored].mean() < request.image[mirrored].mean() - 60  # taken off where nothing was


@pytest.mark.parametrize("name", ["inpainting", "poisson", "careless"])
def test_an_empty_mask_asks_for_no_change(name, tmp_path):
    request = request_of(mask=np.zeros((96, 96), bool))
    request = EditRequest("a", request.known["target"], "keep", request.mask, known=request.known)
    answer = edited(name, request, tmp_path).image
    assert (answer == request.image).all() == (name != "careless")


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("inpainting", {"mask": None}, "no mask"),
        ("poisson", {"known": {}}, "no image of another patient"),
        ("simulator", {"known": {}}, "target is not known"),
    ],
)
def test_what_an_editor_lacks_is_an_answer_that_says_so(name, changes, why, tmp_path):
    answer = edited(name, request_of(**changes), tmp_path)
    assert answer.kind == "no_answer" and answer.image is None and why in answer.detail


def test_a_setting_that_is_not_known_is_an_error():
    with pytest.raises(UserError, match="unknown setting 'strength'"):
        registry.make_editors({"poisson": {"strength": 2}}, {})
    assert local.CARELESS["zoom"] == 1.02
