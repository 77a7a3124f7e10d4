"""Editors that are services, asked over the network and paid: one ledger and one budget for all of a folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nbhelpers.errors import UserError
from nbhelpers.image_models.buying import bought
from nbhelpers.image_models.editors.edits import EditAnswer, Editor, EditRequest
from nbhelpers.image_models.editors.registry import BUDGET
from nbhelpers.image_models.geometry import Pixels, squared, unsquared
from nbhelpers.image_models.ledger import Entry, image_key
from nbhelpers.image_models.prices import standing
from nbhelpers.image_models.purchases import Row, plan_facts
from nbhelpers.image_models.services.registry import deciding, make_service, options_of
from nbhelpers.images.files import decode, to_rgb
from nbhelpers.runs.files import inside

_KINDS = {"corrupt": "broken", "text_only": "text_only"}


class ServiceEditor(Editor):
    """A model of Gemini, OpenAI, Ark or Black Forest Labs; its settings are those of `services.registry.options_of`.

    A picture goes out as a square, black right and below (of `size` pixels a side where that is set), and a square is
    asked for; what comes is cut back, whatever its size. Each edit is bought once, by `buy`.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings, options_of(settings["provider"]))
        self.service, self.asked = self.provider, make_service(self.provider, self.own)

    def rows(self, requests: Sequence[EditRequest]) -> list[Row]:
        """What is wanted of the service for each request, by the key of all that decides the answer.

        Equal requests of one call are told apart by how many came before, as replicates.
        """
        seen: Counter[str] = Counter()
        decides = deciding(self.own)
        rows = []
        for request in requests:
            canvas = squared(request.image, self.own["size"])
            hint = request.mask if self.asked.masks and request.mask is not None and request.mask.any() else None
            mask = None if hint is None else _mask_png(hint, canvas.shape)  # an empty one is no hint: leave it as it is
            image = png(canvas)
            digests = {"image": hashlib.sha256(canvas.tobytes()).hexdigest()}
            digests |= {"mask": hashlib.sha256(mask).hexdigest()} if mask else {}
            parts = self.asked.model, self.provider, request.instruction, decides | digests
            number = seen[image_key(*parts, 0)]
            seen[image_key(*parts, 0)] += 1
            key = image_key(*parts, number)
            row = Row(f"{self.name}/{request.edit_id}", request.instruction, key, int(key[:7], 16), image, mask)
            row.side = self.asked.side(canvas.shape[0])
            rows.append(row)
        return rows

    def plan(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, object]:
        """What is here, given up and still to be paid, and for how much at most; see `registry.plan_all`."""
        facts = plan_facts(self.rows(requests), Path(folder), self.asked.price, self.asked.terms.attempts)
        return {"model": self.asked.model, **facts}


def buy(
    editors: Sequence[Editor], requests: Sequence[EditRequest], folder: Path, budget_usd: float
) -> dict[tuple[str, str], EditAnswer]:
    """The answers of paid editors, all asked at the same time; what `folder` holds is not bought again.

    A `UserError` before anything is paid (no key, an estimate over what is left of the budget), when a service takes no
    request of this kind, and while answers are missing that a later run may still bring.
    """
    paid = [editor for editor in editors if isinstance(editor, ServiceEditor)]
    wanted = {editor.name: editor.rows(requests) for editor in paid}
    for said in dict.fromkeys(standing(editor.provider, editor.asked.model) for editor in paid):
        print(said, end="\n" if said else "")
    orders = [(editor.asked, wanted[editor.name]) for editor in paid]
    entries = bought(folder, orders, budget_usd, BUDGET, "; or remove the editor, or give it provider: withdrawn")
    return {
        (editor.name, request.edit_id): _answer(entries[row.key], row, request, editor, folder)
        for editor in paid
        for request, row in zip(requests, wanted[editor.name], strict=True)
    }


def _answer(entry: Entry, row: Row, request: EditRequest, editor: ServiceEditor, folder: Path) -> EditAnswer:
    """A ledger's entry as an answer, its picture cut back to the request's."""
    line: Mapping[str, Any] = entry.ok or entry.last or {}
    facts: dict[str, Any] = {"model": str(line.get("model_version") or editor.asked.model)}
    facts |= {"cost_usd": entry.cost_usd, "seconds": line.get("seconds"), "detail": str(line.get("detail") or "")}
    facts |= dict.fromkeys(("width_asked", "height_asked"), row.side if editor.asked.sized else None)
    if entry.ok is None:
        return EditAnswer(_KINDS.get(str(line.get("outcome")), "refused"), **facts)
    try:
        image: Pixels = to_rgb(decode(inside(folder, line["path"]).read_bytes()))
    except (UserError, OSError, KeyError) as error:
        # Its file was changed since.
        return EditAnswer("broken", **(facts | {"detail": f"the stored image cannot be read: {error}"}))
    kind, (height, width) = "draft_only" if line.get("draft") else "edited", image.shape[:2]
    return EditAnswer(kind, unsquared(image, request.image.shape), line["path"], width=width, height=height, **facts)


def png(image: Pixels) -> bytes:
    """An RGB picture as a PNG's bytes."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())


def _mask_png(mask: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """A mask as a PNG of the shape that is sent: transparent where to edit, the margin kept."""
    there = squared(mask.astype(np.uint8) * np.uint8(255), shape[0]) > 127
    rgba = np.zeros((*shape[:2], 4), np.uint8)
    rgba[..., 3] = np.where(there, 0, 255)
    return bytes(cv2.imencode(".png", rgba)[1].tobytes())
