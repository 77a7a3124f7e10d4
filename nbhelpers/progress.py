"""Progress bars that read well in a terminal, in a log and in an executed notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(iterable: Iterable[Item] | None = None, desc: str = "", total: int | None = None, unit: str = "it") -> Any:
    """A tqdm bar over `iterable` (or one to `update` by hand, with `total`).

    On a terminal it redraws ten times a second. Elsewhere every redraw would be kept as a line of its own, so there
    it redraws every 15 seconds at most, and text bars are used in notebooks too: widgets are lost in saved copies.
    """
    live = sys.stderr.isatty()
    return tqdm(
        iterable,
        desc=desc,
        total=total,
        unit=unit,
        file=sys.stderr,
        mininterval=0.1 if live else 15.0,
        dynamic_ncols=live,
        ncols=None if live else 88,
        ascii=not live,
    )
