"""Progress bars that read well in a terminal, in a log and in an executed notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sized
from typing import Any, TypeVar

from tqdm import tqdm

from nbhelpers.runs import front_end

Item = TypeVar("Item")


def progress(iterable: Iterable[Item] | None = None, desc: str = "", total: int | None = None, unit: str = "it") -> Any:
    """A tqdm bar over `iterable` (or one to `update` by hand, with `total`).

    On a terminal it redraws ten times a second, and twice where somebody looks at the notebook. Elsewhere every redraw
    would be kept as a line of its own, so there it redraws every 15 seconds at most, and text bars are used in
    notebooks too: widgets are lost in saved copies. A notebook's bars go to standard output, since what a kernel writes
    to standard error is painted as an error. With nothing to do there is no bar.
    """
    notebook = front_end.in_notebook()
    stream = sys.stdout if notebook else sys.stderr
    terminal = stream.isatty()
    live = terminal or (notebook and front_end.live())
    count = len(iterable) if total is None and isinstance(iterable, Sized) else total
    return tqdm(
        iterable,
        desc=desc,
        total=total,
        unit=unit,
        file=stream,
        mininterval=0.1 if terminal else 0.5 if live else 15.0,
        dynamic_ncols=terminal,
        # A bar of fixed width, since the words beside it must not be cut; so wide a line is never reached.
        ncols=None if terminal else 300,
        bar_format=None if terminal or count is None else "{l_bar}{bar:20}{r_bar}",
        ascii=not live,
        disable=count == 0,
    )
