from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from nbhelpers import style
from nbhelpers.validation import calibration, evaluation, figures, subgroups

mpl.use("Agg")
SETS = {
    "hospital": SimpleNamespace(title="Other hospital (simulated)"),
    "kermany": SimpleNamespace(title="Chest X-Ray (Kermany)"),
}
TITLES = {"cropped": "cropped (simulated)", "raw": "raw"}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture(scope="module")
def predictions():
    generator = np.random.default_rng(0)
    label = np.tile([0, 1], 100)
    films = pd.DataFrame(
        {
            **{"image_id": [f"f{i}" for i in range(200)], "patient_id": [f"p{i // 2}" for i in range(200)]},
            **{"label": label, "view": generator.choice(["AP", "PA"], 200), "sex": "female", "age": np.nan},
        }
    )
    parts = [
        films.assign(dataset=name, arm=arm, score=1 / (1 + np.exp(-generator.normal(label))))
        for name in SETS
        for arm in ("cropped", "raw")
    ]
    parts[-1] = parts[-1].assign(view="AP")
    parts[-2] = parts[-2].assign(view="AP")
    return pd.concat(parts, ignore_index=True)


def test_forest_has_a_row_for_all_films_and_each_subgroup_with_its_n(predictions):
    style.style()
    results = evaluation.metrics_table(predictions, n_resamples=20)
    figure = figures.forest(results, subgroups.metrics_table(predictions, n_resamples=20), SETS, TITLES)
    names = [[text.get_text() for text in axis.get_yticklabels()] for axis in figure.axes]
    assert [name.split(" (")[0] for name in names[0]] == ["all", "view AP", "view PA", "view-adjusted"]
    assert names[1] == ["all (n = 200)"]
    assert "(simulated)" in figure.axes[0].get_title(loc="left") and legend(figure) == list(TITLES.values())


def test_reliability_and_decision_curve_are_drawn_for_every_set_with_and_without_recalibration(predictions):
    style.style()
    recalibrated = calibration.add_recalibrated(predictions)
    figure = figures.reliability_and_decision(recalibrated, SETS, TITLES)
    # Of each set the decision curves, then a panel an arm.
    assert len(figure.axes) == 2 * (1 + 2)
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == ["cropped\n(simulated)", "raw"] * 2
    assert legend(figure)[:2] == list(TITLES.values())
    # Two arms, each as it comes and recalibrated; all and none treated.
    assert [len(axis.lines) for axis in figure.axes[::3]] == [6, 6]
    bare = recalibrated.assign(recalibrated=np.nan)
    figure = figures.reliability_and_decision(bare, SETS, TITLES)
    assert [len(axis.lines) for axis in figure.axes[::3]] == [4, 4]
