"""Notebook 06 at the screen: a wipe between a picture and what an editor made of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import ipywidgets as widgets
from matplotlib.figure import Figure

from nbhelpers.editing.edit import Answers, edit_id
from nbhelpers.editing.pictures import Picture, Pixels
from nbhelpers.images.contact_sheet import side_by_side
from nbhelpers.images.widgets import choice, picture, row, slider, watch, wiped, words
from nbhelpers.runs import front_end

INPUT, TRUE = "input", "ground truth"


def compare(pictures: Sequence[Picture], answers: Answers) -> widgets.Widget | Figure | None:
    """Any picture and its answers under a wipe, from the input or the true answer to an editor's.

    Where nobody is at the screen: the first picture beside the first answer to it that is another picture, if any is.
    """
    asked = {edit_id(one): one for one in pictures}
    editors = list(dict.fromkeys(editor for editor, _ in answers))

    def answer(editor: str, name: str) -> Pixels | None:
        return answers[editor, name].image if (editor, name) in answers else None

    if not front_end.live():
        came = ((name, editor, answer(editor, name)) for name in asked for editor in editors)
        shown = next(((n, e, image) for n, e, image in came if image is not None and e != "nothing"), None)
        return shown and side_by_side(
            {f"{INPUT}, {shown[0].replace('_', ' ')}": asked[shown[0]].image, shown[1]: shown[2]}
        )
    which = choice("edit", [(name.replace("_", " "), name) for name in asked])
    editor = choice("editor", [(name.replace("_", " "), name) for name in editors])
    of = choice("from", [INPUT, TRUE])
    turned, told, (view, to) = slider("from | editor", 0.5, 0, 1, 0.01, readout=False), widgets.HTML(), picture()

    def change() -> None:
        one, made = asked[which.value], answer(editor.value, which.value)
        known = one.target if of.value == TRUE else one.image
        notes = [escape(one.instruction)]
        if known is None:
            notes.append("the ground truth is not known: the input is shown instead")
        if made is None:
            notes.append(f"no image received: {escape(answers[editor.value, which.value].kind.replace('_', ' '))}")
        before = one.image if known is None else known
        to(wiped(before, before if made is None else made, turned.value), "left of the line: the result of the editor")
        told.value = words(*notes)

    watch(change, which, editor, of, turned)
    return widgets.VBox([row(which, editor, of), turned, view, told])
