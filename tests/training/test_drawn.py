from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from training.training_fixture import SIZE, disc_arm, disc_masks

from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import lesions, models
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.training import drawn, splits
from nbhelpers.training.train import Trained


class Drawing(lesions.LesionNetwork):
    """Draws what it is told to, whatever the image: the maps of the images in their order."""

    def __init__(self, maps):
        super().__init__()
        self.maps, self.at = maps, 0

    def forward_features(self, images):
        self.at += len(images)
        return [self.maps[self.at - len(images) : self.at], images]


@pytest.fixture
def arm():
    table, images = disc_arm(40)
    return splits.split_groups(table, 0.25, 0), images, disc_masks(40)


def stage(figures):
    """A stage that keeps its figures in a list."""

    def save_figure(figure, name):
        assert name == "drawn_discs"
        figures.append(figure)

    return SimpleNamespace(save_figure=save_figure)


def trained(model):
    made = ModelDescription(lesions.NAME, "random", Transform(SIZE), arm={"name": "discs"}, simulated=True)
    return Trained(model, made, None, None, 0)


def test_dice_is_that_of_the_validation_images_and_false_lesions_are_counted(arm):
    split, images, masks = arm
    rows = np.flatnonzero(split["split"] == "validation")
    ill = split["label"].to_numpy()[rows] == 1
    maps = torch.from_numpy(np.where(masks[rows] > 127, 1.0, -1.0)).float()
    maps[:, 0] = maps[:, 0].roll(2, dims=2)  # two pixels to the right
    maps[:, 0, 0, :] = 1.0  # and outside the lungs, from where no score is read
    maps[np.flatnonzero(~ill)[:2], 0, 4:7, 4:7] = 1.0  # drawn on two images that have no lesion
    figures = []
    table = drawn.save_drawn(trained(Drawing(maps)), split, images, masks, stage(figures), "discs").set_index("drawn")
    truth = masks[rows] > 127
    moved = [dice(np.roll(one, 2, axis=1) & lungs, one) for one, lungs in truth[ill]]
    assert table.loc["lesion", "dice_mean"] == pytest.approx(np.mean(moved)) and np.mean(moved) < 0.95
    assert table.loc["lesion", ["dice_q1", "dice_q3"]].tolist() == pytest.approx(
        np.quantile(moved, [0.25, 0.75]).tolist()
    )
    assert table.loc["lesion", "drawn_on_none"] == pytest.approx(2 / (~ill).sum())
    assert (table.loc["lesion", "images"], table.loc["lungs", "images"]) == (ill.sum(), len(rows))
    assert table.loc["lungs", "dice_mean"] == 1 and np.isnan(table.loc["lungs", "drawn_on_none"])
    above, below = figures[0].axes[:4], figures[0].axes[4:]
    told = [float(panel.get_title().removeprefix("lesion: Dice ")) for panel in above]
    assert told == sorted(told) and min(moved) - 0.005 <= told[0] and told[-1] <= max(moved) + 0.005
    assert all(panel.get_title().startswith("no lesion: drawn on ") for panel in below)
    assert figures[0].get_suptitle() == "discs (simulated)"
    plt.close("all")


def test_more_images_than_a_batch_are_drawn_as_one_by_one():
    _, images = disc_arm(20)
    model = models.build(lesions.NAME, seed=3).eval()
    together = drawn.drawn_masks(model, images, Transform(SIZE))
    alone = np.concatenate([drawn.drawn_masks(model, one[None], Transform(SIZE)) for one in images])
    assert together.shape == (40, 2, SIZE, SIZE) and (together == alone).mean() > 0.999


def test_a_method_without_masks_draws_none(arm):
    split, images, _ = arm
    assert drawn.save_drawn(trained(None), split, images, None, stage(None), "discs").empty


def test_images_that_all_have_a_lesion_leave_the_lower_row_empty(arm):
    split, images, masks = arm
    split = split[split["label"] == 1].reset_index(drop=True)
    ill = np.arange(1, 80, 2)
    maps = torch.full((int((split["split"] == "validation").sum()), 2, SIZE, SIZE), -1.0)
    figures = []
    table = drawn.save_drawn(trained(Drawing(maps)), split, images[ill], masks[ill], stage(figures), "discs")
    assert table["dice_mean"].tolist() == [0, 0] and table["drawn_on_none"].isna().all()
    assert [bool(panel.images) for panel in figures[0].axes] == [True] * 4 + [False] * 4
    plt.close("all")
