"""All editors on all pictures, once and in a chain, and the table of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.editing import measures, optional
from nbhelpers.editing.pictures import Picture, check_pictures
from nbhelpers.errors import UserError
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.editors.edits import EditAnswer, Editor, EditRequest
from nbhelpers.image_models.purchases import check_budget
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
    editors = (registry.make_editors, parameters["editors"], parameters)
    return [editors, (_check_pictures, parameters), (optional.measures, parameters)]


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """Everything of `wanted` is there, and an editor is named."""
    faults = gathered(wanted(parameters))
    if not parameters["editors"]:
        faults = [UserError("no editor is named", "editors", "e.g. {nothing: , inpainting: }")]
    if faults:
        raise UserError.of(faults)


def _check_pictures(parameters: Mapping[str, Any]) -> None:
    """Whether the pictures are there, and whose would go where; what the simulator draws may go anywhere."""
    requests = [request_of(picture) for picture in check_pictures(parameters)]
    try:
        asked = _asked(registry.make_editors(parameters["editors"], parameters), parameters)
    except UserError:  # told by another check
        return
    registry.check_sending(asked, requests, parameters["send_patient_films_to"])


def _asked(editors: Sequence[Editor], parameters: Mapping[str, Any]) -> list[Any]:
    """All that pictures may be sent to: editors, and a model that judges."""
    found = optional.measures(parameters)
    return [*editors, *(measure for measure in found if isinstance(measure, optional.Judge))]


def save_pictures(pictures: Sequence[Picture], folder: Path) -> pd.DataFrame:
    """Write what is sent, and mask and target where known, below `pictures/`; the table of them, a row an edit.

    With the table and the files anyone can make the same edits elsewhere and bring them back (provider `folder`).
    """
    rows = []
    for picture in pictures:
        mask = None if picture.mask is None else picture.mask.astype(np.uint8) * np.uint8(255)
        name, parts = edit_id(picture), {"path": picture.image, "mask": mask, "target": picture.target}
        row: dict[str, Any] = {"edit_id": name}
        row |= {what: getattr(picture, what) for what in ("task", "kind", "image_id", "simulated", "instruction")}
        for what, pixels in parts.items():
            row[what] = f"pictures/{name}{'' if what == 'path' else '_' + what}.png" if pixels is not None else None
            if pixels is not None:
                write_png(folder / row[what], pixels)
        rows.append(row)
    return pd.DataFrame(rows)


def planned(
    editors: Sequence[Editor], pictures: Sequence[Picture], folder: Path, parameters: Mapping[str, Any]
) -> pd.DataFrame:
    """The table of `registry.plan_all`, and a row of the model that judges, where one does: all of it, at most."""
    table = registry.plan_all(editors, [request_of(picture) for picture in pictures], folder)
    rows = [
        {"editor": "judge", "provider": judge.service, "model": judge.asked.model}
        | {"edits": len(editors) * len(pictures), "estimate_usd": judge.estimate_usd(pictures, len(editors))}
        for judge in _asked((), parameters)
    ]
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table


def ask_all(
    editors: Sequence[Editor], pictures: Sequence[Picture], folder: Path, parameters: Mapping[str, Any]
) -> Answers:
    """The answers of all editors to all pictures, by editor and edit; see `registry.edit_all` for what is kept."""
    requests, budget = [request_of(picture) for picture in pictures], float(parameters["editing_budget_usd"])
    registry.check_sending(_asked(editors, parameters), requests, parameters["send_patient_films_to"])
    plan = planned(editors, pictures, folder, parameters)
    paid = plan[plan["estimate_usd"].notna()]
    if wanted := int(paid["still_wanted"].sum()):  # what came already may be judged for less
        check_budget(wanted, paid["estimate_usd"].sum(), paid["spent_usd"].max(), budget, registry.BUDGET)
    return registry.edit_all(editors, requests, folder, budget_usd=budget)


def edits_table(
    editors: Sequence[Editor], pictures: Sequence[Picture], answers: Answers, *measured: Any
) -> pd.DataFrame:
    """`edits.csv`: a row an edit, what came back and how it measures; empty where a number cannot be known.

    `measured` give further columns: those of anatomy, and what is optional.

    A picture that shows no change becomes `unchanged`. What came is measured, a draft too; an answer without a picture
    has no measure but `error_untouched`, the error of leaving the picture as it was.
    """
    wanted = [(editor, picture) for editor in editors for picture in pictures]
    with ThreadPoolExecutor(2) as pool:  # OpenCV and NumPy compute outside Python's lock
        made = pool.map(partial(_row, answers=answers), wanted)
        rows = list(progress(made, desc="measuring", total=len(wanted), unit="edit"))
    table = pd.DataFrame(rows)
    pairs = [(picture, answers[editor.name, edit_id(picture)].image) for editor, picture in wanted]
    return table.assign(**{name: values for one in measured for name, values in one.columns(pairs).items()})


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
    if answer.image is not None:
        row["detail"] = "; ".join(filter(None, (answer.detail, row["alignment"])))
    if answer.kind == "edited" and measures.is_unchanged(row):
        row["answer_kind"] = "unchanged"
    return row
