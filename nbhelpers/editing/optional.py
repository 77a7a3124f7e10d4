"""Measures that need weights or a model of the user's own: LPIPS, CLIP, and a model that judges. None by default.

Each gives columns of `edits.csv` for pairs of a picture and its answer; without an answer a number is empty.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ValidationError

from nbhelpers.editing.pictures import Picture, Pixels
from nbhelpers.errors import UserError
from nbhelpers.image_models import access
from nbhelpers.image_models.buying import bought
from nbhelpers.image_models.editors.edits import settings_of
from nbhelpers.image_models.editors.registry import BUDGET
from nbhelpers.image_models.editors.remote import png
from nbhelpers.image_models.ledger import Entry, image_key
from nbhelpers.image_models.purchases import Row
from nbhelpers.image_models.services.registry import TEXT, make_service, options_of
from nbhelpers.networks.weights import read_weights
from nbhelpers.runs.devices import pick_device
from nbhelpers.runs.files import inside
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import gathered, user_path

Pairs = Sequence[tuple[Picture, Pixels | None]]
NAN = float("nan")
# After VIEScore (Ku et al. 2024) as GEdit-Bench asks it; the wording is this project's.
PROMPT = (
    "The first picture was edited, the second is the result. The instruction was: %s\n"
    "Give four numbers from 0 (worst) to 10 (best). followed: how well the instruction was carried out. kept: how well "
    "all that it does not speak of stayed as it was. natural: how natural the second picture looks. clean: how free of "
    'artefacts it is. Answer with one JSON object alone: {"followed": _, "kept": _, "natural": _, "clean": _, '
    '"reason": "..."}'
)


def measures(parameters: Mapping[str, Any], folder: Path = Path()) -> list[Any]:
    """The optional measures that the parameters ask for, each with `columns(pairs)`; what is bought goes to `folder`.

    What they lack (a package, a file, a model, a key) is one `UserError`.
    """
    wanted = [(maker, parameters[name], parameters, folder) for name, maker in MEASURES.items() if parameters.get(name)]
    if faults := gathered(wanted):
        raise UserError.of(faults)
    return [maker(*given) for maker, *given in wanted]


def _need(packages: Sequence[str], parameter: str, extra: str) -> None:
    if lacking := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise UserError(f"it needs the package {lacking[0]!r}", parameter, f'pip install -e ".[{extra}]"')


class Lpips:
    """LPIPS (Zhang et al. 2018; version 0.1, AlexNet) between input and answer, by its authors' package.

    Their package brings the linear heads; the backbone is a file of torchvision's weights, read as tensors alone.
    """

    def __init__(self, path: str, parameters: Mapping[str, Any], folder: Path) -> None:
        _need(["lpips"], "editing_lpips", "lpips")
        self.path, self.device = user_path(path), str(parameters.get("device", "auto"))
        if not self.path.is_file():
            raise UserError("there is no such file", f"editing_lpips = {path}", "name torchvision's AlexNet weights")

    def columns(self, pairs: Pairs) -> dict[str, list[Any]]:
        """`lpips`: 0 for equal pictures, the larger the less alike they look."""
        import lpips

        device, weights = pick_device(self.device).torch, read_weights(self.path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision's own former names
            model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        # `slice1.0.weight` there is `features.0.weight` in torchvision's file.
        names = {name: f"features.{name.partition('.')[2]}" for name in model.net.state_dict()}
        try:
            model.net.load_state_dict({name: weights[known] for name, known in names.items()})
        except (KeyError, RuntimeError):
            do = "name torchvision's AlexNet weights, e.g. alexnet-owt-7be5be79.pth"
            raise UserError("these are no weights of AlexNet", str(self.path), do) from None
        model = model.to(device).eval()

        def seen(image: Pixels) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float().to(device) / 255

        with torch.inference_mode():
            near = [
                NAN if b is None else model(seen(a.image), seen(b), normalize=True) for a, b in _bar(pairs, "LPIPS")
            ]
        return {"lpips": [float(one) for one in near]}


class Clip:
    """A CLIP of transformers (Radford et al. 2021) from a local folder; only safetensors are read."""

    def __init__(self, path: str, parameters: Mapping[str, Any], folder: Path) -> None:
        _need(["transformers"], "editing_clip", "roentgen")
        self.path, self.device = user_path(path), str(parameters.get("device", "auto"))
        lacking = [name for name in ("config.json", "model.safetensors") if not (self.path / name).is_file()]
        if lacking:
            do = "name a folder that CLIPModel and CLIPProcessor of transformers were saved in"
            raise UserError(f"it holds no {lacking[0]}", f"editing_clip = {path}", do)

    def columns(self, pairs: Pairs) -> dict[str, list[Any]]:
        """`clip_image`: cosine of input and answer; `clip_text`: of the answer and its caption, where there is one."""
        from transformers import CLIPModel, CLIPProcessor

        device = pick_device(self.device).torch
        try:
            model: Any = CLIPModel.from_pretrained(self.path, local_files_only=True, use_safetensors=True)
            processor = CLIPProcessor.from_pretrained(self.path, local_files_only=True)
        except Exception as error:  # broken files make the readers raise nearly anything
            said = f"CLIP cannot be loaded: {' '.join(str(error).split())[:200]}"
            raise UserError(said, str(self.path), "save model and processor again") from None
        model = model.to(device).eval()
        whole = {"truncation": True, "max_length": model.config.text_config.max_position_embeddings}

        def cosines(one: Picture, answer: Pixels | None) -> tuple[float, float]:
            if answer is None:
                return NAN, NAN
            given = processor(text=[one.caption], images=[one.image, answer], return_tensors="pt", **whole)
            with torch.inference_mode():
                found = model(**given.to(device))
            before, after = found.image_embeds
            agreement = float(after @ found.text_embeds[0]) if one.caption else NAN
            return float(before @ after), agreement

        found = [cosines(one, answer) for one, answer in _bar(pairs, "CLIP")]
        return dict(zip(("clip_image", "clip_text"), map(list, zip(*found, strict=True)), strict=True))


class Scores(BaseModel):
    """What a judge answers; each from 0 to 10."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    followed: Annotated[float, Ge(0), Le(10)]
    kept: Annotated[float, Ge(0), Le(10)]
    natural: Annotated[float, Ge(0), Le(10)]
    clean: Annotated[float, Ge(0), Le(10)]


class Judge:
    """A model that sees input, answer and instruction, asked as the services of editors are: one ledger, one budget."""

    def __init__(self, given: Mapping[str, Any], parameters: Mapping[str, Any], folder: Path) -> None:
        self.service = str(given.get("provider"))
        if self.service not in TEXT:
            raise UserError(f"unknown provider {self.service!r}", "editing_judge", suggest(self.service, TEXT))
        known = {name: one for name, one in options_of(self.service, as_text=True).items() if name != "size"}
        self.own = settings_of("judge", given, known, "editing_judge")
        self.asked, self.folder = make_service(self.service, self.own, as_text=True), folder
        self.budget_usd = float(parameters["editing_budget_usd"])
        access.api_key(self.service)
        access.endpoint(self.service)

    def estimate_usd(self, pictures: Sequence[Picture], editors: int) -> float:
        """US dollars that judging every answer may cost."""
        return editors * sum(self.asked.price.reserve(PROMPT % one.instruction) for one in pictures)

    def columns(self, pairs: Pairs) -> dict[str, list[Any]]:
        """VIEScore: `judge_consistency` = min(followed, kept), `judge_quality` = min(natural, clean), `judge_overall`
        the root of their product, 0 to 10; `judge_answer`: judged, unreadable or refused; `judge_usd`.

        Each pair is bought once. A `UserError` as of `buying.bought`.
        """
        rows = [None if answer is None else self._row(one, answer) for one, answer in pairs]
        entries = bought(self.folder, [(self.asked, [row for row in rows if row])], self.budget_usd, BUDGET)
        found = [{} if row is None else self._read(entries[row.key]) for row in rows]
        names = ("judge_consistency", "judge_quality", "judge_overall", "judge_answer", "judge_usd")
        return {name: [one.get(name, None if name == "judge_answer" else NAN) for one in found] for name in names}

    def _row(self, one: Picture, answer: Pixels) -> Row:
        prompt, before, after = PROMPT % one.instruction, png(one.image), png(answer)
        digests = [hashlib.sha256(picture).hexdigest() for picture in (before, after)]
        key = image_key(self.asked.model, self.service, prompt, {"judged": digests}, 0)
        name = f"judge/{one.task}_{one.image_id}_{key[:6]}"
        return Row(name, prompt, key, int(key[:7], 16), before, more=(after,))

    def _read(self, entry: Entry) -> dict[str, Any]:
        if entry.ok is None:
            return {"judge_answer": "refused", "judge_usd": entry.cost_usd}
        try:
            text = inside(self.folder, entry.ok["path"]).read_text(encoding="utf-8", errors="replace")
            held = re.search(r"\{.*\}", text, re.DOTALL)
            scores = Scores.model_validate_json(held[0] if held else text)
        except (ValidationError, OSError, KeyError):
            return {"judge_answer": "unreadable", "judge_usd": entry.cost_usd}
        consistency, quality = min(scores.followed, scores.kept), min(scores.natural, scores.clean)
        row = {"judge_consistency": consistency, "judge_quality": quality, "judge_answer": "judged"}
        return row | {"judge_overall": (consistency * quality) ** 0.5, "judge_usd": entry.cost_usd}


MEASURES: dict[str, Any] = {"editing_lpips": Lpips, "editing_clip": Clip, "editing_judge": Judge}


def _bar(pairs: Pairs, what: str) -> Any:
    return progress(pairs, desc=what, total=len(pairs), unit="edit")
