from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from validation.validation_fixture import SETS, TITLES, made_predictions

from nbhelpers import style
from nbhelpers.validation import calibration, evaluation, figures, subgroups

mpl.use("Agg")
TWO = {"hospital": SimpleNamespace(title="Other hospital (simulated)", negatives="no lung opacity"), **SETS}
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
    assert [name.split(" (")[0] for name in names[0]] == ["all", "view AP", "view PA", "adjusted for view"]
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


def test_figure_2_has_a_dot_an_interval_and_the_n_of_every_arm_and_set():
    style.use()
    predictions = made_predictions()
    other = predictions.assign(dataset="hospital", label=1 - predictions["label"])
    table = evaluation.metrics_table(pd.concat([predictions, other]), n_resamples=50)
    figure = figures.figure_2(table, {**SETS, "hospital": TWO["hospital"]}, TITLES)
    assert len(panels(figure)) == 4
    titles = [axis.get_title(loc="left") for axis in panels(figure)]
    assert [title[0] for title in titles] == list("ABCD") and all("(simulated)" in title for title in titles[2:])
    assert all("n = 240" in title for title in titles)
    for axis in panels(figure):
        assert len(axis.containers) == 2 and not axis.patches  # an interval an arm, no bar
    for metric, axis in zip(("auroc", "aupr"), panels(figure)[:2], strict=True):
        mine = table[(table["dataset"] == "kermany") & (table["metric"] == metric) & table["primary"]]
        assert [float(c[0].get_xdata()[0]) for c in axis.containers] == pytest.approx(list(mine["value"]))
    names = [tick.get_text() for tick in panels(figure)[0].get_yticklabels()]
    assert names == ["good\n(simulated)", "bad"]


def texts(figure):
    """Places of what is written on a figure, by text, in pixels."""
    figure.canvas.draw()
    found = [*figure.texts, *(text for one in figure.legends for text in one.get_texts())]
    for axis in panels(figure):
        found += [axis.title, axis._left_title, axis.xaxis.label, axis.yaxis.label]
    return [(text.get_text(), text.get_window_extent()) for text in found if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("n", [3, 10])
def test_nothing_written_runs_into_another_or_off_the_page_whatever_the_number_of_arms(predictions, n):
    style.use()
    arms = {f"mixed_{number}00": f"mixed_{number}00 (simulated)" for number in range(n)}
    mine = predictions[(predictions["arm"] == "raw") & (predictions["dataset"] == "hospital")]
    many = pd.concat([mine.assign(arm=arm) for arm in arms], ignore_index=True)
    sets = {"hospital": TWO["hospital"]}
    results = evaluation.metrics_table(many, n_resamples=20)
    drawn = {
        "scores": figures.score_distributions(many, sets, arms),
        "calibration": figures.reliability_and_decision(calibration.add_recalibrated(many), sets, arms),
        "roc_pr": figures.curves(many, sets, arms),
        "figure_2": figures.figure_2(results, sets, arms),
        "subgroups": figures.forest(results, subgroups.metrics_table(many, n_resamples=20), sets, arms),
    }
    for name, figure in drawn.items():
        width, height = figure.get_size_inches() * figure.dpi
        written = texts(figure)
        for number, (text, place) in enumerate(written):
            assert place.x0 >= 0 and place.x1 <= width and place.y0 >= 0 and place.y1 <= height, (name, text)
            assert [(name, text, other) for other, there in written[:number] if place.overlaps(there)] == []


def test_two_arms_differ_without_colour_in_every_figure(predictions):
    style.use()
    results = evaluation.metrics_table(predictions, n_resamples=20)
    for axis in figures.figure_2(results, TWO, ARMS).axes:
        assert len({container[0].get_marker() for container in axis.containers}) == 2
    lines = figures.curves(predictions, TWO, ARMS).axes[0].lines[:2]
    assert len({line.get_linestyle() for line in lines}) == 2


def test_the_precision_recall_curve_does_not_start_at_precision_0():
    part = pd.DataFrame({"label": [0, 1, 1, 0, 1], "score": [0.9, 0.8, 0.7, 0.6, 0.5]})
    recall, precision = figures._precision(part)
    assert recall[-1] == 0 and precision[-1] == precision[-2] == 0.5
    # The area under its steps is scikit-learn's average precision.
    assert float(np.sum(-np.diff(recall) * precision[:-1])) == pytest.approx(
        average_precision_score(part["label"], part["score"])
    )


def test_the_roc_curve_has_the_frozen_threshold_on_it(predictions):
    style.use()
    thresholds = pd.DataFrame({"arm": ["cropped"], "threshold": [0.6]})
    axis = figures.curves(predictions, TWO, ARMS, thresholds).axes[0]
    part = predictions[(predictions["arm"] == "cropped") & (predictions["dataset"] == "hospital")]
    called = part["score"] >= 0.6
    (point,) = [line for line in axis.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert point.get_ydata()[0] == pytest.approx(called[part["label"] == 1].mean())
    assert point.get_xdata()[0] == pytest.approx(called[part["label"] == 0].mean())


def test_a_subgroup_without_a_value_has_no_row_and_is_named_below(predictions):
    style.use()
    results = evaluation.metrics_table(predictions, n_resamples=20)
    groups = subgroups.metrics_table(predictions, n_resamples=20)
    groups.loc[groups["subgroup"] == "view PA", ["value", "ci_low", "ci_high"]] = np.nan
    axes = figures.forest(results, groups, TWO, ARMS).axes
    assert not any("view PA" in text.get_text() for text in axes[0].get_yticklabels())
    assert "view PA (n = " in axes[-1].get_xlabel()


def test_what_the_negatives_of_a_set_are_stands_in_its_legend(predictions):
    style.use()
    hospital = predictions[predictions["dataset"] == "hospital"]
    assert legend(figures.score_distributions(hospital, TWO, ARMS)) == ["no lung opacity", "pneumonia"]


def test_published_mark_is_drawn_on_the_matching_set_alone():
    style.use()
    predictions = made_predictions().replace({"arm": {"good": "cropped"}})
    table = evaluation.metrics_table(predictions, n_resamples=20)
    marks = lambda figure: sum(len(axis.containers) > 2 for axis in panels(figure))  # noqa: E731
    assert marks(figures.figure_2(table, SETS, TITLES)) == 0
    assert marks(figures.figure_2(table.assign(n=5840), SETS, TITLES)) == 2


def test_curves_and_distributions_draw_every_arm_and_set():
    style.use()
    predictions = made_predictions()
    figure = figures.curves(predictions, SETS, TITLES)
    assert len(panels(figure)) == 2 and all(len(axis.lines) == 3 for axis in panels(figure))
    assert legend(figure) == ["good (simulated)", "bad"]
    figure = figures.score_distributions(predictions, SETS, TITLES)
    assert len(panels(figure)) == 2
