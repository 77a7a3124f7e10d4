import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from training.training_fixture import disc_arm

from nbhelpers.training import figures, methods, splits

mpl.use("Agg")


def test_augmentation_shows_two_of_each_class_as_they_are_and_changed():
    table, images = disc_arm(8)
    split = splits.split_groups(table, 0.2, 0)
    rows = methods.training_rows(split, {"images": "8"}, 3)
    figure = figures.draw_augmented(split, images, rows, "films", 0, "training images", True)
    assert len(figure.axes) == 4 * 6
    assert figure.get_suptitle() == "training images (simulated)"
    first = min(rows[split["label"].iloc[rows] == 0])
    assert 4 <= len(rows) <= 8 < (split["split"] == "train").sum()
    shown = [axis.images[0].get_array() for axis in figure.axes[:6]]
    np.testing.assert_allclose(shown[0], images[first] / 255, atol=1e-6)
    assert all(np.abs(shown[0] - other).max() > 0.05 for other in shown[1:])
    labels = [figure.axes[row * 6].get_ylabel() for row in range(4)]
    assert labels == ["normal", "normal", "pneumonia", "pneumonia"]


def test_curves_are_the_history_and_the_kept_epoch_is_marked():
    history = pd.DataFrame({"epoch": [1, 2, 3], "best": [False, True, False]}).assign(
        train_loss=[0.7, 0.5, 0.4], val_loss=[0.6, 0.5, 0.55], train_auroc=[0.5, 0.8, 0.9], val_auroc=[0.6, 0.9, 0.8]
    )
    figure = figures.draw_history(history, "raw: training", False)
    assert figure.get_suptitle() == "raw: training"
    for axis, name in zip(figure.axes, ("loss", "auroc"), strict=True):
        training, validation, kept = axis.lines
        np.testing.assert_allclose(training.get_ydata(), history[f"train_{name}"])
        np.testing.assert_allclose(validation.get_ydata(), history[f"val_{name}"])
        assert list(kept.get_xdata()) == [2, 2]


def test_the_histogram_holds_every_validation_image_in_its_class():
    validation = pd.DataFrame({"label": [0, 0, 0, 1, 1], "score": [0.0, 0.2, 1.0, 0.9, 1.0]})
    figure = figures.draw_validation(validation, "raw: validation images", True)
    counts = [sum(bar.get_height() for bar in bars) for bars in figure.axes[0].containers]
    assert counts == [3, 2]
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["normal (n = 3)", "pneumonia (n = 2)"]
    assert figure.axes[0].patches[-1].get_height() == pytest.approx(1)
