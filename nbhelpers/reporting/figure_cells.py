"""Where each figure of a run was made: the cell of the executed notebook, and the commit."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.runs.files import read_json
from nbhelpers.runs.stage import notebook_name

OF_AN_ARM = ("training", "drawn")  # figures of one arm, whose name follows


class Cell(NamedTuple):
    """A link to a cell in the run's folder, the notebook's name, and the commit that ran it."""

    link: str
    notebook: str
    commit: str


def cells(facts: RunFacts) -> dict[str, Cell]:
    """The cell that made each figure, by the figure's name: the one whose code has the name in quotes.

    A figure of one arm's training has the arm in its name, and is that arm's notebook's.
    """
    found: dict[str, Cell] = {}
    for stage, record in facts.stages.items():
        title, _, arm = stage.partition("/")
        notebook = f"notebooks/{notebook_name(title, arm or None)}"
        path = facts.folder / f"{notebook}.ipynb"
        if not path.is_file() or not path.with_suffix(".html").is_file():
            continue
        commit = str(record.get("git_commit") or "")[:12]
        for cell in read_json(path)["cells"]:
            for name in _named(cell, arm):
                link = f"{notebook}.html#cell-id={cell['id']}" if cell.get("id") else f"{notebook}.html"
                found.setdefault(name, Cell(link, path.stem, commit))
    return found


def _named(cell: dict[str, Any], arm: str) -> list[str]:
    """Figures that a cell saves: the last quoted word of `save_figure(...)`, and those that a comment names."""
    code = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
    names = re.findall(r'save_figure\((?:.*\W)?"(\w+)"\s*,?\s*\)', code, re.DOTALL)
    names += re.findall(r'# figure "(\w+)"', code)
    own = [kind for kind in OF_AN_ARM if kind in names or f'f"{kind}_' in code]
    return [*(name for name in names if name not in own), *(f"{kind}_{arm}" for kind in own if arm)]
