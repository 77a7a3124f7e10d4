"""What a network of method `lesions` draws on the validation images, against the masks that their source knows."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import nn

from nbhelpers.images.masks import Mask
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import scoring
from nbhelpers.networks.lesions import DRAWN, inside_lungs
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs import Stage
from nbhelpers.style import PAGE_WIDTH, marked
from nbhelpers.training import splits
from nbhelpers.training.arm_images import Stored
from nbhelpers.training.train import Trained

SHOWN = (0.1, 0.37, 0.63, 0.9)  # quantiles at which images are shown
_COLOURS = {"lesion": "#e69f00", "lungs": "#56b4e9"}


def drawn_masks(model: nn.Module, images: NDArray[np.uint8], transform: Transform) -> Mask:
    """Lesion and lungs that a `LesionNetwork` draws, bool `(n, 2, size, size)`, of uint8 images `(n, size, size)`.

    The lesion as the score is read from it, within the drawn lungs, computed as `scoring.predict` computes that score.
    """

    def head(maps: Any) -> torch.Tensor:
        lesion, lungs = maps[0].unbind(1)
        return torch.stack([(lesion > 0) & inside_lungs(lungs), lungs > 0], dim=1)

    device = str(next(model.parameters()).device)
    return np.concatenate(list(scoring.outputs(model, images, transform, device, scoring.CPU_BATCH, "", head))) > 0


def save_drawn(
    result: Trained,
    split: pd.DataFrame,
    images: NDArray[np.uint8] | Stored,
    masks: NDArray[np.uint8] | Stored | None,
    stage: Stage,
    name: str,
) -> pd.DataFrame:
    """Dice of what the trained network draws on the validation images, and the figure `drawn_<name>` of it.

    Parameters
    ----------
    result : Trained
        From `methods.learn`.
    split, images, masks
        As `methods.learn` took them.
    stage : Stage
        Saves the figure.
    name : str
        Of the network, in the figure's name and heading.

    Returns
    -------
    DataFrame
        `drawn` (lesion, lungs), `images` (those whose mask is not empty), `dice_mean, dice_q1, dice_q3`, and
        `drawn_on_none`: of the images without it the share on which it is drawn all the same. No row without masks.
    """
    if masks is None:
        return pd.DataFrame(columns=["drawn", "images", "dice_mean", "dice_q1", "dice_q3", "drawn_on_none"])
    rows = np.flatnonzero(split["split"] == splits.VALIDATION)
    films, truth = images[rows], masks[rows] > 127
    found = drawn_masks(result.model, films, result.description.transform)
    scores = np.array([[dice(*both) for both in zip(*pair, strict=True)] for pair in zip(found, truth, strict=True)])
    table = []
    for channel, structure in enumerate(DRAWN):
        there = truth[:, channel].any((1, 2))
        told = scores[there, channel]
        quartiles = np.quantile(told, (0.25, 0.75)) if len(told) else (np.nan, np.nan)
        false = found[~there, channel].any((1, 2)).mean() if not there.all() else np.nan
        table.append((structure, int(there.sum()), told.mean() if len(told) else np.nan, *quartiles, false))
    figure = _draw(films, found, truth, scores, marked(name, result.description.simulated))
    stage.save_figure(figure, f"drawn_{name}")
    return pd.DataFrame(table, columns=["drawn", "images", "dice_mean", "dice_q1", "dice_q3", "drawn_on_none"])


def _draw(films: NDArray[np.uint8], found: Mask, truth: Mask, scores: NDArray[np.floating], title: str) -> Figure:
    """Images with a lesion at quantiles of its Dice, above images without at quantiles of the area drawn on them."""
    there: Mask = np.asarray(truth[:, 0].any((1, 2)))
    area = found[:, 0].mean((1, 2))
    figure, axes = plt.subplots(2, len(SHOWN), figsize=(PAGE_WIDTH, 4.4), layout="constrained")
    for line, (of, value) in zip(axes, ((there, scores[:, 0]), (~there, area)), strict=True):
        ranked = np.flatnonzero(of)[np.argsort(value[of], kind="stable")]
        for panel, quantile in zip(line, SHOWN, strict=True):
            panel.set_axis_off()
            if not len(ranked):
                continue
            one = ranked[round(quantile * (len(ranked) - 1))]
            panel.imshow(films[one], cmap="gray", vmin=0, vmax=255)
            for channel, name in enumerate(DRAWN):
                for mask, style in ((truth[one, channel], "dashed"), (found[one, channel], "solid")):
                    if mask.any() and not mask.all():
                        panel.contour(mask, [0.5], colors=_COLOURS[name], linestyles=style, linewidths=1.0)
            told = f"lesion: Dice {scores[one, 0]:.2f}" if there[one] else f"no lesion: drawn on {area[one]:.1%}"
            panel.set_title(told, fontsize=8)
    handles = [Line2D([], [], color=colour, label=name) for name, colour in _COLOURS.items()]
    handles.append(Line2D([], [], color="0.3", linestyle="dashed", label="mask of the source"))
    handles.append(Line2D([], [], color="0.3", linestyle="solid", label="as drawn"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figure.suptitle(title)
    return figure
