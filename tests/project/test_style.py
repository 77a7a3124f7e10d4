"""How all figures look: colours that tell apart, and no simulated thing without its mark."""

from __future__ import annotations

import re
from html import unescape
from types import SimpleNamespace

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from nbhelpers import style


def luminance(colour: str) -> float:
    red, green, blue = to_rgb(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_classes_differ_without_colour_too() -> None:
    values = sorted(luminance(colour) for colour in style.LABEL_COLOURS.values())
    assert values[1] - values[0] > 0.3


def test_each_arm_has_a_colour_of_its_own_and_none_that_of_a_class() -> None:
    colours = style.arm_colours(["cropped", "raw", "roentgen_v2", "work"])
    assert list(colours) == ["cropped", "raw", "roentgen_v2", "work"]
    assert len({*colours.values(), *style.LABEL_COLOURS.values(), style.UNTRAINED_COLOUR}) == 7


def test_text_of_a_saved_figure_stays_text_and_the_same_figure_is_the_same_file() -> None:
    with mpl.rc_context():
        style.use()
        assert mpl.rcParams["svg.fonttype"] == "none" and mpl.rcParams["svg.hashsalt"]


@pytest.mark.parametrize(
    ("title", "simulated", "shown"),
    [
        ("raw", True, "raw (simulated)"),
        ("raw", False, "raw"),
        ("Other hospital (simulated)", True, "Other hospital (simulated)"),
        ("Simulated films", True, "Simulated films"),
    ],
)
def test_what_is_simulated_is_marked_once(title: str, simulated: bool, shown: str) -> None:
    assert style.marked(title, simulated) == shown


def test_arms_of_simulated_images_are_marked_and_others_are_not() -> None:
    arms = {
        name: SimpleNamespace(description=SimpleNamespace(simulated=simulated))
        for name, simulated in (("raw", True), ("mine", False))
    }
    assert style.arm_titles(arms) == {"raw": "raw (simulated)", "mine": "mine"}


@pytest.mark.parametrize(
    ("flags", "note"),
    [([True, True], " (simulated)"), ([True, False], " (in part simulated)"), ([False], ""), ([], "")],
)
def test_a_figures_note_says_whether_all_or_some_rows_are_simulated(flags: list[bool], note: str) -> None:
    assert style.simulated_note(flags) == note


def test_words_in_brackets_go_below() -> None:
    assert style.in_lines("raw (simulated)") == "raw\n(simulated)"
    assert style.named("simulator_roentgen") == "RoentGen-like simulator"


def test_names_of_films_are_short_where_there_is_little_room() -> None:
    assert style.short("train/NORMAL/IM-0115-0001.jpeg") == "IM-0115-0001"
    assert style.short("1.10") == "1.10" and style.short("00000000") == "00000000"
    told = style.short("1.2.826.0.1.3680043.8.498.1234567890", 16)
    assert len(told) <= 16 and told.startswith("1.2.826") and told.endswith("4567890")


def test_arms_of_a_run_differ_without_colour() -> None:
    looks = style.arm_looks([f"arm {i}" for i in range(8)]).values()
    assert len({look["marker"] for look in looks}) == len({str(look["linestyle"]) for look in looks}) == 8


def cells(page: str) -> list[str]:
    return [unescape(cell) for cell in re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", page, re.DOTALL)]


def test_a_table_is_shown_in_words_with_three_decimals_and_its_text_escaped() -> None:
    table = pd.DataFrame(
        {
            "dataset": ["folder_a"],
            "arm": ["roentgen_v2"],
            "n_patients": pd.array([None], dtype="Int64"),
            "auroc": [0.81249],
            "difference": ["-0.010 (-0.020 to +0.001)"],
            "simulated": [True],
            "film_name": ["<b>x</b>"],
        }
    )
    page = style.readable(table, {"folder_a": "Ward A"}).to_html()
    whole = "-0.010 (-0.020 to +0.001)".replace(" ", "\N{NO-BREAK SPACE}")
    assert cells(page)[:7] == ["data set", "arm", "patients", "AUROC", "difference", "simulated", "film name"]
    assert cells(page)[7:] == ["Ward A", "RoentGen-v2", "", "0.812", whole, "yes", "<b>x</b>"]
    assert "<b>" not in page and "&lt;b&gt;" in page


def test_a_table_with_names_as_its_index_or_over_two_rows_of_headings_keeps_them() -> None:
    table = pd.DataFrame({("simulator", "normal"): [0.5]}, index=pd.Index(["sex"], name="attribute"))
    assert cells(style.readable(table).to_html()) == ["attribute", "simulator, normal", "sex", "0.500"]


def test_an_empty_table_says_so_in_words() -> None:
    page = style.readable(pd.DataFrame(columns=["dataset", "reason"]), nothing="no film was left out").to_html()
    assert "no film was left out" in page and "reason" not in page
