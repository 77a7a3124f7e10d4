"""What editors are asked, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from nbhelpers.errors import UserError
from nbhelpers.runs.parameters import read_yaml, suggest
from nbhelpers.runs.stage import user_path

KINDS = ("remove", "add", "replace", "keep")
THINGS = ("consolidation", "pacemaker", "lines", "lettering", "watermark", "nothing")
SIDES, LOBES = ("right", "left"), ("upper", "middle", "lower")
PACKAGED = Path(__file__).with_name("tasks.yaml")


@dataclass(frozen=True)
class Task:
    """One instruction, and what the simulator draws so that its true answer is known."""

    name: str
    kind: str  # of `KINDS`
    instruction: str
    simulated: str = ""  # of `THINGS`; empty: for own pictures alone
    side: str = "right"
    lobe: str = "lower"


def read_tasks(path: Path = PACKAGED) -> dict[str, Task]:
    """The tasks of a YAML file by name; all that is wrong with it is one `UserError`."""
    found, faults = {}, []
    names = [one.name for one in fields(Task)][1:]
    for name, given in read_yaml(path).items():
        where = f"{path.name}, {name}"
        if not re.fullmatch(r"[A-Za-z0-9_]+", str(name)):
            faults.append(UserError(f"{name!r} cannot name a task", path.name, "use letters, digits and '_'"))
        elif not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            faults.append(UserError("a task is a mapping of texts", where, f"give it {', '.join(names)}"))
        elif lacking := [one for one in ("kind", "instruction") if not given.get(one, "").strip()]:
            faults.append(UserError(f"the task has no {lacking[0]}", where, f"give it {', '.join(names)}"))
        elif unknown := [one for one in given if one not in names]:
            faults.append(UserError(f"unknown entry {unknown[0]!r}", where, suggest(unknown[0], names)))
        else:
            faults += _faults(task := Task(str(name), **given), where)
            text = task.instruction.strip().replace("{side}", task.side).replace("{lobe}", task.lobe)
            found[task.name] = Task(task.name, task.kind, text, task.simulated, task.side, task.lobe)
    if faults:
        raise UserError.of(faults)
    return found


def _faults(task: Task, where: str) -> list[UserError]:
    allowed = {"kind": KINDS, "simulated": ("", *THINGS), "side": SIDES, "lobe": LOBES}
    found = [
        UserError(f"unknown {name} {getattr(task, name)!r}", where, suggest(getattr(task, name), filter(None, known)))
        for name, known in allowed.items()
        if getattr(task, name) not in known
    ]
    if task.simulated and (task.kind == "keep") != (task.simulated == "nothing"):
        found.append(UserError(f"kind {task.kind} with simulated: {task.simulated}", where, "keep goes with nothing"))
    if task.simulated and task.kind == "replace":
        found.append(UserError("the simulator cannot replace objects", where, "use remove, add or keep"))
    if task.simulated == "consolidation" and (task.side, task.lobe) == ("left", "middle"):
        found.append(UserError("the left lung has no middle lobe", where, "use upper or lower"))
    return found


def wanted_tasks(named: Sequence[str] | str) -> tuple[dict[str, Task], list[Task]]:
    """All tasks that may be named, and those that the simulator is to draw pictures for.

    `named` lists packaged tasks, or is the path of a YAML file, from the project's root, all of which is meant. A name
    that is unknown, or listed twice, and a task without `simulated` that a list names are a `UserError`.
    """
    if isinstance(named, str):
        known = read_tasks(user_path(named))
        return known, [task for task in known.values() if task.simulated]
    known = read_tasks()
    faults = [
        UserError(f"unknown task {name!r}", "editing_tasks", suggest(name, known))
        for name in named
        if name not in known
    ]
    if len(set(named)) < len(named):
        faults.append(UserError(f"editing_tasks = {list(named)!r}", "editing_tasks", "name each once"))
    do = "use it in the column prompt of your own table of images (editing_pictures)"
    faults += [
        UserError(f"task {name!r} is for your own images", "editing_tasks", do)
        for name in named
        if name in known and not known[name].simulated
    ]
    if faults:
        raise UserError.of(faults)
    return known, [known[name] for name in named]
