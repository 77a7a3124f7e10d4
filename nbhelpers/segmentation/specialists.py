"""Specialists: trained here, loaded from a folder, or brought as masks; each ends as grey maps on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nbhelpers.errors import UserError
from nbhelpers.networks import segmenters
from nbhelpers.networks.segmenters import FitSettings
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import data_root, user_path
from nbhelpers.segmentation.answers import Answers, from_folder
from nbhelpers.segmentation.datasets import SegmentationSet

ROUTES = ("train", "smp", "mask2former", "masks", "annotator_2")
OWN_DEFAULT = {True: "fine_unet", False: "small_unet"}  # of `train` alone, for what is thin and for what is not
CROP = 96  # pixels a side of the squares that a network for vessels is trained on


def brought(path: str, dataset: str) -> Path:
    """A folder that a model names, below the project's root or the data root; its part `<dataset>` if it has one."""
    for root in (user_path(path), data_root() / path):
        if root.is_dir():
            return root / dataset if (root / dataset).is_dir() else root
    return user_path(path)


def check_route(spec: str, where: str, known: Iterable[str] = ROUTES) -> tuple[str, str]:
    """A model's parameter as its route and what follows the colon; one that leads nowhere is a `UserError`."""
    route, _, rest = spec.partition(":")
    if route not in known:
        raise UserError(f"unknown model {spec!r}", where, suggest(route, known))
    if route in ("smp", "mask2former", "masks") and not (rest and brought(rest, "").is_dir()):
        do = f"write {route}:<folder>, relative to the project's root or the data folder"
        raise UserError(f"{spec!r} does not name an existing folder", where, do)
    if route == "train" and rest:
        segmenters.build(rest)
    return route, rest


def answer(
    found: SegmentationSet,
    spec: str,
    name: str,
    role: str,
    folder: Path,
    parameters: Mapping[str, Any],
    seed: int,
) -> Answers:
    """A specialist's maps of a set's test cases, written below `maps/<dataset>/<name>/` of the stage's `folder`.

    Parameters
    ----------
    spec : str
        `train[:<network>]` (`small_unet`, `fine_unet`, or `<architecture>/<encoder>` of segmentation-models-pytorch;
        trained on the set's training cases, kept in `networks/<dataset>/<name>/`), `smp:<folder>`,
        `mask2former:<folder>`, `masks:<folder>`, or `annotator_2` (the second annotator as one more model).
    parameters : mapping
        The stage's; read are `specialist_size`, `_epochs`, `_batch`, `_learning_rate` and `device`.
    """
    route, rest = check_route(spec, name)
    if route == "masks":
        return brought_maps(found, rest, name, role)
    made = Answers(name, role, rest or route, folder / "maps" / found.name / name)
    if route == "annotator_2":
        _annotated(found, made)
        return made
    device = pick_device(str(parameters.get("device", "auto")))
    size = int(parameters["specialist_size"])
    cases = found.part("test")
    images = (found.image(case) for case in cases)
    if route == "mask2former":
        maps = segmenters.mask2former(brought(rest, found.name), images, found.target, device)
    elif route == "smp":
        maps = segmenters.load(brought(rest, found.name), size).predict(images, device)
    else:
        network = rest or OWN_DEFAULT[found.thin]
        segmenter = _trained(found, network, size, parameters, seed, device, f"{found.name} {name}")
        segmenter.save(folder / "networks" / found.name / name)
        made.title = f"{network}, seed {seed}"
        maps = segmenter.predict(images, device)
    for case, shares in progress(zip(cases, maps, strict=True), desc=f"{name} draws", total=len(cases), unit="case"):
        made.write(case["case"], shares)
    return made


def brought_maps(found: SegmentationSet, path: str, name: str, role: str) -> Answers:
    """The maps of a set's test cases that another program wrote into a folder."""
    return from_folder(name, role, path, brought(path, found.name), [case["case"] for case in found.part("test")])


def _annotated(found: SegmentationSet, made: Answers) -> None:
    """The second annotator's masks; a third model may lack some of them, as one that is brought."""
    made.title, made.swept = "second annotator", False
    cases = found.part("test")
    there = [case for case in cases if isinstance(case.get("annotator_2"), str)]
    if not there or (len(there) < len(cases) and made.role != "third"):
        what = f"{found.name} has a second annotator for {len(there)} of {len(cases)} test cases"
        raise UserError(what, made.name, "use another model")
    made.kinds = {case["case"]: "missing" for case in cases}
    for case in there:
        made.write(case["case"], found.truth(case, "annotator_2").astype(np.uint8) * np.uint8(255))


def _trained(
    found: SegmentationSet, network: str, size: int, parameters: Mapping[str, Any], seed: int, device: Device, desc: str
) -> segmenters.Segmenter:
    training = found.part("train")
    images = [found.image(case) for case in training]
    masks = [found.truth(case) for case in training]
    gray = all((image == image[..., :1]).all() for image in images)
    colour = "green" if found.thin else "gray" if gray else "rgb"
    segmenter = segmenters.build(network, colour, 0 if found.thin else size, seed)
    epochs, batch, rate = (parameters[f"specialist_{name}"] for name in ("epochs", "batch", "learning_rate"))
    upright = found.target in ("lungs", "lesion")
    settings = FitSettings(int(epochs), int(batch), float(rate), CROP if found.thin else 0, upright=upright)
    segmenters.fit(segmenter, images, masks, settings, seed, device, desc)
    return segmenter
