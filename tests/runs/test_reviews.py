"""Reviewers' decisions: who and why, the last one of each, whole at any moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nbhelpers.errors import UserError
from nbhelpers.runs import reviews


def test_nobody_has_reviewed_anything_at_first(tmp_path: Path) -> None:
    assert reviews.read(tmp_path).empty and reviews.rejected(reviews.read(tmp_path), "simulator") == {}


def test_a_later_decision_takes_the_place_of_ones_own_earlier_one(tmp_path: Path) -> None:
    reviews.decide(tmp_path, "simulator", "007", "reject", "A. Reader", "two hearts")
    reviews.decide(tmp_path, "simulator", "007", "keep", "A. Reader")
    assert reviews.read(tmp_path)["decision"].tolist() == ["keep"]
    assert reviews.rejected(reviews.read(tmp_path), "simulator") == {}


def test_one_rejection_is_enough_and_names_who_and_why(tmp_path: Path) -> None:
    reviews.decide(tmp_path, "simulator", "007", "reject", "A. Reader", "two hearts")
    reviews.decide(tmp_path, "simulator", "007", "keep", "B. Reader")
    reviews.decide(tmp_path, "simulator", "007", "reject", "C. Reader", "letters")
    reviews.decide(tmp_path, "gemini", "008", "reject", "A. Reader", "no chest film")
    table = reviews.read(tmp_path)
    assert reviews.rejected(table, "simulator") == {"007": "A. Reader: two hearts; C. Reader: letters"}
    assert reviews.rejected(table, "gemini") == {"008": "A. Reader: no chest film"}


@pytest.mark.parametrize(("reviewer", "reason", "told"), [(" ", "why", "no reviewer"), ("A", " ", "without a reason")])
def test_a_rejection_needs_who_and_why(tmp_path: Path, reviewer: str, reason: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        reviews.decide(tmp_path, "simulator", "1", "reject", reviewer, reason)
    assert not (tmp_path / reviews.FILE).exists()


def test_reviewers_at_once_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: reviews.decide(tmp_path, "s", f"{n:03}", "reject", f"R{n % 4}", "x"), range(40)))
    assert sorted(reviews.read(tmp_path)["image_id"]) == [f"{n:03}" for n in range(40)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("source;image_id;decision;reviewer;reason\ns; 007;Reject;Müller;zu dunkel\n", "Müller: zu dunkel"),
        ("# read on Monday\nSource,Image ID,Decision,Reviewer\ns,007,REJECT ,Müller\n", "Müller: no reason given"),
        ("source,image_id,decision,reviewer,reason,time\ns,007,reject,Müller,NA,\n", "Müller: NA"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_table_written_by_hand_counts_as_one_written_here(
    tmp_path: Path, text: str, told: str, encoding: str
) -> None:
    (tmp_path / reviews.FILE).write_text(text, encoding=encoding)
    assert reviews.rejected(reviews.read(tmp_path), "s") == {"007": told}
    reviews.decide(tmp_path, "s", "008", "keep", "B. Reader")
    assert reviews.rejected(reviews.read(tmp_path), "s") == {"007": told} and len(reviews.read(tmp_path)) == 2


def test_a_table_of_a_header_alone_has_no_decision(tmp_path: Path) -> None:
    (tmp_path / reviews.FILE).write_text(",".join(reviews.COLUMNS) + "\n")
    assert reviews.read(tmp_path).empty


@pytest.mark.parametrize("lines", ["s,1,maybe,A", "s,1,reject,", "s,1,keep,A\ns,1,reject,A", ",1,keep,A", "s,,keep,A"])
def test_a_table_that_is_broken_by_hand_is_named(tmp_path: Path, lines: str) -> None:
    (tmp_path / reviews.FILE).write_text(f"source,image_id,decision,reviewer\n{lines}\n")
    with pytest.raises(UserError, match=r"reviews\.csv"):
        reviews.read(tmp_path)
