"""Attributes turned into a prompt and a pair, and drawn images reviewed under a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from nbhelpers.images.files import write_png
from nbhelpers.prompting import prompts, widgets
from nbhelpers.runs import front_end, reviews

TEMPLATES = prompts.load_templates()
DESIGN = prompts.design(4, 0, TEMPLATES)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_end, "live", lambda: True)


def named(shown: Any) -> dict[str, Any]:
    """Every widget that has a name, by it."""
    found = {}
    for one in getattr(shown, "children", ()):
        found |= named(one)
        if name := getattr(one, "description", ""):
            found[name] = one
    return found


def test_without_a_screen_the_first_pair_of_the_design_is_shown_with_its_prompts() -> None:
    figure = widgets.ask(DESIGN, TEMPLATES, 64)
    assert isinstance(figure, Figure)
    titles = [" ".join(axis.get_title(loc="left").split()) for axis in figure.axes]
    prompts_in_order = DESIGN["prompt"].head(2).tolist()
    assert titles == [f"pneumonia (simulated). {prompts_in_order[0]}", f"normal (simulated). {prompts_in_order[1]}"]


@pytest.mark.usefixtures("live")
def test_at_the_screen_a_menu_changes_both_prompts_and_both_images() -> None:
    shown = widgets.ask(DESIGN, TEMPLATES, 64)
    told, pictures = shown.children[2], [one.children[1] for one in shown.children[3].children]
    before = told.value, *(one.value for one in pictures)
    turned = named(shown)
    turned["sex"].value = "male" if turned["sex"].value == "female" else "female"
    turned["patient"].value = 5
    after = told.value, *(one.value for one in pictures)
    assert all(new != old for new, old in zip(after, before, strict=True))


@pytest.mark.usefixtures("live")
def test_every_level_of_every_menu_can_be_asked_for() -> None:
    turned = named(widgets.ask(DESIGN, TEMPLATES, 64))
    for menu in turned.values():
        for value in getattr(menu, "options", ()):
            menu.value = value[1] if isinstance(value, tuple) else value
    for box in (one for one in turned.values() if isinstance(one, ipywidgets.Checkbox)):
        box.value = True


def test_a_child_is_asked_for_as_a_child() -> None:
    attributes = DESIGN.iloc[0].to_dict() | {"wording_normal": "", "wording_pneumonia": ""}
    for label in ("normal", "pneumonia"):
        attributes[f"wording_{label}"] = sorted(TEMPLATES.findings[label])[0]
    made = widgets.pair(attributes | {"age": 5, "age_group": "child"}, TEMPLATES, 3, 64)
    assert "5" in made["normal"][0] and made["normal"][1].shape == (64, 64)
    assert not np.array_equal(made["normal"][1], made["pneumonia"][1])


@pytest.fixture
def images(tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    folder = tmp_path / "run" / "01_prompting"
    rows = []
    for number in range(4):
        write_png(folder / "simulator" / f"{number}.png", np.full((32, 32), 60 * number, np.uint8))
        label = ("normal", "pneumonia")[number % 2]
        rows.append(("simulator", f"{number:03}", label, "F", f"{number}.png", "ok", f"prompt {number}"))
    columns = ["source", "image_id", "label", "sex", "path", "status", "prompt"]
    return pd.DataFrame(rows, columns=columns), folder


def test_without_a_screen_the_decisions_so_far_are_listed(images: tuple[pd.DataFrame, Path]) -> None:
    reviews.decide(images[1].parent, "simulator", "001", "reject", "A. Reader", "two hearts")
    assert isinstance(widgets.review(*images), Styler)
    table = widgets.decisions(images[0], images[1].parent)
    assert table.to_numpy().tolist() == [["simulator", "001", "pneumonia", "reject", "A. Reader", "two hearts"]]


@pytest.mark.usefixtures("live")
def test_a_rejection_is_written_with_who_and_why_and_the_next_image_is_shown(
    images: tuple[pd.DataFrame, Path],
) -> None:
    shown = widgets.review(*images)
    turned = named(shown)
    turned["label"].value = "pneumonia"
    turned["reject"].click()  # nobody said who
    assert reviews.read(images[1].parent).empty and "no reviewer" in shown.children[3].value
    turned["reviewer"].value, turned["why"].value = "A. Reader", "two hearts"
    turned["reject"].click()
    turned["keep"].click()
    table = reviews.read(images[1].parent)
    assert table[["image_id", "decision"]].to_numpy().tolist() == [["001", "reject"], ["003", "keep"]]
    assert set(table["reviewer"]) == {"A. Reader"} and table["reason"][0] == "two hearts"
    assert "keep by A. Reader" in shown.children[3].value
