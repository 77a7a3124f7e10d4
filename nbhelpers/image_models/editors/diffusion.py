"""Open weights as an editor, on this machine: any pipeline of diffusers that takes a picture and an instruction."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Le, MultipleOf
from PIL import Image, PngImagePlugin
from pydantic import NonNegativeFloat, PositiveInt

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors.edits import EditAnswer, Editor, EditRequest
from nbhelpers.image_models.geometry import squared, unsquared
from nbhelpers.image_models.local_pipeline import INSTALL, draw, load_pipeline
from nbhelpers.images.files import read_image, to_rgb
from nbhelpers.runs.files import inside, write_bytes
from nbhelpers.runs.progress import progress


class DiffusersEditor(Editor):
    """FLUX Kontext or klein, Qwen-Image-Edit, an image-to-image pipeline: a folder or a model id, settings `SETTINGS`.

    A picture goes in as a square, black right and below, of `size` pixels a side (None: its own), and a picture of that
    size is asked for. Each is drawn with its own seed and kept, so that it is drawn once.
    """

    SETTINGS: ClassVar[dict[str, tuple[Any, Any]]] = {
        "model": (str, ""),
        "steps": (PositiveInt | None, None),  # None, of all these: the pipeline's own
        "guidance": (NonNegativeFloat | None, None),
        "strength": (Annotated[float, Ge(0), Le(1)] | None, None),
        "size": (Annotated[int, Ge(16), MultipleOf(16)] | None, None),
        "seed": (int, 0),
        "device": (str, "auto"),
    }

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(name, settings)
        if not self.own["model"]:
            raise UserError("no model is named", f"editors, {name}", "set model: to a folder or a model id")
        for package in ("diffusers", "transformers"):  # looked for, not imported: that takes ten seconds
            if importlib.util.find_spec(package) is None:
                raise UserError(f"{name!r} needs the package {package!r}", f"editors, {name}", INSTALL)
        self.model = self.own["model"]
        self._pipeline: Any = None

    def _path(self, request: EditRequest) -> tuple[str, int]:
        """The file of an answer, named by all that decides it, and its seed."""
        decides = {name: value for name, value in self.own.items() if value is not None and name != "device"}
        pixels = [request.image, *([] if request.mask is None else [request.mask])]
        parts = [json.dumps([decides, request.instruction]).encode(), *(part.tobytes() for part in pixels)]
        name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
        return f"images/{name}.png", self.own["seed"] + int(name[:7], 16)

    def edit_all(self, requests: Sequence[EditRequest], folder: Path) -> dict[str, EditAnswer]:
        """Draw what `folder` does not hold yet; a `UserError` when the model cannot be loaded."""
        answers = {}
        for request in progress(requests, desc=f"drawing {self.name}", total=len(requests), unit="edit"):
            path, seed = self._path(request)
            try:
                kept = read_image(inside(folder, path))
            except UserError:
                write_bytes(inside(folder, path), self._draw(request, seed), durable=False)
                kept = read_image(inside(folder, path))
            drawn = to_rgb(kept)
            side = squared(request.image, self.own["size"]).shape[0]
            answers[request.edit_id] = EditAnswer(
                "edited",
                unsquared(drawn, request.image.shape),
                path,
                self.own["model"],
                *(drawn.shape[1], drawn.shape[0], side, side),
                seconds=float(kept.info["seconds"]) if "seconds" in kept.info else None,
            )
        return answers

    def _draw(self, request: EditRequest, seed: int) -> bytes:
        """One answer as a PNG that says how long it took."""
        own = self.own
        if self._pipeline is None:
            self._pipeline = load_pipeline(own["model"], own["device"], f"editors, {self.name}: model", edits=True)
        canvas = squared(request.image, own["size"])
        side = canvas.shape[0]
        mask = None if request.mask is None else squared(request.mask.astype(np.uint8) * np.uint8(255), side)
        started = time.monotonic()
        (drawn,) = draw(
            self._pipeline,
            [seed],
            prompt=request.instruction,
            image=Image.fromarray(canvas),
            mask_image=None if mask is None else Image.fromarray(mask),
            num_inference_steps=own["steps"],
            guidance_scale=own["guidance"],
            strength=own["strength"],
            height=side,
            width=side,
            # Of Kontext, which would draw one of its own sizes, near a megapixel.
            _auto_resize=False,
            max_area=side * side,
        )
        told = PngImagePlugin.PngInfo()
        told.add_text("seconds", f"{time.monotonic() - started:.3f}")
        buffer = io.BytesIO()
        drawn.save(buffer, "PNG", pnginfo=told)
        return buffer.getvalue()
