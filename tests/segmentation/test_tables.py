"""Tables as a reader sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from segmentation.segmentation_fixture import written_set
from segmentation.study_fixture import study

from nbhelpers.segmentation import omnimodel, tables


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory):
    return study(tmp_path_factory.mktemp("study"))


STAND_IN = "stand-in (no omnimodel)"


def test_the_comparison_shows_what_selection_alone_gives(found) -> None:
    shown = tables.comparison(found["comparison"], found["study"])
    first = shown[shown["selected by"] == "all"].iloc[0]
    assert first["swap p"] == "" and first["expected from selection alone"] == ""
    chosen = shown[shown["selected by"] == "specialist"]
    assert (chosen["expected from selection alone"].str.match(r"[+-]\d\.\d{3}$")).all() and (
        chosen["swap p"] != ""
    ).all()


def test_all_cases_are_shown_with_floors_and_both_ways_of_counting_a_missing_mask(found) -> None:
    shown = tables.overall(found["overall"], found["study"]).set_index("model")
    assert {"all foreground", "centred disc"} <= set(shown.index)
    assert shown.loc[STAND_IN, "answers with a mask"] == 11 and shown.loc["specialist", "won"] == ""
    assert float(shown.loc[STAND_IN, "Dice of these"]) > float(shown.loc[STAND_IN, "Dice"].split()[0])


def test_the_header_of_hd95_names_its_definition(found) -> None:
    assert "HD95 pooled, px" in tables.distances(found["overall"], found["study"], "pooled").columns


def test_kinds_count_each_case_once(found) -> None:
    kinds = tables.kinds(found["scores"]).set_index("answer_kind")
    assert kinds["cases"].sum() == 12 and not kinds.loc["refused", "mask"]


def test_a_stand_in_is_called_one_wherever_it_shows(tmp_path: Path) -> None:
    made = omnimodel.answer(written_set(tmp_path, 2), "stand_in", tmp_path / "s", {})
    assert tables.models({"d": [made]})["stand_in"].tolist() == [True]
    assert tables.model_titles({"d": [made]}) == {"omnimodel": STAND_IN}
