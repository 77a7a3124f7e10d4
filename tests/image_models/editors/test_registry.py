"""Editors by name, and all edits of a list by all of them."""

import numpy as np
import pytest
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.editors.edits import EditRequest


def request(edit_id="a", patient=True):
    return EditRequest(edit_id, np.zeros((40, 56, 3), np.uint8), "take off the pacemaker", patient=patient)


def test_all_that_is_wrong_with_all_editors_is_told_at_once():
    spec = {"flux": {"provider": "blf"}, "web": {"provider": "folder", "pth": "x"}, "a b": None, "old": 3}
    spec |= {"gone": {"provider": "withdrawn", "note": 5, "mode": "x"}, "l": {"provider": ["nothing"]}, "x" * 200: None}
    with pytest.raises(UserError) as told:
        registry.make_editors(spec, {})
    said = str(told.value)
    assert said.startswith("8 faults") and "did you mean 'bfl'?" in said and "did you mean 'path'?" in said
    for part in (
        "'a b' cannot name files",
        "xx' cannot name files",
        "unknown provider ['nothing']",
        "'old' is 3",
        "note = 5",
        "did you mean 'model'?",
    ):
        assert part in said


def test_two_editors_share_no_folder_where_capitals_do_not_count():
    with pytest.raises(UserError, match="two editors 'Flux'"):
        registry.make_editors({name: {"provider": "nothing"} for name in ("flux", "Flux")}, {})


def test_an_editor_without_settings_is_the_provider_of_its_name():
    (editor,) = registry.make_editors({"withdrawn": None}, {})
    assert (editor.name, editor.provider, editor.service) == ("withdrawn", "withdrawn", "")


class Service:
    name = provider = service = "bfl"


def test_patients_pictures_go_to_no_service_that_is_not_named():
    wanted = [request("a"), request("b", patient=False)]
    with pytest.raises(UserError, match=r"1 patient images would go to bfl.*send_patient_films_to: \[gemini, bfl\]"):
        registry.check_sending([Service()], wanted, ["gemini"])
    registry.check_sending([Service()], wanted, ["bfl"])
    registry.check_sending([Service()], wanted[1:], [])
    registry.check_sending(registry.make_editors({"withdrawn": None}, {}), wanted, [])
    with pytest.raises(UserError, match="did you mean 'gemini'"):
        registry.check_sending([], wanted, ["gemnii"])


def test_every_editor_has_its_answer_to_every_edit_in_the_order_of_the_file(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (56, 40), (9, 9, 9)).save(tmp_path / "in/b.png")
    spec = {"gone": {"provider": "withdrawn"}, "web": {"provider": "folder", "path": str(tmp_path / "in")}}
    editors = registry.make_editors(spec, {})
    plan = registry.plan_all(editors, [request("a"), request("b")], tmp_path / "out")
    assert plan[["editor", "model", "edits"]].values.tolist() == [["gone", "withdrawn", 2], ["web", "brought", 2]]
    assert not (tmp_path / "out").exists()
    answers = registry.edit_all(editors, [request("a"), request("b")], tmp_path / "out", budget_usd=0.0)
    assert list(answers) == [("gone", "a"), ("gone", "b"), ("web", "a"), ("web", "b")]
    assert [answer.kind for answer in answers.values()] == ["no_answer"] * 3 + ["edited"]


@pytest.mark.parametrize("ids", [["a", "a"], ["../a"], ["a b"], [""]])
def test_an_edit_has_an_id_of_its_own_that_names_files(ids, tmp_path):
    with pytest.raises(UserError, match="edit '"):
        registry.edit_all([], [request(one) for one in ids], tmp_path, budget_usd=1.0)
