"""A sweep: a parameter file and lists of values, of which every combination is trained and all are compared.

A sweep is one experiment whose arms are the combinations, an arm being a source, a crop, a method, a learning rate, a
number of images and a backbone, each trained with every seed. So it needs no second kind of run: one Snakemake graph,
images that are drawn and cropped once whatever the number of trainings, each training a job of its own (resumed,
retried, spread over a cluster as any other), films that are decoded once, and the tables and figures of notebook 04 as
the comparison. Separate runs would draw, decode and report once for each, and need a comparison of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from pydantic import NonNegativeInt

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters

ALL = "all"  # as many images as there are
AXES: dict[str, Any] = {
    "arms": Annotated[list[str], MinLen(1)],
    "backbones": Annotated[list[str], MinLen(1)],
    "images": Annotated[list[Annotated[int, Ge(2)] | Literal["all"]], MinLen(1)],
    "seeds": Annotated[list[NonNegativeInt], MinLen(1)],
}


def read(path: Path | str) -> tuple[dict[str, Any], list[UserError]]:
    """All parameters of an experiment, and all that is wrong with its file, as `parameters.read` gives them.

    A file with a `sweep` is written out: `base` names a parameter file, counted from its folder, whose values it takes
    over; `sweep` gives lists of `arms` (of those that are named), `backbones`, `images` (numbers, or `all`) and `seeds`
    (counted on from the first). Any other parameter may stand beside them. An arm by method `lesions`,
    which has a network of its own, is trained once, not once for each backbone.
    """
    given, where = parameters.read_yaml(path), str(path)
    if "sweep" not in given:
        return parameters.complete(given, where)
    axes, faults = _axes(given.pop("sweep"), where)
    if "seeds" in axes and (doubled := [name for name in ("seed", "extra_seeds") if name in given]):
        faults.append(UserError(f"{' and '.join(doubled)} beside the sweep's seeds", where, "keep one of them"))
    if base := given.pop("base", None):
        given = parameters.read_yaml(Path(path).parent / str(base)) | given
        if "sweep" in given:
            faults.append(UserError(f"base {base!r} is a sweep itself", where, "name a plain parameter file"))
            del given["sweep"]
    arms = given.get("arms")
    if isinstance(arms, dict) and all(isinstance(arm, dict) for arm in arms.values()):
        given["arms"], wrong = _combined(arms, axes, where)
        faults += wrong
    if seeds := axes.get("seeds"):
        if seeds != list(range(seeds[0], seeds[0] + len(seeds))):
            counted = list(range(seeds[0], seeds[0] + len(seeds)))
            faults.append(UserError(f"seeds are {seeds}", where, f"count on from the first: {counted}"))
        given |= {"seed": seeds[0], "extra_seeds": len(seeds) - 1}
    values, wrong = parameters.complete(given, where)
    return values, [*faults, *wrong]


def load(path: Path | str) -> dict[str, Any]:
    """All parameters of an experiment, its sweep written out; everything that is wrong is one `UserError`."""
    values, faults = read(path)
    if faults:
        raise UserError.of(faults)
    return values


def size(values: Mapping[str, Any]) -> int:
    """Number of trainings of an experiment."""
    return len(values["arms"]) * (1 + int(values["extra_seeds"]))


def _axes(given: Any, where: str) -> tuple[dict[str, list[Any]], list[UserError]]:
    """The lists that can be used, and what is wrong with the others."""
    if not isinstance(given, dict) or not given:
        return {}, [UserError(f"sweep = {given!r}", where, f"give lists of {', '.join(AXES)}")]
    axes, faults = {}, []
    for name, values in given.items():
        if name not in AXES:
            faults.append(UserError(f"unknown list {name!r} in the sweep", where, parameters.suggest(name, AXES)))
            continue
        declaration = parameters.Declaration(f"sweep: {name}", "", AXES[name], None, "", "")
        if wrong := parameters.fault(declaration.name, values, declaration, where):
            faults.append(wrong)
            continue
        if doubled := sorted({str(value) for value in values if values.count(value) > 1}):
            faults.append(UserError(f"sweep: {name} names {', '.join(doubled)} twice", where, "name each once"))
        axes[name] = list(dict.fromkeys(values))
    return axes, faults


def _combined(
    arms: Mapping[str, Mapping[str, Any]], axes: Mapping[str, list[Any]], where: str
) -> tuple[dict[str, dict[str, Any]], list[UserError]]:
    """An arm for each combination, by a name that tells what varies, and what is not possible."""
    chosen = axes.get("arms", list(arms))
    faults = [
        UserError(f"sweep: unknown arm {name!r}", where, parameters.suggest(name, arms))
        for name in chosen
        if name not in arms
    ]
    keys = {"backbone": axes.get("backbones", []), "images": axes.get("images", [])}
    for name in chosen:
        for key, values in keys.items():
            if values and key in arms.get(name, {}):
                told = f"arm {name!r} has a value of {key} of its own, and the sweep a list"
                faults.append(UserError(told, where, "keep one of them"))
    found: dict[str, dict[str, Any]] = {}
    own_network = {name for name in chosen if arms.get(name, {}).get("method") == parameters.LESIONS}
    if own_network and keys["backbone"] and own_network == set(chosen):
        told = f"sweep: backbones, and no arm that takes one: method {parameters.LESIONS} has a network of its own"
        faults.append(UserError(told, where, "leave backbones out, or add an arm by another method"))
    combinations = [
        (name, *values)
        for name in chosen
        if name in arms
        for values in product(
            [None] if name in own_network else keys["backbone"] or [None],
            keys["images"] or [None],
        )
    ]
    for name, backbone, images in combinations:
        own = {"backbone": backbone, "images": None if images in (None, ALL) else str(images)}
        short = None if backbone is None or len(keys["backbone"]) == 1 else re.sub(r"[^\w.-]+", "-", backbone)
        title = "_".join(str(part) for part in (name, short, images) if part is not None)
        if title in found:
            faults.append(UserError(f"sweep: two combinations are called {title!r}", where, "name the arms otherwise"))
        found[title] = {**arms[name], **{key: value for key, value in own.items() if value is not None}}
    return found, faults
