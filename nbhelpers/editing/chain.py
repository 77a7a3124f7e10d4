"""Five edits in a row by each editor, and what drifts where nothing was ever to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.editing import measures
from nbhelpers.editing.anatomy import Anatomy
from nbhelpers.editing.pictures import Patient, composed, rgb, some_patient
from nbhelpers.editing.tasks import read_tasks
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.editors.edits import Editor, EditRequest
from nbhelpers.runs.progress import progress

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Task, and what is still on the film after it.
CHAIN = (
    ("take_off_lettering", ("watermark", "pacemaker", "lines")),
    ("take_off_watermark", ("pacemaker", "lines")),
    ("take_off_pacemaker", ("lines",)),
    ("take_off_lines", ()),
    ("leave_as_it_is", ()),
)
_FIRST = ("lettering", "watermark", "pacemaker", "lines")
_NO_CHAIN = ("folder", "withdrawn")  # nobody is there to be asked again


def states(patient: Patient) -> tuple[list[Pixels], list[Mask]]:
    """The film that a chain begins with and the true answer of each step, grey, and where each step changes it."""
    films, masks = [patient.film(_FIRST)], []
    for task, left in CHAIN:
        _, after, mask = composed(films[-1], films[-1] if task == "leave_as_it_is" else patient.film(left))
        films.append(after)
        masks.append(mask)
    return films, masks


def run_chains(
    editors: Sequence[Editor], folder: Path, parameters: Mapping[str, Any], anatomy: Anatomy
) -> tuple[pd.DataFrame, dict[str, list[Pixels]]]:
    """The table of all chains, a row an editor, film and step; and of the first film each editor's pictures, from the
    start on.

    Each step is a fresh request with the picture that the step before left; an answer without a picture leaves it as it
    was, and counts. All is compared with the film that the chain began with, outside of everything that was ever to
    change: `error_outside` (root mean square grey levels), `brightness` (mean difference), `sharpness` (spread of the
    Laplacian over that at the start), `zoom` and `shift_px` of the alignment, `embedding_similarity`. `error` is that
    of the whole picture to what a perfect chain would have left by then.
    """
    tasks, budget = read_tasks(), float(parameters["editing_budget_usd"])
    asked = [editor for editor in editors if editor.provider not in _NO_CHAIN]
    rows: list[dict[str, Any]] = []
    shown: dict[str, list[Pixels]] = {}
    pairs: list[tuple[Pixels, Pixels]] = []
    for place in range(int(parameters["editing_chains"])):
        rng = np.random.default_rng([int(parameters["seed"]), 8, place])
        size = int(parameters["editing_size"])
        ours, theirs = (some_patient(rng, size, {"age_group": "adult"}) for _ in range(2))
        (films, masks), other = states(ours), theirs.film()
        outside = ~measures.grown(np.logical_or.reduce(masks))
        for editor in progress(asked, desc="five edits in a row", total=len(asked), unit="editor"):
            now = rgb(films[0])
            taken = [now]
            for step, (name, _) in enumerate(CHAIN, start=1):
                edit_id = f"chain_{place:03d}_step_{step}"
                known = {"target": rgb(films[step]), "donor": rgb(other), "donor_mask": masks[step - 1]}
                request = EditRequest(edit_id, now, tasks[name].instruction, masks[step - 1], False, known)
                answer = registry.edit_all([editor], [request], folder, budget_usd=budget)[editor.name, edit_id]
                now = now if answer.image is None else answer.image
                taken.append(now)
                pairs.append((taken[0], now))
                facts = {"editor": editor.name, "image_id": f"chain_{place:03d}", "step": step, "task": name}
                facts |= {"answer_kind": answer.kind, "seconds": answer.seconds, "cost_usd": answer.cost_usd}
                rows.append(facts | _drift(taken[0], now, rgb(films[step]), outside))
            shown.setdefault(editor.name, taken)
    table = pd.DataFrame(rows)
    return table.assign(embedding_similarity=anatomy.similarity(pairs)) if rows else table, shown


def _drift(start: Pixels, now: Pixels, true: Pixels, outside: Mask) -> dict[str, float]:
    aligned = measures.align(start, now, outside)
    return {
        "error_outside": measures.rms(start, now, outside),
        "brightness": float(now[outside].mean() - start[outside].mean()),
        "sharpness": _detail(now, outside) / _detail(start, outside),
        "zoom": aligned.zoom,
        "shift_px": aligned.shift,
        "error": measures.rms(now, true, np.ones_like(outside)),
    }


def _detail(image: Pixels, where: Mask) -> float:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return max(float(cv2.Laplacian(gray, cv2.CV_32F)[where].std()), 1e-6)
