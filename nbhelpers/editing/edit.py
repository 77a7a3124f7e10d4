"""All editors on all pictures, once and in a chain, and the table of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.editing import measures
from nbhelpers.editing.anatomy import Anatomy
from nbhelpers.editing.pictures import Picture, check_pictures, load_pictures
from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.editors.edits import EditAnswer, Editor, EditRequest
from nbhelpers.images.files import write_png
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import gathered

Answers = dict[tuple[str, str], EditAnswer]


def edit_id(picture: Picture) -> str:
    """The name of one edit, and of its files."""
    return f"{picture.task}_{picture.image_id}"


def request_of(picture: Picture) -> EditRequest:
    """What every editor is asked of a picture."""
    patient, known = picture.patient, picture.known
    return EditRequest(edit_id(picture), picture.image, picture.instruction, picture.mask, patient, known)


def wanted(parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Checks of editors, tasks and pictures that are asked for, each a function and its arguments."""
    if not parameters["editors"]:
        return []
    made = (registry.make_editors, parameters["editors"], parameters)
    return [made, (check_pictures, parameters), (_check_sending, parameters)]


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """Everything of `wanted` is there, and an editor is named."""
    faults = gathered(wanted(parameters))
    if not parameters["editors"]:
        faults = [UserError("no editor is named", "editors", "e.g. {nothing: , inpainting: }")]
    if faults:
        raise UserError.of(faults)


def _check_sending(parameters: Mapping[str, Any]) -> None:
    """Whose pictures would go where; simulated ones may go anywhere, and what is wrong besides others tell."""
    if not isinstance(parameters["editing_pictures"], str):
        return
    try:
        editors = registry.make_editors(parameters["editors"], parameters)
        requests = [request_of(picture) for picture in load_pictures(parameters)]
    except UserError:
        return
    registry.check_sending(editors, requests, parameters["send_patient_films_to"])


def save_pictures(pictures: Sequence[Picture], folder: Path) -> pd.DataFrame:
    """Write what is sent, and mask and target where known, below `pictures/`; the table of them, a row an edit.

    With the table and the files anyone can make the same edits elsewhere and bring them back (provider `folder`).
    """
    rows = []
    for picture in pictures:
        name = edit_id(picture)
        row: dict[str, Any] = {
            "edit_id": name,
            "task": picture.task,
            "kind": picture.kind,
            "image_id": picture.image_id,
        }
        row |= {"simulated": picture.simulated, "instruction": picture.instruction, "path": f"pictures/{name}.png"}
        write_png(folder / row["path"], picture.image)
        mask = None if picture.mask is None else picture.mask.astype(np.uint8) * np.uint8(255)
        for what, pixels in (("mask", mask), ("target", picture.target)):
            row[what] = f"pictures/{name}_{what}.png" if pixels is not None else None
            if pixels is not None:
                write_png(folder / row[what], pixels)
        rows.append(row)
    return pd.DataFrame(rows)


def ask_all(
    editors: Sequence[Editor], pictures: Sequence[Picture], folder: Path, parameters: Mapping[str, Any]
) -> Answers:
    """The answers of all editors to all pictures, by editor and edit; see `registry.edit_all` for what is kept."""
    requests = [request_of(picture) for picture in pictures]
    registry.check_sending(editors, requests, parameters["send_patient_films_to"])
    return registry.edit_all(editors, requests, folder, budget_usd=float(parameters["editing_budget_usd"]))


def edits_table(
    editors: Sequence[Editor], pictures: Sequence[Picture], answers: Answers, anatomy: Anatomy
) -> pd.DataFrame:
    """`edits.csv`: a row an edit, what came back and how it measures; empty where a number cannot be known.

    A picture that shows no change becomes `unchanged`. What came is measured, a draft too; an answer without a picture
    has no measure but `error_untouched`, the error of leaving the picture as it was.
    """
    wanted = [(editor, picture) for editor in editors for picture in pictures]
    with ThreadPoolExecutor(2) as pool:  # OpenCV and NumPy compute outside Python's lock
        made = pool.map(partial(_row, answers=answers), wanted)
        rows = list(progress(made, desc="measuring", total=len(wanted), unit="edit"))
    table = pd.DataFrame(rows)
    pairs = [(picture, answers[editor.name, edit_id(picture)].image) for editor, picture in wanted]
    return table.assign(**anatomy.kept(pairs))


def _row(pair: tuple[Editor, Picture], answers: Answers) -> dict[str, Any]:
    editor, picture = pair
    answer = answers[editor.name, edit_id(picture)]
    row: dict[str, Any] = {
        **{"editor": editor.name, "provider": editor.provider, "model": answer.model, "task": picture.task},
        **{"kind": picture.kind, "image_id": picture.image_id, "answer_kind": answer.kind},
        **{name: getattr(answer, name) for name in ("seconds", "cost_usd", "width", "height")},
        **{name: getattr(answer, name) for name in ("width_asked", "height_asked", "path", "detail")},
        **{"edit_id": edit_id(picture), "simulated": picture.simulated},
    }
    row |= measures.measure(picture.image, answer.image, picture.mask, picture.target, picture.lesion)
    if answer.kind == "edited" and measures.is_unchanged(row):
        row["answer_kind"] = "unchanged"
    return row
