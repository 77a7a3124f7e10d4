from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from editing import editing_fixture as known

from nbhelpers import style
from nbhelpers.editing import edit, figures
from nbhelpers.image_models.editors.edits import EditAnswer


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def words(figure):
    return " | ".join(text.get_text() for text in figure.findobj(plt.Text))


def some_edits():
    pictures = known.few_pictures(number=1)
    given = {
        "good": lambda one: EditAnswer("edited", one.target, width=128, height=128),
        "other_size": lambda one: EditAnswer("edited", one.target, width=1152, height=896),
        "refusing": lambda one: EditAnswer("refused", detail="IMAGE_SAFETY: the request was blocked"),
    }
    answers = {(name, edit.edit_id(one)): make(one) for name, make in given.items() for one in pictures}
    rows = [
        {"editor": name, "edit_id": edit.edit_id(one), "answer_kind": answers[name, edit.edit_id(one)].kind}
        | {key: getattr(answers[name, edit.edit_id(one)], key) for key in ("width", "height", "detail")}
        for name in given
        for one in pictures
    ]
    return pictures, pd.DataFrame(rows), answers


def test_figure_5_shows_every_editor_and_what_came_as_something_else():
    pictures, table, answers = some_edits()
    figure = figures.figure_5(pictures, table, answers)
    told = words(figure)
    assert all(part in told for part in ("input", "ground truth", "good", "other size", "refusing", "(simulated)"))
    assert "refused" in told and "IMAGE_SAFETY" in told and "1152 x 896" in told and "128 x 128" not in told
    assert "grey levels" in told


def test_figure_5_takes_any_text_of_a_service_for_text(tmp_path):
    pictures, table, answers = some_edits()
    with plt.rc_context():
        style.use()
        table["detail"] = r"$\frac{ costs $5"
        table["alignment"] = "mirrored left to right"
        figure = figures.figure_5(pictures, table, answers)
        figure.savefig(tmp_path / "figure.svg")
    assert r"$\frac" in words(figure) and "mirrored left to" in words(figure)


def test_figure_5_has_one_scale_for_all_difference_maps():
    pictures, table, answers = some_edits()
    figure = figures.figure_5(pictures, table, answers)
    maps = [one for axis in figure.axes for one in axis.get_images() if one.get_array().ndim == 2]
    assert len(maps) > len(pictures) and {one.get_clim() for one in maps} == {(0, figures.SCALE)}
    first = next(one for one in maps if one.get_array().max() > 0)
    assert first.get_array().max() == np.abs(pictures[0].target.astype(int) - pictures[0].image).max()


def test_figure_5_leaves_the_true_answer_out_where_none_is_known():
    from dataclasses import replace

    pictures, table, answers = some_edits()
    unknown = [replace(one, target=None, mask=None, simulated=False) for one in pictures]
    told = words(figures.figure_5(unknown, table, answers))
    assert "ground truth" not in told and "simulated" not in told


def test_figure_5_prefers_tasks_of_different_kinds():
    names = ("take_off_pacemaker", "take_off_lines", "take_off_lettering", "take_off_watermark", "leave_as_it_is")
    shown = figures._examples(known.few_pictures(number=2, names=(*names, "add_consolidation")))
    assert len(shown) == 4 and {one.kind for one in shown} == {"remove", "keep", "add"}
    assert {one.image_id for one in shown} == {"patient_000"}


def test_measures_stand_where_the_table_says():
    rows = [
        {"editor": editor, "kind": kind, "task": "all", "n": 8}
        | {f"{name}{end}": value + shift for name in ("error_inside", "error_outside", "error_outside_aligned")
           for end, shift in (("", 0), ("_low", -1), ("_high", 1))}
        for editor, value in (("a", 5.0), ("b", 9.0))
        for kind in ("remove", "add", "all")
    ]  # fmt: skip
    figure = figures.measures(pd.DataFrame(rows), True)
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert [list(line.get_xdata()) for line in lines] == [[5, 9], [5, 9]] and "simulated" in words(figure)
    asked_for = [row | {"lpips": 0.2, "lpips_low": 0.1, "lpips_high": 0.3} for row in rows]
    more = figures.measures(pd.DataFrame(asked_for), True)
    assert [axis.get_title(loc="left") for axis in more.axes][3:] == ["D   LPIPS to the input", "", ""]
    assert not any(axis.axison for axis in more.axes[4:]) and len(figure.axes) == 3


def test_the_chain_starts_where_nothing_has_drifted():
    names = ("error_outside", "brightness", "zoom", "sharpness", "embedding_similarity", "error")
    table = pd.DataFrame(
        [
            {"editor": e, "step": s, "image_id": "chain_000"} | dict.fromkeys(names, 1.0 + s)
            for e in "ab"
            for s in range(1, 6)
        ]
    )
    figure = figures.chain(table)
    starts = {axis.get_title("left")[4:]: axis.get_lines()[0].get_ydata()[0] for axis in figure.axes[:5]}
    assert starts["zoom"] == starts["sharpness (start: 1)"] == 1 and starts["brightness (grey levels)"] == 0
    shown = figures.chain_pictures({"a": [np.zeros((8, 8, 3), np.uint8)] * 6})
    assert len(shown.axes) == 6
