"""The omnimodel's routes: what is asked, and what answers become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from segmentation.segmentation_fixture import photo, written_set

from nbhelpers.errors import UserError
from nbhelpers.segmentation import omnimodel
from nbhelpers.segmentation.answers import padded


def test_the_stand_in_draws_from_the_request_alone_and_says_what_it_is(tmp_path: Path) -> None:
    found = written_set(tmp_path, 4)
    made = omnimodel.answer(found, "stand_in", tmp_path / "s", {})
    assert "no omnimodel" in made.title and set(made.kinds) == {case["case"] for case in found.part("test")}
    before = [made.read(case["case"], (96, 96)) for case in found.part("test")]
    for path in (tmp_path / "masks").iterdir():
        path.unlink()  # it has no truth to look at
    again = omnimodel.answer(found, "stand_in", tmp_path / "t", {})
    after = [again.read(case["case"], (96, 96)) for case in found.part("test")]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_the_stand_in_draws_at_a_size_that_image_models_return() -> None:
    drawn = omnimodel.stand_in(padded(photo(shape=(288, 384)))[0])
    assert drawn.shape == (864, 1184, 3)
    assert np.unique(drawn).size > 10 and (drawn > 127).any(), "a soft edge, as JPEG leaves it"


def test_an_inverted_answer_is_turned_only_where_that_was_said_before(tmp_path: Path) -> None:
    found = written_set(tmp_path, 1)
    case = found.part("test")[0]
    image, truth = found.image(case), found.truth(case)
    drawn = np.dstack([(~truth).astype(np.uint8) * 255] * 3)
    made = omnimodel.answer(found, "stand_in", tmp_path / "s", {})
    for turn in (False, True):
        omnimodel.keep(made, case["case"], padded(drawn)[0], image, False, turn)
        assert made.kinds[case["case"]] == "inverted"
        assert ((made.read(case["case"], truth.shape) > 127) == (truth if turn else ~truth)).mean() > 0.99


def test_each_target_has_a_prompt_and_ones_own_goes_first(tmp_path: Path) -> None:
    found = written_set(tmp_path, 1, target="polyp")
    assert "polyp" in omnimodel.prompt_of(found, None) and omnimodel.prompt_of(found, "Mine.") == "Mine."


def test_an_unknown_omnimodel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'stand_in'"):
        omnimodel.answer(written_set(tmp_path, 1), "standin", tmp_path, {})
