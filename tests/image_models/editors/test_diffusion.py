"""Open weights as an editor: a tiny Kontext of random weights through the real diffusers code."""

import numpy as np
import pytest
from image_models.kontext_fixture import tiny_kontext  # noqa: F401
from image_models.services_fixture import edit
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import diffusion, registry

EXPERIMENT = {"device": "cpu", "seed": 3}


def klein(folder, experiment=EXPERIMENT, **more):
    spec = {"klein": {"provider": "diffusers", "model": str(folder), "steps": 2, **more}}
    return registry.make_editors(spec, experiment)


def edited(editors, wanted, folder):
    answers = registry.edit_all(editors, wanted, folder, budget_usd=0.0)
    return {edit_id: answer for (_, edit_id), answer in answers.items()}


def test_pictures_are_drawn_once_in_their_own_size_and_cut_back(tiny_kontext, tmp_path, monkeypatch):  # noqa: F811
    editors, wanted = klein(tiny_kontext), [edit("a", (100, 130)), edit("b", (60, 60))]
    assert registry.plan_all(editors, wanted, tmp_path)["model"].tolist() == [str(tiny_kontext)]
    answers = edited(editors, wanted, tmp_path)
    assert [(one.width, one.height, one.width_asked) for one in answers.values()] == [(144, 144, 144), (64, 64, 64)]
    assert answers["a"].image.shape == (100, 130, 3) and answers["a"].seconds > 0 and answers["a"].cost_usd is None
    assert np.ptp(answers["a"].image) > 20 and answers["a"].kind == "edited" and answers["a"].model == str(tiny_kontext)
    monkeypatch.setattr(diffusion, "load_pipeline", lambda *_, **__: pytest.fail("the pipeline was loaded again"))
    again = edited(klein(tiny_kontext), wanted, tmp_path)
    assert all((again[name].image == answers[name].image).all() for name in "ab")
    assert again["a"].seconds == pytest.approx(answers["a"].seconds, abs=1e-3)


def test_the_seed_decides_and_all_else_that_does_draws_anew(tiny_kontext, tmp_path):  # noqa: F811
    one = edit("a", (60, 60))
    first = edited(klein(tiny_kontext), [one], tmp_path / "1")["a"]
    same = edited(klein(tiny_kontext), [edit("c"), one], tmp_path / "2")["a"]
    assert (first.image == same.image).all() and first.path == same.path, "whatever else is drawn"
    other = edited(klein(tiny_kontext, EXPERIMENT | {"seed": 4}), [one], tmp_path / "1")["a"]
    asked = type(one)("a", one.image, "something else", patient=False)
    words = edited(klein(tiny_kontext), [asked], tmp_path / "1")["a"]
    assert len({first.path, other.path, words.path}) == 3 and (other.image != first.image).any()


def test_a_picture_that_was_cut_off_is_drawn_again(tiny_kontext, tmp_path):  # noqa: F811
    one = edit("a", (60, 60))
    first = edited(klein(tiny_kontext), [one], tmp_path)["a"]
    (tmp_path / first.path).write_bytes((tmp_path / first.path).read_bytes()[:200])
    assert (edited(klein(tiny_kontext), [one], tmp_path)["a"].image == first.image).all()


def test_a_size_may_be_set(tiny_kontext, tmp_path):  # noqa: F811
    answer = edited(klein(tiny_kontext, size=96), [edit("a", (60, 60))], tmp_path)["a"]
    assert (answer.width, answer.width_asked) == (96, 96) and answer.image.shape == (60, 60, 3)
    assert Image.open(tmp_path / answer.path).size == (96, 96)


def test_wrong_settings_and_a_model_that_is_not_there_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="2 faults") as told:
        klein("x", steps=0, size=100)
    assert "steps = 0" in str(told.value) and "a multiple of 16" in str(told.value)
    with pytest.raises(UserError, match="no model is named"):
        klein("")
    with pytest.raises(UserError, match=r"cannot be loaded.*editors, klein: model"):
        edited(klein(tmp_path / "nothing"), [edit("a")], tmp_path / "out")
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(UserError, match=r"needs the package 'diffusers'.*\[roentgen\]"):
        klein("x")
