"""Source `roentgen_v2`: films drawn by RoentGen-v2 on this machine, or taken from its published synthetic set."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.image_models.editors.edits import settings_of
from nbhelpers.image_models.local_pipeline import draw, load_pipeline
from nbhelpers.images.files import read_image
from nbhelpers.prompting.drawing import Source
from nbhelpers.prompting.sources.roentgen_set import INSTALL, RoentgenImport
from nbhelpers.runs.files import inside, write_bytes
from nbhelpers.runs.progress import progress

_PATTERNS = {
    "lobar": "{extent} lobar consolidation",
    "bronchopneumonia": "{extent} patchy airspace opacities",
    "interstitial": "{extent} interstitial opacities",
}
_DEVICES = {
    "ecg_leads": "ECG leads",
    "endotracheal_tube": "endotracheal tube",
    "nasogastric_tube": "nasogastric tube",
    "central_line": "central venous line",
    "pacemaker": "pacemaker",
}
_HABITUS = {"slim": "Slim patient.", "large": "Large body habitus."}
_EXPOSURE = {"under": "Underexposed film.", "over": "Overexposed film."}


DEFAULTS: dict[str, Any] = {"model": "stanfordmimi/RoentGen-v2", "steps": 75, "guidance": 3.0, "size": 512, "batch": 4}


def roentgen_source(name: str, parameters: Mapping[str, Any]) -> Source:
    """The source as the parameters ask for it: an import when `roentgen_import` names one, else the pipeline."""
    if parameters.get("roentgen_import"):
        return RoentgenImport(name, parameters)
    return RoentgenPipeline(name, parameters)


def roentgen_prompt(row: Mapping[Any, Any]) -> str:
    """A row of the design in RoentGen-v2's own wording: age and sex, then what a report would say, one line.

    Short, since its text encoder reads 77 tokens: what is usual (average habitus, normal exposure, no device) is left
    out. Example: "50 year old female. Normal chest radiograph. PA view."
    """
    said = [f"{int(row['age'])} year old {row['sex']}."]
    if row["label"] == "pneumonia":
        where = "both lungs" if row["side"] == "both" else f"the {row['side']} lung"
        lobe = "" if row["lobe"] in ("diffuse", "") or pd.isna(row["lobe"]) else f", {row['lobe']} zone"
        finding = _PATTERNS[row["pattern"]].format(extent=row["extent"])
        said.append(f"{finding.capitalize()} in {where}{lobe}, consistent with pneumonia.")
    else:
        said.append("Normal chest radiograph.")
    supine = ", supine" if row.get("position") == "supine" else ""
    said.append(f"{row['view']} view{supine}.")
    devices = [_DEVICES[name] for name in str(row.get("devices", "none")).split(";") if name in _DEVICES]
    if devices:
        said.append(f"{', '.join(devices)} in place.")
    said += [_HABITUS.get(str(row.get("habitus")), ""), _EXPOSURE.get(str(row.get("exposure")), "")]
    return " ".join(part for part in said if part)


class RoentgenPipeline:
    """Films drawn by a Stable Diffusion pipeline of the diffusers library; a `drawing.Source`.

    Parameters `roentgen_model` (a folder, or a model id on the Hugging Face hub), `roentgen_steps`,
    `roentgen_guidance`, `roentgen_size` (pixels along a side) and `roentgen_batch`. Each image has its own seed, so it
    is the same whatever else is drawn. Only safetensors weights are read, and no code of the repository is run. A
    `UserError` when diffusers is not installed, the model is not found or not granted, or a value is out of range.
    """

    simulated = False

    def prompt(self, row: Mapping[Any, Any]) -> str:
        """What is asked for a row of the design."""
        return roentgen_prompt(row)

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        self.name = name
        given = {what: parameters.get(f"roentgen_{what}", value) for what, value in DEFAULTS.items()}
        self.model = str(given["model"])
        self.steps, self.size, self.batch = int(given["steps"]), int(given["size"]), int(given["batch"])
        self.guidance = float(given["guidance"])
        self.device = str(parameters.get("device", "auto"))
        for what, value in (("steps", self.steps), ("batch", self.batch)):
            if value < 1:
                raise UserError(f"{self.name}, {what} = {value}", "parameters", "give 1 or more")
        if self.size < 8 or self.size % 8:
            raise UserError(f"{self.name}, size = {self.size}", "parameters", "give a multiple of 8")
        try:
            import diffusers  # noqa: F401
            import transformers  # noqa: F401
        except ImportError as error:
            raise UserError(f"source {name!r} needs the package {error.name!r}", "arms", INSTALL) from None

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Draw what `folder` does not hold yet; see `drawing.Source`.

        Columns beside the contract's: `prompt` (as asked), `steps`, `guidance`, `seed_used`.
        """
        rows = [(str(row["image_id"]), self.prompt(row), int(row["seed"])) for row in design.to_dict("records")]
        paths = {image_id: self._path(prompt, seed) for image_id, prompt, seed in rows}
        wanted = [row for row in rows if not _is_whole(inside(folder, paths[row[0]]))]
        if wanted:
            self._draw(wanted, paths, folder)
        table = pd.DataFrame(rows, columns=["image_id", "prompt", "seed_used"])
        table["path"] = table["image_id"].map(paths)
        return table.assign(status="ok", steps=self.steps, guidance=self.guidance)

    def _path(self, prompt: str, seed: int) -> str:
        """File of an image, named by all that decides it: a changed setting draws a new file."""
        parts = json.dumps([self.model, prompt, seed, self.steps, self.guidance, self.size])
        return f"images/{hashlib.sha256(parts.encode()).hexdigest()[:32]}.png"

    def _draw(self, wanted: list[tuple[str, str, int]], paths: Mapping[str, str], folder: Path) -> None:
        pipeline = load_pipeline(self.model, self.device, f"{self.name}, model")
        bar = progress(total=len(wanted), desc=f"drawing {self.name}", unit="image")
        for start in range(0, len(wanted), self.batch):
            part = wanted[start : start + self.batch]
            drawn = draw(
                pipeline,
                [seed for _, _, seed in part],
                prompt=[prompt for _, prompt, _ in part],
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                height=self.size,
                width=self.size,
            )
            for (image_id, _, _), image in zip(part, drawn, strict=True):
                buffer = io.BytesIO()
                image.save(buffer, "PNG")
                write_bytes(inside(folder, paths[image_id]), buffer.getvalue(), durable=False)
            bar.update(len(part))
        bar.close()


class DiffusersPipeline(RoentgenPipeline):
    """Films drawn from the design's own prompts by any text-to-image pipeline of diffusers; a `drawing.Source`.

    `image_models: {diffusers: {model: ..., steps: ..., guidance: ..., size: ..., batch: ...}}`. The model is a folder
    or an id on the hub; what is not said is as for RoentGen-v2.
    """

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        known = {what: (type(value), value) for what, value in DEFAULTS.items()} | {"model": (str, "")}
        own = settings_of(name, (parameters.get("image_models") or {}).get(name) or {}, known, "image_models")
        super().__init__(name, dict(parameters) | {f"roentgen_{what}": value for what, value in own.items()})
        if not self.model:
            raise UserError("no model is named", f"image_models, {name}", "set model: to a folder or a model id")

    def prompt(self, row: Mapping[Any, Any]) -> str:
        """The prompt of the design."""
        return str(row["prompt"])


def _is_whole(path: Path) -> bool:
    try:
        read_image(path)
    except UserError:
        return False
    return True
