import numpy as np
import pytest
from interpretability.interpretability_fixture import predictions

from nbhelpers.errors import UserError
from nbhelpers.interpretability import chosen_films


def test_examples_are_the_middle_films_of_their_cells():
    chosen, missing = chosen_films.choose_examples(predictions(), "toy", "one")
    # Scores rise with the number: f1 f3 f5 | f7 f9 f11 with pneumonia, f0 f2 f4 | f6 f8 f10 without.
    assert list(chosen["image_id"]) == ["f9", "f8", "f3", "f2"] and missing == []
    assert list(chosen["cell"]) == list(chosen_films.CELLS) and set(chosen["n_cell"]) == {3}
    assert chosen["score_two"].iloc[0] == pytest.approx(np.linspace(0.9, 0.1, 12)[9])


def test_more_examples_stay_around_the_middle_and_stop_at_the_cell():
    chosen, _ = chosen_films.choose_examples(predictions(), "toy", "one", per_cell=5)
    assert list(chosen["image_id"][:3]) == ["f7", "f9", "f11"] and len(chosen) == 12


def test_predictions_of_another_set_or_arm_are_one_clear_error():
    with pytest.raises(UserError, match="no prediction"):
        chosen_films.choose_examples(predictions(), "kermany", "one")
