"""What a user reads when something is wrong: what, where, what to do."""

from __future__ import annotations

from nbhelpers.errors import UserError


def test_one_error_is_one_line_of_what_where_and_what_to_do() -> None:
    assert str(UserError("a label is 2", "films.csv", "use 0 or 1")) == "a label is 2 [films.csv] -> use 0 or 1"
    assert str(UserError("a label is 2")) == "a label is 2"


def test_a_notebook_shows_the_message_and_no_stack() -> None:
    assert UserError("wrong", "here")._render_traceback_() == ["UserError: wrong [here]"]


def test_one_of_one_is_itself() -> None:
    error = UserError("wrong", "here")
    assert UserError.of([error]) is error


def test_several_of_one_place_are_a_table_that_names_it_once() -> None:
    told = str(UserError.of([UserError("a = 1", "x.yaml", "use 2"), UserError("long = 1", "x.yaml", "use 3")]))
    assert told.splitlines() == ["2 faults [x.yaml]", "  a = 1    -> use 2", "  long = 1 -> use 3"]


def test_several_of_several_places_name_each() -> None:
    told = str(UserError.of([UserError("a = 1", "x.yaml", "use 2"), UserError("no films", "films/")]))
    assert told.splitlines() == ["2 faults", "  a = 1    [x.yaml] -> use 2", "  no films [films/]"]
