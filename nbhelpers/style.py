"""How all figures and tables look: their style, colours and titles, and the mark of what is simulated."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pandas.io.formats.style import Styler

PAGE_WIDTH = 7.2  # inches: the text width of an A4 or letter page
UNTRAINED_COLOUR = "#777777"
# One light and one dark, so that they differ without colour too; none is an arm's.
LABEL_COLOURS = {"normal": "#8fb3c9", "pneumonia": "#7a1f4f"}
# What readers know under another name than files hold; figures, tables and reports take it from here.
NAMES = {
    "roentgen_v2": "RoentGen-v2",
    "roentgen": "RoentGen-v2",
    "simulator_roentgen": "RoentGen-like simulator",
    "gemini": "Gemini",
    "folder": "own images",
    "pixel_spacing": "pixel spacing",
    "view-adjusted": "adjusted for view",
    "centre_prior": "blob at the centre",
    "random_map": "random map",
    "randomised_weights": "random weights",
    "ppv": "PPV",
    "npv": "NPV",
    "auroc": "AUROC",
    "aupr": "AUPR",
    "brier": "Brier score",
    "iou": "IoU",
    "in_lungs": "in lungs",
    "gradient_whole": "gradient, whole film",
    "file_size": "file size",
    "not_fine_tuned": "before training",
}
# Columns of tables that hold such names, or those of arms and data sets.
_NAMING = (
    *("dataset", "data set", "arm", "network", "source", "trained_on", "map", "metric", "subgroup", "attribute"),
    *("baseline", "score"),
)
_HEADINGS = {
    **{
        "dataset": "data set",
        "image_id": "image",
        "n": "films",
        "n_positive": "films with pneumonia",
        "n_patients": "patients",
        "n_cell": "films in group",
        "cell": "group",
        "films_lesion": "films with known lesion",
        "films_lungs": "films with known lungs",
        "empty": "share of empty maps",
        "taken": "films sampled",
        "started_from": "initial weights",
        "size": "input size (px)",
        "usd": "USD",
        "vendi": "Vendi score",
        "vendi_centred": "Vendi score, centred",
        "mean_distance": "mean cosine distance",
        "effect": "effect size",
        "spearman": "Spearman's correlation",
        "empty_truths": "cases without target",
        "stand_in": "stand-in",
        "what": "description",
        "dice_mean": "mean Dice",
        "dice_q1": "lower quartile",
        "dice_q3": "upper quartile",
        "drawn_on_none": "drawn where there is none (share of images)",
        "ari_umap": "ARI UMAP",
        "ari_features": "ARI features",
    },
    **{"synthetic_auroc": "AUROC, synthetic", "synthetic_val_auroc": "AUROC, synthetic validation"},
    **{"ci_low": "95 % from", "ci_high": "to"},
}
_LEGEND_CHARACTERS = 115  # of a legend's type that a page is wide
_INTERVAL = re.compile(r"[-+]?[\d.]+ \([-+]?[\d.]+ to [-+]?[\d.]+\)")
# Markers and lines of arms, so that they differ without colour too.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))


def use() -> None:
    """Set the project's matplotlib style: legible at page width, safe for colour-blind readers, text kept as text."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "figure.figsize": (PAGE_WIDTH, 4.0),
            "figure.dpi": 110,
            "text.parse_math": False,  # what a service answered, and names of the user's, are no formulas
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


def named(name: object) -> str:
    """A name as readers know it, of sources that `+` joins each; one that `NAMES` does not hold stays as it is."""
    return "+".join(NAMES.get(one, one) for one in str(name).split("+"))


def arm_looks(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each arm, the same in every figure of a run: `color, marker, linestyle`."""
    return {
        name: {"color": colour, "marker": MARKERS[i % len(MARKERS)], "linestyle": LINES[i % len(LINES)]}
        for i, (name, colour) in enumerate(arm_colours(arms).items())
    }


def short(name: str, length: int = 22) -> str:
    """A film's name for a narrow place: its last part without the suffix, its middle cut out where it is still long."""
    last = re.sub(r"\.[A-Za-z]\w{1,4}$", "", name.rsplit("/", 1)[-1])
    half = (length - 1) // 2
    return last if len(last) <= length else f"{last[:half]}…{last[-half:]}"


def marked(title: str, simulated: bool) -> str:
    """A title, with `(simulated)` behind it where what it names was simulated and it does not say so itself."""
    return f"{title} (simulated)" if simulated and "simulated" not in title.lower() else title


def arm_titles(arms: Mapping[str, Any]) -> dict[str, str]:
    """Title of each arm by name; `arms` holds what has a `description`, as `networks.trained` gives it."""
    return {name: marked(named(name), arm.description.simulated) for name, arm in arms.items()}


def titles_of(*things: Mapping[str, Any]) -> dict[str, str]:
    """What figures and tables call arms, networks, samples or data sets, by name: each one's own `title`."""
    return {name: one.title for group in things for name, one in group.items()}


def readable(table: pd.DataFrame, titles: Mapping[str, str] | None = None, nothing: str = "none") -> Styler:
    """A table as a notebook shows it: headings and names in words, three decimals, no row numbers, text escaped.

    `titles` are those of arms and data sets by name, for columns and headings that hold names; `nothing` is what an
    empty table says in its place.
    """
    if table.empty:
        return pd.DataFrame({"": [nothing]}).style.hide().hide(axis="columns")
    if not isinstance(table.index, pd.RangeIndex):
        # Numbers of rows without a name tell a reader nothing; words without one stand first.
        unnamed = table.index.names == [None]
        numbers = unnamed and pd.api.types.is_integer_dtype(table.index)
        table = table.reset_index(drop=numbers).rename(columns={"index": "item"} if unnamed else {})
    known = NAMES | dict(titles or {})
    shown = table.astype(object).where(table.notna(), "")
    for column in shown:
        values = shown[column].map(_cell)
        shown[column] = values.map(lambda value: known.get(value, value)) if column in _NAMING else values
    shown.columns = pd.Index([_heading(column, known) for column in table.columns])
    align: list[Any] = [{"selector": "th, td", "props": "text-align: left; white-space: normal"}]
    return shown.style.hide().format(escape="html").set_table_styles(align)


def _heading(column: object, known: Mapping[str, str]) -> str:
    words = [str(part) for part in (column if isinstance(column, tuple) else (column,)) if part != ""]
    return ", ".join(known.get(word) or _HEADINGS.get(word) or word.replace("_", " ") for word in words)


def _cell(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:.3f}"
    text = str(value)
    # A value and its interval stay on one line.
    return text.replace(" ", "\N{NO-BREAK SPACE}") if _INTERVAL.fullmatch(text) else text


def negatives(sets: Iterable[Any]) -> str:
    """What the films without pneumonia are in some sets, each of which has a name for its own (`negatives`)."""
    return " or ".join(dict.fromkeys(str(one.negatives) for one in sets))


def simulated_note(simulated: Iterable[bool]) -> str:
    """What follows the title of a figure whose rows are simulated: all of them, a part, or none."""
    flags = [bool(flag) for flag in simulated]
    return " (simulated)" if flags and all(flags) else " (in part simulated)" if any(flags) else ""


def panels(
    rows: int, columns: int, height: float, titles: Sequence[str] = (), **layout: Any
) -> tuple[Figure, NDArray[np.object_]]:
    """A figure of page width, `height` inches high, and its axes `(rows, columns)`.

    `titles` go to the axes in order, each at the left behind its letter. `layout` is for `matplotlib.pyplot.subplots`.
    """
    figure, axes = plt.subplots(rows, columns, figsize=(PAGE_WIDTH, height), squeeze=False, **layout)
    for letter, title, axis in zip(ascii_uppercase, titles, axes.flat, strict=False):
        axis.set_title(f"{letter}   {title}", loc="left")
    return figure, axes


def in_rows(names: Iterable[str], most: int = 4) -> list[list[str]]:
    """Names of panels in rows of at most `most`, all rows but the last equally long."""
    told = list(names)
    columns = math.ceil(len(told) / math.ceil(len(told) / most))
    return [told[start : start + columns] for start in range(0, len(told), columns)]


def remove(unused: NDArray[np.object_]) -> None:
    """Take axes that hold nothing out of their figure's sight; their places stay empty."""
    for axis in unused.flat:
        axis.set_axis_off()  # type: ignore[attr-defined]


def shared_legend(figure: Figure, named: Axes | Sequence[Artist], place: str = "lower center", most: int = 4) -> None:
    """One legend for a whole figure, outside its axes, in as many columns as fit, `most` at most.

    It holds what one of the axes names, or `named` itself where it is a list; `place` is e.g. `lower center`.
    """
    handles = named.get_legend_handles_labels()[0] if isinstance(named, Axes) else list(named)
    longest = max(len(str(handle.get_label())) for handle in handles)
    fitting = int(_LEGEND_CHARACTERS / (longest + 7))  # with the line before each and the space between
    outside: Any = f"outside {place}"  # a name of a place, which the types of Matplotlib list one by one
    figure.legend(handles=handles, loc=outside, ncols=max(1, min(len(handles), most, fitting)))


def in_lines(title: str) -> str:
    """A title whose words in brackets stand below it, each on a line of its own, where there is little room."""
    return title.replace(" (", "\n(")
