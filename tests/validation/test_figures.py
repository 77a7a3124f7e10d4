from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from validation.validation_fixture import SETS, TITLES, made_predictions

from nbhelpers import style
from nbhelpers.validation import calibration, evaluation, figures, subgroups

mpl.use("Agg")
TWO = {"hospital": SimpleNamespace(title="Other hospital (simulated)"), **SETS}
ARMS = {"cropped": "cropped (simulated)", "raw": "raw"}


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
        for name in TWO
        for arm in ("cropped", "raw")
    ]
    parts[-1] = parts[-1].assign(view="AP")
    parts[-2] = parts[-2].assign(view="AP")
    return pd.concat(parts, ignore_index=True)


def test_forest_has_a_row_for_all_films_and_each_subgroup_with_its_n(predictions):
    style.use()
    results = evaluation.metrics_table(predictions, n_resamples=20)
    figure = figures.forest(results, subgroups.metrics_table(predictions, n_resamples=20), TWO, ARMS)
    names = [[text.get_text() for text in axis.get_yticklabels()] for axis in figure.axes]
    assert [name.split(" (")[0] for name in names[0]] == ["all", "view AP", "view PA", "view-adjusted"]
    assert names[1] == ["all (n = 200)"]
    assert "(simulated)" in figure.axes[0].get_title(loc="left") and legend(figure) == list(ARMS.values())


def test_reliability_and_decision_curve_are_drawn_for_every_set_with_and_without_recalibration(predictions):
    style.use()
    recalibrated = calibration.add_recalibrated(predictions)
    figure = figures.reliability_and_decision(recalibrated, TWO, ARMS)
    # Of each set the decision curves, then a panel an arm.
    assert len(figure.axes) == 2 * (1 + 2)
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == ["cropped\n(simulated)", "raw"] * 2
    assert legend(figure)[:2] == list(ARMS.values())
    # Two arms, each as it comes and recalibrated; all and none treated.
    assert [len(axis.lines) for axis in figure.axes[::3]] == [6, 6]
    bare = recalibrated.assign(recalibrated=np.nan)
    figure = figures.reliability_and_decision(bare, TWO, ARMS)
    assert [len(axis.lines) for axis in figure.axes[::3]] == [4, 4]


def panels(figure):
    return [axis for axis in figure.axes if axis.get_visible()]


def test_figure_2_has_two_panels_a_set_with_bars_intervals_and_floors():
    style.use()
    predictions = made_predictions()
    other = predictions.assign(dataset="hospital", label=1 - predictions["label"])
    table = evaluation.metrics_table(pd.concat([predictions, other]), n_resamples=50)
    sets = {**SETS, "hospital": SimpleNamespace(title="Other hospital (simulated)")}
    figure = figures.figure_2(table, sets, TITLES)
    assert len(panels(figure)) == 4
    titles = [axis.get_title(loc="left") for axis in panels(figure)]
    assert [title[0] for title in titles] == list("ABCD") and all("(simulated)" in title for title in titles[2:])
    for axis in panels(figure):
        assert len(axis.patches) == 2  # one bar an arm
        assert [tick.get_text() for tick in axis.get_xticklabels()] == ["good\n(simulated)", "bad"]
    heights = [bar.get_height() for bar in panels(figure)[1].patches]
    mine = table[(table["dataset"] == "kermany") & (table["metric"] == "aupr") & table["primary"]]
    assert heights == pytest.approx(list(mine["value"]))


def test_published_mark_is_drawn_on_the_matching_set_alone():
    style.use()
    predictions = made_predictions().replace({"arm": {"good": "cropped"}})
    table = evaluation.metrics_table(predictions, n_resamples=20)
    marks = lambda figure: sum(len(axis.containers) > 1 + 1 for axis in panels(figure))  # noqa: E731
    assert marks(figures.figure_2(table, SETS, TITLES)) == 0
    assert marks(figures.figure_2(table.assign(n=5840), SETS, TITLES)) == 2


def test_curves_and_distributions_draw_every_arm_and_set():
    style.use()
    predictions = made_predictions()
    figure = figures.curves(predictions, SETS, TITLES)
    assert len(panels(figure)) == 2 and all(len(axis.lines) == 3 for axis in panels(figure))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["good (simulated)", "bad"]
    figure = figures.score_distributions(predictions, SETS, TITLES)
    assert len(panels(figure)) == 2
