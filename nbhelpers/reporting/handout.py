"""What goes with a paper: model card, filled checklists and data flow of a run.

`python -m nbhelpers.reporting.handout outputs/demo` writes them; so does the report of every run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from nbhelpers import style
from nbhelpers.errors import UserError
from nbhelpers.reporting import checklists, flow, flow_diagram, model_card
from nbhelpers.runs.files import atomic_path
from nbhelpers.runs.tables import write_table


def write(run_folder: Path | str) -> list[Path]:
    """Write everything that is handed in beside a run's own tables and figures, and give the paths.

    `model_card.md` and `.html`; `checklists/`; `flow.csv`; `figures/flow.png` and `.svg`.

    Raises
    ------
    UserError
        When the folder holds no run.
    """
    folder = Path(run_folder)
    card, lists = model_card.write(folder), checklists.write(folder)
    counts = flow.flow_counts(folder)
    table = write_table(counts, folder / "flow.csv")
    written = [card, card.with_suffix(".html"), lists, table]
    if len(counts):
        style.style()
        figure = flow_diagram.figure_flow(counts)
        for suffix in (".png", ".svg"):
            path = folder / "figures" / f"flow{suffix}"
            with atomic_path(path) as temporary:
                figure.savefig(temporary, metadata={"Date": None} if suffix == ".svg" else None)
            written.append(path)
        plt.close(figure)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0, or 1 with one message on standard error."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if len(words) != 1:
        print("usage: python -m nbhelpers.reporting.handout outputs/<run>", file=sys.stderr)
        return 2
    try:
        print(*write(words[0]), sep="\n")
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
