from __future__ import annotations

import numpy as np
import pytest
from editing import editing_fixture as known

from nbhelpers.editing import anatomy, edit
from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.editors.edits import EditAnswer
from nbhelpers.images.files import read_gray
from nbhelpers.runs.tables import check_table, read_table, write_table


class NoAnatomy(anatomy.Anatomy):
    def __init__(self):
        pass

    def columns(self, pairs):
        return {"lung_dice": [1.0] * len(pairs), "embedding_similarity": [1.0] * len(pairs)}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Pictures of all simulated tasks at 256 pixels, editors, answers, the table of edits, and their folder."""
    folder = tmp_path_factory.mktemp("edits")
    names = ("take_off_pacemaker", "take_off_lettering", "take_off_watermark", "add_consolidation")
    pictures = known.few_pictures(256, 3, (*names, "remove_consolidation", "leave_as_it_is"))
    editors = registry.make_editors(known.PARAMETERS["editors"], known.PARAMETERS)
    answers = edit.ask_all(editors, pictures, folder, known.PARAMETERS)
    return pictures, editors, answers, edit.edits_table(editors, pictures, answers, NoAnatomy()), folder


@pytest.fixture(scope="module")
def medians(found):
    """Median of each measure by editor, and task or kind."""
    table = found[3]
    return lambda editor, name, **chosen: table[
        (table["editor"] == editor) & (table[list(chosen)] == list(chosen.values())).all(axis=1)
    ][name].median()


def test_the_table_has_a_row_an_edit_and_the_promised_columns(found, tmp_path):
    pictures, editors, _, table, _ = found
    assert len(table) == len(pictures) * len(editors)
    check_table(table, "edits")
    back = read_table(write_table(table, tmp_path / "edits.csv", "edits"), "edits")
    assert np.isinf(back.loc[back["editor"] == "nothing", "psnr_outside"]).all()
    assert back["cost_usd"].isna().all()


def test_the_simulator_is_exact_and_the_floor_unchanged(found):
    table = found[3]
    ceiling, floor = (table[table["editor"] == name] for name in ("simulator", "nothing"))
    assert (ceiling["error_inside"].dropna() == 0).all() and np.isinf(ceiling["psnr_outside"]).all()
    assert set(ceiling["answer_kind"]) == {"edited", "unchanged"}
    assert (ceiling.loc[ceiling["answer_kind"] == "unchanged", "kind"] == "keep").all()
    assert (floor["answer_kind"] == "unchanged").all()
    assert floor["error_inside"].dropna().equals(floor["error_untouched"].dropna())
    assert ceiling["lesion_change"].dropna().to_numpy() == pytest.approx(1)
    assert floor["lesion_change"].dropna().to_numpy() == pytest.approx(0)


@pytest.mark.parametrize("task", ["take_off_pacemaker", "take_off_lettering", "take_off_watermark"])
def test_inpainting_is_better_than_nothing_for_devices_and_lettering(medians, task):
    assert medians("inpainting", "error_inside", task=task) < 0.8 * medians("nothing", "error_inside", task=task)
    assert medians("inpainting", "psnr_outside", task=task) == np.inf


def test_inpainting_is_worse_than_nothing_for_opacities(medians):
    task = "remove_consolidation"
    assert medians("inpainting", "error_inside", task=task) > medians("nothing", "error_inside", task=task)


def test_poisson_puts_a_lesion_where_it_belongs_and_changes_the_rest_by_about_one_level(medians):
    task = "add_consolidation"
    assert medians("poisson", "error_inside", task=task) < medians("nothing", "error_inside", task=task)
    assert medians("poisson", "lesion_change", task=task) > 0.4
    assert 255 * 10 ** (-medians("poisson", "psnr_outside", task=task) / 20) < 3


def test_careless_is_caught_by_zoom_gain_side_and_what_it_left_undone(found, medians):
    table = found[3]
    careless = table[table["editor"] == "careless"]
    assert careless["zoom"].median() == pytest.approx(1.02, abs=3e-3)
    assert careless["gain"].median() == pytest.approx(1.05, abs=0.02)
    assert careless["psnr_outside"].max() < 30
    wrong_side = careless[careless["task"].isin(["add_consolidation", "remove_consolidation", "take_off_pacemaker"])]
    assert (wrong_side["change_iou"] < 0.2).all() and (wrong_side["share_outside"] > 0.6).all()
    assert wrong_side["psnr_outside_aligned"].max() < 36, "a change on the wrong side stays after alignment"
    assert careless["lesion_change"].abs().max() < 0.3
    assert medians("careless", "error_inside", kind="remove") > 0.8 * medians("nothing", "error_inside", kind="remove")
    assert (careless["answer_kind"] == "edited").all()


def test_an_answer_without_a_picture_keeps_its_row_and_its_reason(found):
    pictures, editors, answers, _, _ = found
    name = editors[0].name
    changed = dict(answers)
    changed[name, edit.edit_id(pictures[0])] = EditAnswer("refused", detail="IMAGE_SAFETY", cost_usd=0.01)
    table = edit.edits_table(editors[:1], pictures, changed, NoAnatomy())
    row = table.iloc[0]
    assert (row["answer_kind"], row["detail"], row["cost_usd"]) == ("refused", "IMAGE_SAFETY", 0.01)
    assert np.isnan(row["error_inside"]) and np.isnan(row["psnr_outside"]) and row["error_untouched"] > 1
    assert len(table) == len(pictures)


def test_what_is_sent_can_be_edited_elsewhere_and_brought_back(found, tmp_path):
    pictures, _, answers, _, _ = found
    listed = edit.save_pictures(pictures, tmp_path)
    assert listed["edit_id"].is_unique and len(listed) == len(pictures)
    for row, picture in zip(listed.to_dict("records"), pictures, strict=True):
        assert (read_gray(tmp_path / row["path"]) == picture.image[..., 0]).all()
        assert ((read_gray(tmp_path / row["mask"]) > 127) == picture.mask).all()
    (brought,) = registry.make_editors({"web": {"provider": "folder", "path": str(tmp_path / "pictures")}}, {})
    back = edit.ask_all([brought], pictures, tmp_path / "out", known.PARAMETERS)
    assert all((back["web", edit.edit_id(one)].image == one.image).all() for one in pictures)
    assert answers


def test_a_second_run_has_the_same_answers(found, tmp_path):
    pictures, editors, answers, _, folder = found
    again = edit.ask_all(editors, pictures, folder, known.PARAMETERS)
    assert all((again[key].image == answers[key].image).all() for key in answers)
    assert [answer.path for answer in again.values()] == [answer.path for answer in answers.values()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"editors": {"poison": None}}, "did you mean 'poisson'"),
        ({"editors": {"nothing": {"strength": 1}}}, "unknown setting 'strength'"),
        ({"editing_tasks": ["add_consolidatoin"]}, "did you mean 'add_consolidation'"),
        ({"editing_pictures": "no/such.csv"}, "table not found"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_made(changes, message):
    faults = []
    for check, *arguments in edit.wanted(known.PARAMETERS | changes):
        try:
            check(*arguments)
        except UserError as fault:
            faults.append(str(fault))
    assert len(faults) == 1 and message in faults[0], faults


def test_patients_pictures_go_to_no_service_that_is_not_named(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "film.png"), np.full((96, 96), 90, np.uint8))
    (tmp_path / "own.csv").write_text("path,prompt,patient\nfilm.png,x,yes\n")
    asked = {
        "editors": {"nano": {"provider": "gemini", "model": "gemini-3-pro-image"}},
        "editing_pictures": str(tmp_path / "own.csv"),
    }
    checks = edit.wanted(known.PARAMETERS | asked)
    with pytest.raises(UserError, match="send_patient_films_to"):
        [check(*arguments) for check, *arguments in checks]
    for allowed in ({"send_patient_films_to": ["gemini"]}, {"editing_pictures": 2}):
        [check(*arguments) for check, *arguments in edit.wanted(known.PARAMETERS | asked | allowed)]
    assert edit.wanted(known.PARAMETERS | {"editors": {}}) == []


def test_a_notebook_is_told_of_an_editor_that_is_not_known(tmp_path):
    edit.check(known.PARAMETERS, tmp_path)
    with pytest.raises(UserError, match="unknown provider"):
        edit.check(known.PARAMETERS | {"editors": {"nobody": None}}, tmp_path)


@pytest.mark.parametrize("name", ["pictures", "images", "lungs", "answers"])
def test_an_editor_may_have_any_name_and_replaces_nothing_that_is_there(name, tmp_path):
    pictures = known.few_pictures(number=1)
    edit.save_pictures(pictures, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    (careless,) = registry.make_editors({name: {"provider": "careless"}}, {})
    edit.ask_all([careless], pictures, tmp_path, known.PARAMETERS)
    assert len(before) > 2 and all(path.read_bytes() == held for path, held in before.items())
