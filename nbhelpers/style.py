"""What all figures share: style, colours, and how they are saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from nbhelpers.runs import Stage
from nbhelpers.runs.files import atomic_path

PAGE_WIDTH = 7.2  # inches: the text width of an A4 or letter page
UNTRAINED_COLOUR = "#777777"
# One light and one dark, so that they differ without colour too; none is an arm's.
LABEL_COLOURS = {"normal": "#8fb3c9", "pneumonia": "#7a1f4f"}


def style() -> None:
    """Set the project's matplotlib style: legible at page width, safe for colour-blind readers, text kept as text."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "figure.figsize": (PAGE_WIDTH, 4.0),
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 9.5,
            "axes.labelsize": 9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.fonttype": "none",
            # A fixed salt makes the same figure the same file.
            "svg.hashsalt": "nbhelpers",
        }
    )


def arm_colours(arms: Iterable[str]) -> dict[str, str]:
    """One colour an arm, the same in every figure of a run; `imagenet` and other untrained networks are grey."""
    names = list(arms)
    palette = sns.color_palette("colorblind", max(len(names), 1)).as_hex()
    return dict(zip(names, palette, strict=False))


def arm_title(name: str, simulated: bool) -> str:
    """What figures call an arm: `(simulated)` goes with one that was trained on simulated images."""
    return f"{name} (simulated)" if simulated else name


def arm_titles(arms: Mapping[str, Any]) -> dict[str, str]:
    """`arm_title` of each arm by name; `arms` holds what has a `description`, as `evaluation.load_arms` gives it."""
    return {name: arm_title(name, arm.description.simulated) for name, arm in arms.items()}


def two_lines(title: str) -> str:
    """A title whose `(simulated)` stands below it, where there is little room."""
    return title.replace(" (simulated)", "\n(simulated)")


def save_figure(figure: Figure, stage: Stage, name: str) -> None:
    """Write `outputs/<run>/figures/<name>.png` (200 dpi) and `.svg`, atomically."""
    for suffix in (".png", ".svg"):
        with atomic_path(stage.run_folder / "figures" / f"{name}{suffix}") as temporary:
            metadata = {"Date": None} if suffix == ".svg" else None
            figure.savefig(temporary, metadata=metadata)
