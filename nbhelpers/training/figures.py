"""Figures of a training: what augmentation does, how loss and AUROC went, and how the validation scores lie."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from nbhelpers.style import LABEL_COLOURS, PAGE_WIDTH, marked
from nbhelpers.training.arm_images import Stored
from nbhelpers.training.augmentation import augment, step_seed


def draw_augmented(
    split: pd.DataFrame,
    images: NDArray[np.uint8] | Stored,
    rows: NDArray[np.int64],
    policy: str,
    seed: int,
    title: str,
    simulated: bool,
    pairs: int = 2,
    draws: int = 5,
) -> Figure:
    """Contact sheet of augmentation: the first training images of either class, each with several draws.

    Parameters
    ----------
    split : DataFrame
        From `splits.split_groups`, in the order of `images`.
    images : uint8 array, shape (n, size, size)
        As they are before augmentation; the left column.
    rows : int array
        Those that train, from `methods.training_rows`.
    policy, seed
        As `augmentation.augment` takes them.
    title : str
        Heads the figure; `(simulated)` follows it where the images are.
    simulated : bool
        Whether the images came from a simulator.
    pairs, draws : int
        Images of each class, and augmented versions of each.

    Returns
    -------
    Figure
    """
    rows, labels = np.unique(rows), split["label"].to_numpy()
    shown = [row for label in (0, 1) for row in rows[labels[rows] == label][:pairs]]
    films = torch.from_numpy(np.array(images[shown])).unsqueeze(1).float() / 255
    columns = [films, *(augment(films, step_seed(seed, 1, draw), policy) for draw in range(draws))]
    side = PAGE_WIDTH / (draws + 1)
    figure, axes = plt.subplots(
        len(shown),
        draws + 1,
        figsize=(PAGE_WIDTH, side * len(shown) + 0.5),
        squeeze=False,
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01),
    )
    for column, batch in enumerate(columns):
        for row, film in enumerate(batch[:, 0].numpy()):
            panel = axes[row, column]
            panel.imshow(film, cmap="gray", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            sns.despine(ax=panel, left=True, bottom=True)
            if column == 0:
                panel.set_ylabel("pneumonia" if split["label"].iloc[shown[row]] else "normal")
    axes[0, 0].set_title("original")
    axes[0, 1].set_title("augmented", loc="left")
    figure.suptitle(marked(title, simulated))
    return figure


def draw_history(history: pd.DataFrame, title: str, simulated: bool) -> Figure:
    """Loss and AUROC by epoch, or by a ridge's strength, of training and validation images; what was kept is marked.

    Parameters
    ----------
    history : DataFrame
        `epoch, train_loss, val_loss, train_auroc, val_auroc` and `best` (bool), as `methods.learn` gives it; by
        `strength` where it has one.
    title : str
        Heads the figure; `(simulated)` follows it where the images are.
    simulated : bool
        Whether the images came from a simulator.
    """
    figure, axes = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 2.8))
    along = "strength" if "strength" in history else "epoch"
    named = {"strength": "ridge penalty"}.get(along, along)
    best = history.loc[history["best"], along].iloc[0]
    for panel, name, words in zip(axes, ("loss", "auroc"), ("binary cross-entropy (nats)", "AUROC"), strict=True):
        _curves(panel, history, along, name)
        panel.axvline(best, color="0.5", linewidth=0.8, linestyle=":", label=f"kept: {named} {best:g}")
        panel.set(xlabel=named, ylabel=words)
        if along == "strength":
            panel.set_xscale("log")
            panel.xaxis.set_major_formatter("{x:g}")
        else:
            panel.xaxis.get_major_locator().set_params(integer=True)
        panel.margins(x=0.03)
    axes[1].legend(loc="best", frameon=True, framealpha=1.0, edgecolor="none")
    figure.suptitle(marked(title, simulated))
    return figure


def _curves(panel: Axes, history: pd.DataFrame, along: str, name: str) -> None:
    styles = {"train": ("training" + " (augmented)" * (along == "epoch"), "o", "--"), "val": ("validation", "s", "-")}
    # Neither an arm's colour nor a label's.
    for colour, (part, (words, marker, line)) in zip(("#8a8a8a", "#222222"), styles.items(), strict=True):
        panel.plot(
            history[along],
            history[f"{part}_{name}"],
            color=colour,
            marker=marker,
            markersize=3.5,
            linestyle=line,
            label=words,
        )


def draw_validation(validation: pd.DataFrame, title: str, simulated: bool) -> Figure:
    """Histogram of the validation images' scores by class.

    Parameters
    ----------
    validation : DataFrame
        `label` (1 = pneumonia) and `score` in 0..1.
    title : str
        Heads the figure; `(simulated)` follows it where the images are.
    simulated : bool
        Whether the images came from a simulator.
    """
    figure, panel = plt.subplots(figsize=(PAGE_WIDTH * 0.7, 2.8))
    edges = np.linspace(0, 1, 26).tolist()
    for label, (words, colour) in enumerate(LABEL_COLOURS.items()):
        scores = validation.loc[validation["label"] == label, "score"].tolist()
        hatch = "///" if label else ""
        panel.hist(
            scores, edges, color=colour, alpha=0.6, edgecolor=colour, hatch=hatch, label=f"{words} (n = {len(scores)})"
        )
    panel.set(xlabel="score (probability of pneumonia)", ylabel="validation images", xlim=(0, 1))
    # Above the panel: scores may lie anywhere within it.
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    figure.suptitle(marked(title, simulated))
    return figure
