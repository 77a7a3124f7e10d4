"""What editors are asked, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors.edits import settings_of
from nbhelpers.runs.parameters import read_yaml, suggest
from nbhelpers.runs.stage import user_path

KINDS = ("remove", "add", "replace", "keep")
THINGS = ("consolidation", "pacemaker", "lines", "lettering", "watermark", "nothing")
SIDES, LOBES = ("right", "left"), ("upper", "middle", "lower")
TAKEN = ("all", "own")  # rows of tables: means over tasks, and instructions that are no task's
PACKAGED = Path(__file__).with_name("tasks.yaml")


_KNOWN: dict[str, tuple[Any, Any]] = {
    "kind": (Literal[KINDS], None),
    "instruction": (str, ""),
    "simulated": (Literal[THINGS] | None, None),
    "caption": (str, ""),
    "side": (Literal[SIDES], "right"),
    "lobe": (Literal[LOBES], "lower"),
}


@dataclass(frozen=True)
class Task:
    """One instruction, and what the simulator draws so that its true answer is known."""

    name: str
    kind: str  # of `KINDS`
    instruction: str
    simulated: str | None  # of `THINGS`; None: for own pictures alone
    caption: str  # what the right answer shows, for CLIP; may be empty
    side: str
    lobe: str


def read_tasks(path: Path = PACKAGED) -> dict[str, Task]:
    """The tasks of a YAML file by name; all that is wrong with it is one `UserError`."""
    found: dict[str, Task] = {}
    faults: list[UserError] = []
    for name, given in read_yaml(path).items():
        try:
            if not re.fullmatch(r"[A-Za-z0-9_]{1,64}", str(name)) or str(name).lower() in TAKEN:
                do = f"use up to 64 letters, digits and '_', not {' or '.join(TAKEN)}"
                raise UserError(f"{name!r} cannot name a task", path.name, do)
            if str(name).lower() in (one.lower() for one in found):
                raise UserError(f"two tasks {name!r}, capitals aside", path.name, "name one otherwise")
            if not isinstance(given, dict):
                raise UserError("a task is a mapping", f"{path.name}, {name}", f"give it {', '.join(_KNOWN)}")
            task = Task(str(name), **settings_of(str(name), given, _KNOWN, path.name))
            _check(task, f"{path.name}, {name}")
            told = [
                text.strip().replace("{side}", task.side).replace("{lobe}", task.lobe)
                for text in (task.instruction, task.caption)
            ]
            found[task.name] = replace(task, instruction=told[0], caption=told[1])
        except UserError as error:
            faults += error.parts or (error,)
    if faults:
        raise UserError.of(faults)
    return found


def _check(task: Task, where: str) -> None:
    """What the entries of a task cannot say each alone."""
    if task.kind is None or not task.instruction.strip():
        raise UserError(f"the task has no {'instruction' if task.kind else 'kind'}", where, "give it one")
    if task.simulated and (task.kind == "keep") != (task.simulated == "nothing"):
        raise UserError(f"kind {task.kind} with simulated: {task.simulated}", where, "keep goes with nothing")
    if task.simulated and task.kind == "replace":
        raise UserError("the simulator cannot replace objects", where, "use remove, add or keep")
    if task.simulated == "consolidation" and (task.side, task.lobe) == ("left", "middle"):
        raise UserError("the left lung has no middle lobe", where, "use upper or lower")


def wanted_tasks(named: Sequence[str] | str) -> tuple[dict[str, Task], list[Task]]:
    """All tasks that may be named, and those that the simulator is to draw pictures for.

    `named` lists packaged tasks, or is the path of a YAML file, from the project's root, all of which is meant. A name
    that is unknown, or listed twice, and a task without `simulated` that a list names are a `UserError`.
    """
    if isinstance(named, str):
        known = read_tasks(user_path(named))
        return known, [task for task in known.values() if task.simulated]
    known, faults = read_tasks(), []
    for name in named:
        if name not in known:
            faults.append(UserError(f"unknown task {name!r}", "editing_tasks", suggest(name, known)))
        elif not known[name].simulated:
            do = "use it in the column prompt of your own table of images (editing_pictures)"
            faults.append(UserError(f"task {name!r} is for your own images", "editing_tasks", do))
    if len(set(named)) < len(named):
        faults.append(UserError(f"editing_tasks = {list(named)!r}", "editing_tasks", "name each once"))
    if faults:
        raise UserError.of(faults)
    return known, [known[name] for name in named]
