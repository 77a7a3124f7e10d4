"""The omnimodel: what is asked of it for each case, and what its answer becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nbhelpers.errors import UserError
from nbhelpers.image_models.gemini import client
from nbhelpers.image_models.gemini.key import api_key
from nbhelpers.image_models.gemini.online import Run, run_in_thread
from nbhelpers.image_models.gemini.outcomes import DRAFT_ALONE
from nbhelpers.image_models.gemini.purchases import Row, Settings, adopt, check_budget, estimate, plan_rows, settle
from nbhelpers.image_models.ledger import Ledger, image_key
from nbhelpers.image_models.originals import forget_arrivals
from nbhelpers.images.files import read_image
from nbhelpers.runs.files import inside
from nbhelpers.runs.progress import progress
from nbhelpers.segmentation.answers import (
    RATIOS,
    Answers,
    as_png,
    classify,
    from_folder,
    padded,
    read_boxes,
    unpadded,
)
from nbhelpers.segmentation.datasets import Pixels, SegmentationSet, to_gray
from nbhelpers.segmentation.specialists import brought, check_route

ROUTES = ("stand_in", "masks", "gemini", "gemini_json")
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


def prompt_of(found: SegmentationSet, own: str | None) -> str:
    """The prompt for a set: the user's own, or this project's for its target."""
    return own or PROMPTS.get(found.target, PROMPTS["object"])


def answer(found: SegmentationSet, spec: str, stage_folder: Path, parameters: Mapping[str, Any]) -> Answers:
    """The omnimodel's maps of a set's test cases, geometry undone, each with the kind of its answer.

    Parameters
    ----------
    spec : str
        `stand_in`, `masks:<folder>`, `gemini` (a picture) or `gemini_json` (boxes and masks as text).
    parameters : mapping
        The stage's; read are `mask_prompt`, `mask_correct_inverted` and the `gemini_*` ones.
    """
    route, rest = check_route(spec, "omnimodel", ROUTES)
    cases = found.part("test")
    if route == "masks":
        return from_folder("omnimodel", "omnimodel", rest, brought(rest, found.name), [case["case"] for case in cases])
    made = Answers("omnimodel", "omnimodel", STAND_IN, stage_folder / "maps" / found.name / "omnimodel")
    turn = bool(parameters.get("mask_correct_inverted", False))
    if route == "stand_in":
        for case in progress(cases, desc="stand-in draws", total=len(cases), unit="case"):
            image = found.image(case)
            keep(made, case["case"], stand_in(padded(image)[0]), image, found.thin, turn)
        return made
    turned = bool(parameters.get("mask_correct_inverted", False))
    _ask(found, made, stage_folder / "gemini", parameters, as_text=route == "gemini_json", turn=turned)
    return made


def _ask(
    found: SegmentationSet, made: Answers, folder: Path, parameters: Mapping[str, Any], as_text: bool, turn: bool
) -> None:
    """Buy an answer for each test case that `folder` does not hold yet, and put all of them into `made`.

    Every request and outcome is in the folder's ledger, as in notebook 01: one budget for all sets, each answer paid
    for once, whatever ends the run. A picture is asked for in a ratio that the model draws, to which the image is
    padded; text is asked about the image as it is.

    Raises
    ------
    UserError
        Without a key, over the budget, or while answers are missing that a later run may still bring.
    """
    settings = Settings.of({**parameters, "gemini_mode": "online"})
    prompt = JSON_PROMPT.format(found.target) if as_text else prompt_of(found, parameters.get("mask_prompt"))
    rows: dict[str, list[Row]] = {}
    for case in found.part("test"):
        canvas, ratio = (found.image(case), "") if as_text else padded(found.image(case))
        image = as_png(canvas)
        asked = _request(settings, ratio, as_text)
        configuration = asked.configuration | {"image": hashlib.sha256(image).hexdigest()}
        key = image_key(asked.model, asked.api_version, prompt, configuration, 0)
        rows.setdefault(ratio, []).append(Row(case["case"], prompt, key, int(key[:7], 16), image))
    every = [row for part in rows.values() for row in part]
    with Ledger(folder) as ledger:
        settle(ledger, settings)
        adopt(ledger, every, folder)
        plan = plan_rows(every, ledger.entries, folder, settings.attempts)
        if plan.wanted:
            check_budget(len(plan.wanted), estimate(plan.wanted, settings), ledger.spent(), settings.budget_usd)
            api_key()
            client.check_endpoint()
            wanted = {row.key for row in plan.wanted}
            for ratio, part in rows.items():
                left = [row for row in part if row.key in wanted]
                how = replace(settings, request=_request(settings, ratio, as_text))
                run_in_thread(Run(ledger, left, folder, how, proven=bool(plan.here)))
        forget_arrivals(folder)
        entries = {row.image_id: (ledger.entry(row.key), row.state) for row in every}
    late = [name for name, (entry, state) in entries.items() if not entry.ok and not state.startswith("given up")]
    if late and not parameters.get("gemini_partial"):
        do = "run again, or set gemini_partial: true to count them as missing"
        raise UserError(f"{len(late)} answers have not come yet, the first for {late[0]!r}", str(folder), do)
    made.title = ", ".join(
        sorted({str(e.ok.get("model_version") or settings.request.model) for e, _ in entries.values() if e.ok})
    )
    for case in found.part("test"):
        entry, _ = entries[case["case"]]
        if entry.ok is None:
            made.kinds[case["case"]] = _kind_of(entry.last or {})
        elif as_text:
            text = inside(folder, entry.ok["path"]).read_text(encoding="utf-8", errors="replace")
            shares, kind = read_boxes(text, found.image(case).shape)
            made.write(case["case"], shares, kind)
        else:
            drawn = np.asarray(read_image(inside(folder, entry.ok["path"])).convert("RGB"))
            keep(made, case["case"], drawn, found.image(case), found.thin, turn)


def _request(settings: Settings, ratio: str, as_text: bool) -> client.Request:
    return replace(settings.request, aspect_ratio=ratio or settings.request.aspect_ratio, as_text=as_text)


def _kind_of(line: Mapping[str, Any]) -> str:
    """The kind of an answer that never held a mask, from the last outcome in the ledger."""
    if line.get("detail") == DRAFT_ALONE:
        return "draft_only"
    return {"corrupt": "broken", "text_only": "text_only", "no_image": "missing"}.get(
        str(line.get("outcome")), "refused"
    )


def keep(made: Answers, case: str, drawn: Pixels, image: Pixels, thin: bool, turn: bool) -> None:
    """Undo a returned picture's geometry, classify it, and keep its grey map.

    Every picture is scored as it came, read as grey; an `inverted` one is turned only where `turn` says so beforehand.
    """
    back = unpadded(drawn, image.shape)
    kind = classify(back, image, thin)
    gray = to_gray(back)
    made.write(case, 255 - gray if turn and kind == "inverted" else gray, kind)


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
    mask = (~bright if rim.mean() > 0.5 else bright).astype(np.uint8) * np.uint8(255)
    width, height = min(RATIOS.values(), key=lambda size: abs(size[0] / size[1] - mask.shape[1] / mask.shape[0]))
    drawn = cv2.GaussianBlur(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 1.5)
    coded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), dtype=np.uint8)
