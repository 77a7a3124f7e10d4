"""Lungs and lesions of an arm's images, where their source knows them: what the simulator wrote beside each film."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.images.files import resize_gray
from nbhelpers.images.masks import Box
from nbhelpers.networks.lesions import DRAWN
from nbhelpers.runs.files import inside
from nbhelpers.runs.progress import progress
from nbhelpers.simulator.truth import read_truth
from nbhelpers.training.arm_images import Stored

SOURCES = ("simulator", "simulator_roentgen")  # whose images have masks


def load_masks(run_folder: Path | str, table: pd.DataFrame, size: int, name: str = "arm") -> Stored:
    """Shares (of 255) of lesion and lungs in each pixel of the images that a network sees.

    Parameters
    ----------
    run_folder : path
        `outputs/<run>`; masks are read from its `01_prompting/<source>/truth`.
    table : DataFrame
        The arm's images, from `arm_images.load_arm`: `image_id, source`, and the crop box.
    size : int
        Pixels along a side, as of the images.
    name : str
        Of the arm, for the progress bar.

    Returns
    -------
    uint8 `(n, 2, size, size)`, in the order of `table`, read when they are asked for; the channels are `lesions.DRAWN`.

    Raises
    ------
    UserError
        While they are read: when an image has no mask beside it, or one of another size than its crop box needs.
    """

    def read(rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        found, wanted = np.empty((len(rows), len(DRAWN), size, size), np.uint8), table.iloc[rows].to_dict("records")
        for number, row in enumerate(progress(wanted, desc=f"reading masks of {name}", unit="image")):
            found[number] = _cropped(Path(run_folder) / "01_prompting" / str(row["source"]), row, size)
        return found

    return Stored(len(table), read)


def _cropped(folder: Path, row: Mapping[Any, Any], size: int) -> NDArray[np.uint8]:
    # An arm of several sources names its images `<source>/<image_id>`.
    path = inside(folder, f"truth/{str(row['image_id']).removeprefix(str(row['source']) + '/')}.png")
    if not path.is_file():
        do = f"use it for the sources {' and '.join(SOURCES)} alone, another method for others"
        raise UserError("method lesions: there is no mask of this image", str(path), do)
    lungs, lesion, _ = read_truth(path)
    box = Box(*(int(row[side]) for side in Box._fields))
    if box.right > lungs.shape[1] or box.bottom > lungs.shape[0]:
        raise UserError(
            f"the mask has {lungs.shape[1]} x {lungs.shape[0]} pixels, the crop ends at {box.right}, {box.bottom}",
            str(path),
            "draw the images again: delete this source's folder",
        )
    part = np.s_[box.top : box.bottom, box.left : box.right]
    return np.stack([resize_gray(one[part].astype(np.uint8) * np.uint8(255), size) for one in (lesion, lungs)])
