from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from editing import editing_fixture as known

from nbhelpers.editing import chain
from nbhelpers.editing.pictures import Patient
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.editors.edits import EditAnswer


class NoAnatomy:
    def similarity(self, pairs):
        return [1.0 if answer is not None else float("nan") for _, answer in pairs]


def run(editors, folder, **changes):
    return chain.run_chains(editors, folder, known.PARAMETERS | {"editing_size": 256} | changes, NoAnatomy())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    spec = known.PARAMETERS["editors"] | {"gone": {"provider": "withdrawn"}}
    return run(registry.make_editors(spec, {}), tmp_path_factory.mktemp("chain"))


def test_each_state_differs_from_the_one_before_inside_its_mask_alone():
    films, masks = chain.states(Patient(3, 4, 256))
    assert len(films) == 6 and not masks[-1].any() and all(mask.any() for mask in masks[:-1])
    for before, after, mask in zip(films, films[1:], masks, strict=False):
        assert (before[~mask] == after[~mask]).all() and (before != after).any() == mask.any()


def test_every_editor_that_can_be_asked_goes_through_five_steps(found):
    table, shown = found
    assert set(table["editor"]) == set(known.PARAMETERS["editors"]) == set(shown), "nobody can be asked who is gone"
    assert all(part["step"].tolist() == [1, 2, 3, 4, 5] for _, part in table.groupby("editor"))
    assert all(len(images) == 6 for images in shown.values())


def test_floor_and_ceiling_do_not_drift_and_careless_does(found):
    last = found[0].query("step == 5").set_index("editor")
    for name in ("nothing", "inpainting", "simulator"):
        assert last.loc[name, "error_outside"] == 0 and last.loc[name, "sharpness"] == 1
    assert last.loc["simulator", "error"] == 0 < last.loc["inpainting", "error"] < last.loc["nothing", "error"]
    assert last.loc["careless", "error_outside"] > 15
    careless = found[0].query("editor == 'careless'")
    assert careless["zoom"].iloc[0] == pytest.approx(1.02, abs=4e-3)
    assert careless["zoom"].iloc[1] == pytest.approx(1.02**2, abs=8e-3)
    assert careless["brightness"].iloc[0] > 4 and careless["error_outside"].is_monotonic_increasing


class Fails:
    """Answers every other request, and writes down what it is sent."""

    name, provider, service = "fails", "fails", ""

    def __init__(self):
        self.sent = []

    def edit_all(self, requests, folder):
        (request,) = requests
        self.sent.append(request.image)
        if len(self.sent) % 2 == 0:
            return {request.edit_id: EditAnswer("refused")}
        return {request.edit_id: EditAnswer("edited", request.image + np.uint8(1))}


def test_a_step_without_a_picture_leaves_the_film_and_is_counted(tmp_path):
    editor = Fails()
    table, shown = run([editor], tmp_path, editing_size=128)
    assert table["answer_kind"].tolist() == ["edited", "refused", "edited", "refused", "edited"]
    assert (editor.sent[1] == shown["fails"][1]).all() and (editor.sent[2] == editor.sent[1]).all()
    assert table["error_outside"].tolist() == pytest.approx([1, 1, 2, 2, 3], abs=0.2)


def test_no_chain_where_none_is_wanted(tmp_path):
    table, shown = run([Fails()], tmp_path, editing_chains=0)
    assert isinstance(table, pd.DataFrame) and table.empty and shown == {}
