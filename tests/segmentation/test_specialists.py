"""Routes of a specialist: each ends as maps of all test cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks.mask2former_fixture import mask2former_folder
from segmentation.segmentation_fixture import write, written_set

from nbhelpers.errors import UserError
from nbhelpers.metrics.overlap import dice
from nbhelpers.segmentation import evaluation, specialists

PARAMETERS = {
    "specialist_size": 64,
    "specialist_epochs": 1,
    "specialist_batch": 4,
    "specialist_learning_rate": 3e-3,
    "device": "cpu",
}


def split_set(root: Path):
    found = written_set(root, 9)
    found.cases["split"] = ["train"] * 6 + ["test"] * 3
    return found


def test_a_trained_network_is_kept_and_loads_as_another_runs_specialist(tmp_path: Path) -> None:
    found = split_set(tmp_path)
    made = specialists.answer(found, "train", "specialist", "specialist", tmp_path / "s", PARAMETERS, 0)
    assert made.kinds == {"c06": "mask", "c07": "mask", "c08": "mask"} and "small_unet, seed 0" in made.title
    kept = tmp_path / "s/networks/written/specialist"
    again = specialists.answer(found, f"smp:{kept}", "third", "third", tmp_path / "s", PARAMETERS, 0)
    assert (made.read("c07", (96, 96)) == again.read("c07", (96, 96))).all()


def test_masks_from_elsewhere_may_lie_in_a_folder_of_the_sets_name(tmp_path: Path, monkeypatch) -> None:
    found = split_set(tmp_path)
    for case in found.part("test"):
        write(tmp_path / f"maps/written/{case['case']}.png", found.truth(case).astype(np.uint8) * 255)
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    for spec in (f"masks:{tmp_path / 'maps'}", "masks:maps"):
        made = specialists.answer(found, spec, "specialist", "specialist", tmp_path / "s", PARAMETERS, 0)
        assert dice(made.read("c06", (96, 96)) > 127, found.truth(found.part("test")[0])) == 1


def test_a_second_annotator_is_one_more_model(tmp_path: Path) -> None:
    found = split_set(tmp_path)
    with pytest.raises(UserError, match="second annotator for 0 of 3"):
        specialists.answer(found, "annotator_2", "third", "third", tmp_path / "s", PARAMETERS, 0)
    found.cases["annotator_2"] = [masks[0] for masks in found.cases["masks"]]
    made = specialists.answer(found, "annotator_2", "third", "third", tmp_path / "s", PARAMETERS, 0)
    assert not made.swept and dice(made.read("c06", (96, 96)) > 127, found.truth(found.part("test")[0])) == 1


def test_a_second_annotator_who_lacks_cases_is_scored_on_the_others(tmp_path: Path) -> None:
    found = split_set(tmp_path)
    found.cases["annotator_2"] = [
        masks[0] if case != "c07" else None for case, masks in found.cases[["case", "masks"]].to_numpy()
    ]
    made = specialists.answer(found, "annotator_2", "third", "third", tmp_path / "s", PARAMETERS, 0)
    assert made.kinds == {"c06": "mask", "c07": "missing", "c08": "mask"}
    scores = evaluation.score_table({"d": found}, {"d": [made]}, [127])
    assert sorted(set(scores[scores["model"] == "third"]["case"])) == ["c06", "c08"]
    with pytest.raises(UserError, match="for 2 of 3"):
        specialists.answer(found, "annotator_2", "specialist", "specialist", tmp_path / "s", PARAMETERS, 0)


def test_a_mask2former_is_a_route_to_maps_of_any_size(tmp_path: Path) -> None:
    folder = mask2former_folder(tmp_path / "m2f", {0: "background", 1: "thing"})
    found = split_set(tmp_path)
    made = specialists.answer(found, f"mask2former:{folder}", "specialist", "specialist", tmp_path / "s", PARAMETERS, 0)
    assert made.read("c06", (96, 96)).shape == (96, 96) and set(made.kinds.values()) == {"mask"}


def test_an_unknown_route_and_a_folder_that_is_not_named_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'train'"):
        specialists.check_route("trian", "specialist")
    with pytest.raises(UserError, match="does not name an existing folder"):
        specialists.check_route("smp:", "specialist")
