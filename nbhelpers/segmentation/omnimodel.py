"""The omnimodel: what is asked of it for each case, and what its answer becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from nbhelpers.errors import UserError
from nbhelpers.image_models import access
from nbhelpers.image_models.buying import buy, opened
from nbhelpers.image_models.editors import registry
from nbhelpers.image_models.editors.edits import Editor, EditRequest
from nbhelpers.image_models.gemini.client import Request
from nbhelpers.image_models.gemini.online import GeminiService
from nbhelpers.image_models.gemini.settings import Settings
from nbhelpers.image_models.geometry import RATIOS, padded, unpadded
from nbhelpers.image_models.ledger import image_key
from nbhelpers.image_models.purchases import Row
from nbhelpers.images.files import read_image
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress
from nbhelpers.segmentation import answers
from nbhelpers.segmentation.answers import Answers
from nbhelpers.segmentation.datasets import Pixels, SegmentationSet, to_gray
from nbhelpers.segmentation.specialists import brought_maps, check_route

ROUTES = ("stand_in", "masks", "gemini", "gemini_json", "editor")
# Outcomes of the ledger that brought no picture and were no refusal, as kinds of answers.
NO_PICTURE = {"corrupt": "broken", "text_only": "text_only", "no_image": "missing"}
STAND_IN = "stand-in (no omnimodel)"
# One a task, as the study has; its own wording is not repeated here.
_RULE = "in pure white, everything else pure black. Keep size and position of the image; add no text or shading."
PROMPTS = {
    "polyp": f"This is a frame of a colonoscopy. Draw its segmentation mask: every polyp filled {_RULE}",
    "vessels": "This is a fundus photograph. Draw its segmentation mask: every retinal blood vessel, down to the "
    f"thinnest and at its true width, {_RULE}",
    "lesion": "Draw the segmentation mask of this medical image (an image without a lesion gives a black picture): "
    f"every lesion filled {_RULE}",
    "lungs": f"This is a chest X-ray. Draw its segmentation mask: both lung fields filled {_RULE}",
    "object": f"Draw the segmentation mask of this image: its main object filled {_RULE}",
}

# The documented route of text models; the reply is read by `answers.read_boxes`.
JSON_PROMPT = (
    "Give the segmentation masks of every {} in this medical image. Output a JSON list of segmentation masks where "
    'each entry contains the 2D bounding box in the key "box_2d", the segmentation mask in key "mask", and the text '
    'label in the key "label". Give an empty list where there is none.'
)


def check_sending(
    spec: str, dataset: str, send_to: Sequence[str], parameters: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """A `UserError` where pictures of patients would go to a service that `send_patient_films_to` does not name.

    Route `editor:<name>` looks its editor up in the `editors` of `parameters`.
    """
    route, _, rest = spec.partition(":")
    service = _editor(rest, parameters).service if route == "editor" else route.partition("_")[0]
    if service in access.SERVICES and not dataset.startswith("simulated"):
        access.check_sending([service], f"the images of {dataset!r}", send_to)


def _editor(name: str, parameters: Mapping[str, Any]) -> Editor:
    known = parameters.get("editors") or {}
    if name not in known:
        do = suggest(name, known) if known else "name it in editors: {name: {provider: ..., model: ...}}"
        raise UserError(f"no editor is called {name!r}", "omnimodel", do)
    return registry.make_editors({name: known[name]}, parameters)[0]


def answer(found: SegmentationSet, spec: str, stage_folder: Path, parameters: Mapping[str, Any]) -> Answers:
    """The omnimodel's maps of a set's test cases, geometry undone, each with the kind of its answer.

    Parameters
    ----------
    spec : str
        `stand_in`, `masks:<folder>`, `gemini` (a picture), `gemini_json` (boxes and masks as text), `editor:<name>`
        (a picture by an editor of notebook 06).
    parameters : mapping
        The stage's; read are `send_patient_films_to`, `mask_prompt`, `mask_correct_inverted`, the `gemini_*` ones,
        `editors` and `editing_budget_usd`.
    """
    route, rest = check_route(spec, "omnimodel", ROUTES)
    check_sending(spec, found.name, parameters.get("send_patient_films_to", ()), parameters)
    if route == "masks":
        return brought_maps(found, rest, "omnimodel", "omnimodel")
    made = Answers("omnimodel", "omnimodel", STAND_IN, stage_folder / "maps" / found.name / "omnimodel")
    put = partial(keep, made, found, bool(parameters.get("mask_correct_inverted", False)))
    if route == "editor":
        _ask_editor(found, made, put, stage_folder / "editors", parameters, _editor(rest, parameters))
    elif route != "stand_in":
        _ask(found, made, put, stage_folder / "gemini", parameters, route == "gemini_json")
    else:
        cases = found.part("test")
        for case in progress(cases, desc="stand-in draws", total=len(cases), unit="case"):
            put(case, stand_in(padded(found.image(case))[0]))
    return made


def _ask(
    found: SegmentationSet,
    made: Answers,
    put: Callable[..., None],
    folder: Path,
    parameters: Mapping[str, Any],
    as_text: bool,
) -> None:
    """Buy an answer for each test case that `folder` does not hold yet, and put all of them into `made`.

    Every request and outcome is in the folder's ledger, as in notebook 01: one budget for all sets, each answer paid
    for once, whatever ends the run. A picture is asked for in a ratio that the model draws, to which the image is
    padded; text is asked about the image as it is. A `UserError` without a key, over the budget, or while answers are
    missing that a later run may still bring.
    """
    settings = Settings.of({**parameters, "gemini_mode": "online"})
    prompt = JSON_PROMPT.format(found.target) if as_text else parameters.get("mask_prompt") or PROMPTS[found.target]
    rows: dict[Request, list[Row]] = {}
    for case in found.part("test"):
        canvas, ratio = (found.image(case), "1:1") if as_text else padded(found.image(case))
        image = cv2.imencode(".png", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))[1].tobytes()
        asked = replace(settings.request, aspect_ratio=ratio, as_text=as_text)
        configuration = asked.configuration | {"image": hashlib.sha256(canvas.tobytes()).hexdigest()}
        key = image_key(asked.model, asked.api_version, prompt, configuration, 0)
        rows.setdefault(asked, []).append(Row(case["case"], prompt, key, int(key[:7], 16), image))
    every = [row for part in rows.values() for row in part]
    orders = [(GeminiService(asked, settings.price, settings), part) for asked, part in rows.items()]
    with opened(folder, every) as ledger:
        buy(ledger, orders, folder, settings.budget_usd, "gemini_budget_usd")
        entries = {row.image_id: (ledger.entry(row.key), row.state) for row in every}
    late = [name for name, (entry, state) in entries.items() if not entry.ok and not state.startswith("given up")]
    if late and not parameters.get("gemini_partial"):
        do = "run again, or set gemini_partial: true to count them as missing"
        raise UserError(f"{len(late)} answers are still missing, the first for {late[0]!r}", str(folder), do)
    ids = {str(entry.ok.get("model_version") or settings.request.model) for entry, _ in entries.values() if entry.ok}
    made.title = ", ".join(sorted(ids))
    for case in found.part("test"):
        entry = entries[case["case"]][0]
        line = entry.ok or entry.last or {}
        if not entry.ok:
            made.kinds[case["case"]] = NO_PICTURE.get(str(line.get("outcome")), "refused")
        elif as_text:
            text = inside(folder, line["path"]).read_text(encoding="utf-8", errors="replace")
            made.write(case["case"], *answers.read_boxes(text, found.image(case).shape))
        else:
            drawn = np.asarray(read_image(inside(folder, line["path"])).convert("RGB"))
            put(case, drawn, "draft_only" if line.get("draft") else "")


def _ask_editor(
    found: SegmentationSet,
    made: Answers,
    put: Callable[..., None],
    folder: Path,
    parameters: Mapping[str, Any],
    editor: Editor,
) -> None:
    """An editor's answer for each test case, as edits of notebook 06 are: a square, a ledger, `editing_budget_usd`."""
    prompt = parameters.get("mask_prompt") or PROMPTS[found.target]
    patient = not found.name.startswith("simulated")
    cases = {f"{found.name}_{number}": case for number, case in enumerate(found.part("test"))}
    requests = [EditRequest(name, found.image(case), prompt, patient=patient) for name, case in cases.items()]
    answered = registry.edit_all(
        [editor], requests, folder, budget_usd=float(parameters.get("editing_budget_usd", 0.0))
    )
    made.title = ", ".join(sorted({answer.model for answer in answered.values()}))
    for name, case in cases.items():
        answer = answered[editor.name, name]
        if answer.image is None:
            made.kinds[case["case"]] = "missing" if answer.kind == "no_answer" else answer.kind
        else:
            put(case, padded(answer.image)[0], "draft_only" if answer.kind == "draft_only" else "")


def keep(
    made: Answers, found: SegmentationSet, turn: bool, case: Mapping[Any, Any], drawn: Pixels, kind: str = ""
) -> None:
    """Undo a returned picture's geometry, classify it (unless its `kind` is known), and keep its grey map.

    Every picture is scored as it came, read as grey; an `inverted` one is turned only where `turn` says so beforehand.
    """
    image = found.image(case)
    back = unpadded(drawn, image.shape)
    looks = answers.classify(back, image, found.thin)
    gray = to_gray(back)
    made.write(case["case"], 255 - gray if turn and looks == "inverted" else gray, kind or looks)


def stand_in(request: Pixels) -> Pixels:
    """A picture drawn from the request's image alone, uint8 RGB: the side of Otsu's threshold that the rim is not on.

    No model stands behind it and no truth enters it: it takes the place of an omnimodel where there is none, drawn as
    one draws: at 1,024 pixels, with a soft edge and the marks of JPEG.
    """
    gray = cv2.GaussianBlur(to_gray(request), (0, 0), max(request.shape[:2]) / 60)
    there = gray[request.max(axis=2) > 0] if request.any() else gray
    level, _ = cv2.threshold(np.ascontiguousarray(there.reshape(1, -1)), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = gray > level
    rim = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    size = min(RATIOS.values(), key=lambda size: abs(size[0] / size[1] - gray.shape[1] / gray.shape[0]))
    drawn = answers.as_drawn(~bright if rim.mean() > 0.5 else bright, size, 75, 1.5)
    return np.asarray(cv2.cvtColor(drawn, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
