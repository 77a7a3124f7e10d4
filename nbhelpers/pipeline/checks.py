"""What can be known before anything runs: settings, names, networks, checkpoints, and that films are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.networks import checkpoints
from nbhelpers.pipeline import sweep
from nbhelpers.runs import parameters
from nbhelpers.runs.stage import gathered, outputs_root

BROUGHT = {"folder", "roentgen_v2"}  # sources whose number of images is not images_per_class, or may not be


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
    trained = backbones_of(values) or [values["backbone"]]
    backbones = dict.fromkeys([*trained, values["diversity_backbone"], values["editing_backbone"]])
    return faults + gathered((models.check_backbone, name) for name in backbones)


def backbones_of(values: Mapping[str, Any]) -> dict[str, set[str]]:
    """The timm networks that are trained, each with the methods of its arms."""
    from nbhelpers.training import methods

    found: dict[str, set[str]] = {}
    for arm in values["arms"].values():
        if methods.method_of(arm) != parameters.LESIONS:
            found.setdefault(arm.get("backbone", values["backbone"]), set()).add(methods.method_of(arm))
    return found


def check_network(values: Mapping[str, Any], backbone: str, methods: Collection[str], prefix: str = "") -> None:
    """Build a network once: its weights are to be had, it takes images of the size asked for, and has the blocks."""
    from nbhelpers.networks import models, preprocessing

    size, channels = (values["diversity_size"], 1) if prefix else (values["image_size"], values["channels"])
    model = models.build(backbone, values[f"{prefix}init"], channels, image_size=size)
    models.check_fits(model, preprocessing.Transform(size, channels), backbone)
    if set(parameters.FROZEN) & set(methods):
        made = {name.replace("blocks", "names"): values[f"probe_{name}"] for name in ("blocks", "pooling", "sizes")}
        try:
            models.build_probe(backbone, values["init"], channels, made, max(made["sizes"]))
        except UserError as fault:
            raise UserError(fault.what, f"{fault.where} of {backbone}", fault.do) from None


def check_arms(values: Mapping[str, Any], where: str) -> list[UserError]:
    """Arms that ask for more images than will be drawn for training, or for masks that their source does not have."""
    from nbhelpers.networks import lesions, models, preprocessing
    from nbhelpers.training import masks, methods

    each, share = 2 * values["images_per_class"], 1 - values["val_fraction"]
    faults = []
    for name, arm in values["arms"].items():
        sources, method = set(parameters.sources_of(arm)), methods.method_of(arm)
        most, wanted = round(each * len(sources) * share), arm.get("images", "0")
        if not sources & BROUGHT and wanted.isdecimal() and int(wanted) > most:
            told = f"arm {name!r} asks for {wanted} images, and {most} will be there to train on"
            faults.append(UserError(told, where, "raise images_per_class"))
        if method == methods.PAIRS and len(sources) == 1 and wanted in ("2", "3"):
            told = f"arm {name!r}: method pairs needs two pairs, and {wanted} images hold one"
            faults.append(UserError(told, where, "ask for 4 images or more"))
        if method == parameters.LESIONS and (without := sources - set(masks.SOURCES)):
            told = f"arm {name!r}: method lesions learns from masks, and {', '.join(sorted(without))} has none"
            faults.append(UserError(told, where, f"use it for {' or '.join(masks.SOURCES)}, or method: probe"))
        if method == parameters.LESIONS and "backbone" in arm:
            told = f"arm {name!r}: method lesions has a network of its own, and none of {arm['backbone']!r}"
            faults.append(UserError(told, where, "leave the arm's backbone out"))
    if parameters.LESIONS in map(methods.method_of, values["arms"].values()):
        transform = preprocessing.Transform(values["image_size"], values["channels"])
        network = models.build(lesions.NAME, channels=transform.channels)
        faults += gathered([(models.check_fits, network, transform, "the network of method lesions")])
    return faults


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
    values, faults = sweep.read(parameter_file)
    wrong_names = name_faults(values, where)
    folder = outputs_root().absolute() / values["run"]
    sources = dict.fromkeys(one for arm in values["arms"].values() for one in parameters.sources_of(arm))
    own = values.get("checkpoints") or {}
    films = values["datasets"] if "04_external_validation" in parameters.stages(values) else []
    faults += [fault for fault in [parameters.same_run(where, values["run"])] if fault]
    networks: list[tuple[Any, ...]] = [*backbones_of(values).items(), (values["diversity_backbone"], (), "diversity_")]
    faults += (
        wrong_names
        + check_arms(values, where)
        + gathered(
            (
                (methods.check_margins, values["crop_margins"]),
                *((checkpoints.folders, [], {name: given}, folder) for name, given in own.items()),
                *((drawing.make_source, name, values) for name in sources if name in drawing.SOURCES),
                *((registry.check_set, name, values, folder) for name in films if name in registry.LOADERS),
                *((check_network, values, *found) for found in networks if values["arms"] and not wrong_names),
                *edit.wanted(values),
                *masks.wanted(values, folder),
                *((pick_device, name) for name in [values["device"]] if here and parameters.DEVICE.fullmatch(name)),
            )
        )
    )
    if faults:
        raise UserError.of(faults)
