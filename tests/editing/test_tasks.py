from __future__ import annotations

import pytest
import yaml

from nbhelpers.editing import tasks
from nbhelpers.errors import UserError

GOOD = {"kind": "remove", "instruction": "Take it off.", "simulated": "lines"}


def written(folder, **entries):
    (folder / "mine.yaml").write_text(yaml.safe_dump(entries))
    return folder / "mine.yaml"


def test_the_packaged_tasks_hold_all_that_is_promised():
    known = tasks.read_tasks()
    assert {task.simulated for task in known.values()} == {None, *tasks.THINGS}
    assert {task.kind for task in known.values()} == set(tasks.KINDS)
    assert {"costume", "background", "replace_object", "gesture"} <= {n for n, t in known.items() if not t.simulated}
    assert not any("{" in task.instruction for task in known.values())
    assert "lower lobe of the patient's right lung" in known["add_consolidation"].instruction


def test_a_copy_may_name_lobe_and_side(tmp_path):
    task = GOOD | {
        "simulated": "consolidation",
        "side": "left",
        "lobe": "upper",
        "instruction": "{lobe} {side} {other}",
    }
    assert tasks.read_tasks(written(tmp_path, mine=task))["mine"].instruction == "upper left {other}"


def test_a_list_keeps_its_order_and_a_file_means_all_that_is_drawn(tmp_path):
    named = ["leave_as_it_is", "take_off_lines"]
    assert [task.name for task in tasks.wanted_tasks(named)[1]] == named
    path = written(tmp_path, a=GOOD, photograph={"kind": "replace", "instruction": "x"})
    known, drawn = tasks.wanted_tasks(str(path))
    assert set(known) == {"a", "photograph"} and [task.name for task in drawn] == ["a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (GOOD | {"kind": "removes"}, "use remove, add, replace or keep"),
        (GOOD | {"simulated": "pacemakr"}, "use consolidation, pacemaker, .* or nothing"),
        (GOOD | {"instruction": "  "}, "no instruction"),
        ({"instruction": "x"}, "no kind"),
        (GOOD | {"instructions": "x"}, "did you mean 'instruction'"),
        (GOOD | {"side": 3}, "side = 3.*use right or left"),
        (GOOD | {"instruction": ["x"]}, "instruction = .*use text"),
        ("remove it", "a task is a mapping"),
        (GOOD | {"kind": "keep"}, "keep goes with nothing"),
        (GOOD | {"simulated": "nothing"}, "keep goes with nothing"),
        (GOOD | {"kind": "replace"}, "cannot replace objects"),
        (GOOD | {"simulated": "consolidation", "side": "left", "lobe": "middle"}, "no middle lobe"),
    ],
)
def test_a_wrong_task_is_one_clear_error(tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        tasks.read_tasks(written(tmp_path, a=given))


@pytest.mark.parametrize("names", [["all"], ["own"], ["OWN"], ["a b"], ["x" * 65], ["mine", "Mine"]])
def test_a_task_has_a_name_of_its_own_that_no_table_needs(tmp_path, names):
    with pytest.raises(UserError, match=r"cannot name a task|two tasks"):
        tasks.read_tasks(written(tmp_path, **dict.fromkeys(names, GOOD)))


def test_all_wrong_tasks_are_told_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        tasks.read_tasks(written(tmp_path, **{"a": {}, "b/c": GOOD, "d": GOOD | {"lobe": "low"}}))
    assert len(caught.value.parts) == 3


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["take_off_linse"], "did you mean 'take_off_lines'"),
        (["take_off_lines", "take_off_lines"], "name each once"),
        (["costume"], "for your own images"),
        ("no/such.yaml", "no/such.yaml"),
    ],
)
def test_a_wrong_list_of_tasks_is_one_clear_error(named, message):
    with pytest.raises(UserError, match=message):
        tasks.wanted_tasks(named)
