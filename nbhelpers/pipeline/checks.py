"""What can be known before anything runs: settings, names, networks, checkpoints, and that films are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.networks import checkpoints
from nbhelpers.runs import parameters
from nbhelpers.runs.stage import gathered, outputs_root


def name_faults(values: Mapping[str, Any], where: str) -> list[UserError]:
    """Every source, crop, method, data set and backbone that is not known, each with a "did you mean"."""
    from nbhelpers.cropping import methods as crops
    from nbhelpers.films import registry
    from nbhelpers.networks import models
    from nbhelpers.prompting import drawing
    from nbhelpers.training import methods

    named: list[tuple[str, Any, Any]] = [("data set", name, registry.LOADERS) for name in values["datasets"]]
    for arm, entry in values["arms"].items():
        named += [(f"source in arm {arm!r}:", one, drawing.SOURCES) for one in parameters.sources_of(entry)]
        named.append((f"crop in arm {arm!r}:", entry.get("crop"), crops.METHODS))
        named.append((f"method in arm {arm!r}:", methods.method_of(entry), methods.METHODS))
    named.append(("film_crop", values["film_crop"], crops.METHODS))
    faults = [
        UserError(f"unknown {kind} {name!r}", where, parameters.suggest(name, known))
        for kind, name, known in named
        if name not in known
    ]
    networks = ("backbone", "diversity_backbone", "editing_backbone")
    return faults + gathered((models.check_backbone, values[name]) for name in networks)


def check_network(values: Mapping[str, Any], prefix: str = "") -> None:
    """Build the network once: its weights are to be had, it takes images of the size asked for, and has the blocks."""
    from nbhelpers.networks import models, preprocessing

    size, channels = (values["diversity_size"], 1) if prefix else (values["image_size"], values["channels"])
    backbone = values[f"{prefix}backbone"]
    model = models.build(backbone, values[f"{prefix}init"], channels, image_size=size)
    models.check_fits(model, preprocessing.Transform(size, channels), backbone)
    if not prefix and {arm.get("method") for arm in values["arms"].values()} & {"probe", "pairs"}:
        made = {name.replace("blocks", "names"): values[f"probe_{name}"] for name in ("blocks", "pooling", "sizes")}
        models.build_probe(backbone, values["init"], channels, made, max(made["sizes"]))


def check_inputs(parameter_file: Path | str, here: bool = True) -> None:
    """Check all that can be known beforehand, with the one table of everything that is wrong.

    Parameters
    ----------
    parameter_file : path
        The experiment.
    here : bool
        Whether it will run on this machine: only then is the device looked for.

    Raises
    ------
    UserError
        For all that would stop the run later, perhaps after hours or money.
    """
    from nbhelpers.cropping import methods
    from nbhelpers.editing import edit
    from nbhelpers.films import registry
    from nbhelpers.prompting import drawing
    from nbhelpers.runs.devices import pick_device
    from nbhelpers.segmentation import drawing as masks

    where = str(parameter_file)
    values, faults = parameters.read(parameter_file)
    wrong_names = name_faults(values, where)
    folder = outputs_root().absolute() / values["run"]
    sources = dict.fromkeys(one for arm in values["arms"].values() for one in parameters.sources_of(arm))
    own = values.get("checkpoints") or {}
    films = values["datasets"] if "04_external_validation" in parameters.stages(values) else []
    faults += [fault for fault in [parameters.same_run(where, values["run"])] if fault]
    faults += wrong_names + gathered(
        (
            (methods.check_margins, values["crop_margins"]),
            *((checkpoints.folders, [], {name: given}, folder) for name, given in own.items()),
            *((drawing.make_source, name, values) for name in sources if name in drawing.SOURCES),
            *((registry.check_set, name, values, folder) for name in films if name in registry.LOADERS),
            *((check_network, values, prefix) for prefix in ("", "diversity_") if values["arms"] and not wrong_names),
            *edit.wanted(values),
            *masks.wanted(values, folder),
            *((pick_device, name) for name in [values["device"]] if here and parameters.DEVICE.fullmatch(name)),
        )
    )
    if faults:
        raise UserError.of(faults)
