"""What can be known before anything runs: names, settings, checkpoints, and that films are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.networks import checkpoints
from nbhelpers.runs import parameters
from nbhelpers.runs.stage import outputs_root


def check_names(values: Mapping[str, Any], where: str) -> None:
    """Check that sources, crops, data sets and backbone are known, before anything is drawn or paid for.

    Raises
    ------
    UserError
        For the first unknown name, with a "did you mean".
    """
    import timm

    from nbhelpers.cropping import methods
    from nbhelpers.films import registry
    from nbhelpers.prompting import drawing
    from nbhelpers.segmentation import datasets as segmentation
    from nbhelpers.segmentation import omnimodel, specialists

    def check(kind: str, name: str, known: Any) -> None:
        if name not in known:
            raise UserError(f"unknown {kind} {name!r}", where, parameters.suggest(name, known))

    for arm, entry in values["arms"].items():
        check(f"source in arm {arm!r}:", entry["source"], drawing.SOURCES)
        check(f"crop in arm {arm!r}:", entry["crop"], methods.METHODS)
    for name in values["datasets"]:
        check("data set", name, registry.LOADERS)
    for name in values["segmentation_data"]:
        check("segmentation data", name, segmentation.DATASETS)
    specialists.check_route(values["specialist"], "specialist")
    specialists.check_route(values["third_model"] or "train", "third_model")
    specialists.check_route(values["omnimodel"], "omnimodel", omnimodel.ROUTES)
    if not timm.is_model(values["backbone"]):
        raise UserError(
            f"unknown backbone {values['backbone']!r}",
            where,
            parameters.suggest(values["backbone"], timm.list_models()),
        )


def check_inputs(parameter_file: Path | str) -> None:
    """Check all that can be known beforehand: names, the sources' own settings, checkpoints, and that films are there.

    Raises
    ------
    UserError
        For the first thing that would stop the run later, perhaps after hours or money.
    """
    from nbhelpers.films import registry
    from nbhelpers.prompting import drawing
    from nbhelpers.segmentation import datasets as segmentation

    values = parameters.load(parameter_file)
    folder = outputs_root().absolute() / values["run"]
    check_names(values, str(parameter_file))
    checkpoints.folders([], values.get("checkpoints") or {}, folder)
    for source in dict.fromkeys(arm["source"] for arm in values["arms"].values()):
        drawing.make_source(source, values)
    for name in values["datasets"] if values["arms"] or values.get("checkpoints") else ():
        if name != "simulated_hospital":  # which is not found but drawn
            registry.load(name, values, folder)
    for name in values["segmentation_data"]:
        if not name.startswith("simulated"):
            segmentation.load(name, values, folder)
