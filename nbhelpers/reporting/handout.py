"""What goes with a paper: model card, filled checklists and data flow of a run."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from nbhelpers import style
from nbhelpers.reporting import checklists, flow, flow_diagram, model_card, run_facts
from nbhelpers.runs.stage import write_figure
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
    counts = flow.flow_counts(run_facts.read(folder))
    table = write_table(counts, folder / "flow.csv")
    written = [card, card.with_suffix(".html"), lists, table]
    if len(counts):
        style.use()
        figure = flow_diagram.figure_flow(counts)
        written += write_figure(figure, folder, "flow")
        plt.close(figure)
    return written
