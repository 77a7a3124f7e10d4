"""The images of an arm: those that cropping let through, read from disk when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.networks.preprocessing import load_images
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import sources_of, suggest
from nbhelpers.runs.tables import read_table


@dataclass(frozen=True)
class Stored:
    """`n` images or masks on disk: `stored[rows]` reads those, as an array, and `stored[:]` all. None is kept."""

    n: int
    read: Callable[[NDArray[np.intp]], NDArray[np.uint8]]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        return self.read(np.arange(self.n)[rows])


def load_arm(
    run_folder: Path | str,
    arms: Mapping[str, Mapping[str, str]],
    arm: str,
    size: int,
    workers: int = 0,
    note: Callable[[Path], Path] = Path,
) -> tuple[pd.DataFrame, Stored]:
    """The images of an arm that cropping let through.

    Parameters
    ----------
    run_folder : path
        `outputs/<run>`; its `02_cropping/<source>/images.csv` is read.
    arms : mapping
        Arm name to `source` (several are joined by `+`) and `crop`.
    arm : str
        The one to load.
    size : int
        Pixels along a side that the images are resized to.
    workers : int
        Threads that decode; 0 is one per CPU core.
    note : callable
        Told of each table that is read: a stage's `input`.

    Returns
    -------
    (table, images): the rows of the arm, and uint8 `(n, size, size)` in the same order, read when they are asked for.

    Raises
    ------
    UserError
        When the arm is unknown, a table is missing, or no image of this crop is left.
    """
    if arm not in arms:
        raise UserError(f"unknown arm {arm!r}", "arm", suggest(arm, arms))
    sources, crop, tables, files = sources_of(arms[arm]), arms[arm]["crop"], [], []
    for source in sources:
        path = Path(run_folder) / "02_cropping" / source / "images.csv"
        table = read_table(note(path), "cropped")
        rows = table[table["crop"] == crop]
        if rows.empty:
            raise UserError(f"no image has the crop {crop!r}", str(path), "run notebook 02 with this run's arms")
        kept = rows[rows["status"] == "ok"].reset_index(drop=True)
        if kept.empty:
            reasons = ", ".join(f"{reason} ({n})" for reason, n in rows["reason"].value_counts().items())
            raise UserError(f"all {len(rows)} images were excluded: {reasons}", str(path), "see notebook 02")
        files += [inside(path.parent, relative) for relative in kept["path"]]
        # Sources draw the same design: the pair stays one group, as its patient is one, the image is another.
        own = source + "/" + kept["image_id"] if len(sources) > 1 else kept["image_id"]
        tables.append(kept.assign(image_id=own))

    def read(rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        return load_images([files[row] for row in rows], size, desc=f"reading {arm}", workers=workers)

    return pd.concat(tables, ignore_index=True), Stored(len(files), read)
