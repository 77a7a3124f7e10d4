"""Parameters: what the notebooks declare, what a file may set, and the one clear error when the two differ."""

from __future__ import annotations

import ast
import copy
import difflib
import io
import json
import math
import re
import tokenize
import types
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from nbhelpers.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
STAGES = (
    *("01_prompting", "02_cropping", "03_training", "04_external_validation", "05_interpretability"),
    *("06_image_editing", "07_segmentation"),
)
# Stages that run only where a file names this parameter, whatever the notebook's own default.
ASKED_BY = {"06_image_editing": "editors", "07_segmentation": "segmentation_data"}

# A notebook's own parameter, for work by hand: the parameter file whose values it takes.
FILE = "params_file"

# What a parameters cell may import, to say what its annotations mean.
TYPES_FROM = ("typing", "annotated_types", "pydantic")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
FROZEN = ("probe", "pairs")  # methods by which no weight of the network itself is trained
LESIONS = "lesions"  # the method whose network is its own, and no backbone of timm's
ARM_MAY_NAME = {"method", "images", "backbone", "learning_rate"}  # beside its source and crop
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Any: "any value",
}
_LIMITS: dict[type, str] = {
    annotated_types.Ge: "{} or more",
    annotated_types.Gt: "more than {}",
    annotated_types.Le: "{} or less",
    annotated_types.Lt: "less than {}",
    annotated_types.MultipleOf: "a multiple of {}",
    annotated_types.MinLen: "{} or more of them",
    annotated_types.MaxLen: "{} of them at most",
}


@dataclass(frozen=True)
class Declaration:
    """One parameter as a notebook declares it, `name: annotation = default  # help`; `type`: the annotation's value."""

    name: str
    annotation: str
    type: Any
    default: Any
    help: str
    notebook: str


def notebook_source(path: Path | str) -> str:
    """Source of the one cell tagged `parameters` in a notebook file."""
    path = Path(path)
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except FileNotFoundError:
        raise UserError("notebook not found", str(path), "run from a complete checkout") from None
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
        raise UserError(f"not a notebook: {error}", str(path), "restore the file from git") from None
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise UserError(f"{len(tagged)} cells are tagged 'parameters'", str(path), "tag exactly one")
    return "".join(tagged[0]["source"])


def declared(path: Path | str) -> dict[str, Declaration]:
    """The parameters that a notebook declares, by name, in order.

    Parsed with `ast`, since papermill's own inspector loses `int | None` and a `=` in a comment or string.
    """
    path = Path(path)
    return dict(_declared_in(notebook_source(path), path.name))


@cache
def _declared_in(source: str, notebook: str) -> dict[str, Declaration]:
    """What one cell declares, once for each text: a pipeline asks for each of its trainings."""
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, Declaration] = {}
    known: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module in TYPES_FROM:
            exec(compile(ast.Module([node], []), notebook, "exec"), known)
            continue
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            raise UserError(
                "a parameters cell contains something other than `name: type = literal  # help`",
                f"{notebook}, line {node.lineno}",
                "declare parameters only",
            )
        name, annotation = node.target.id, ast.unparse(node.annotation)
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise UserError(f"default of {name} is no literal", notebook, "write a literal") from None
        try:
            kind = eval(annotation, known)
            TypeAdapter(kind, config=_STRICT)
        except (NameError, AttributeError, TypeError, PydanticUserError) as error:
            raise UserError(
                f"annotation {annotation!r} of {name} is not understood: {error}",
                notebook,
                f"use plain types, or import it in the cell from {', '.join(TYPES_FROM)}",
            ) from None
        help_text = comments.get(node.end_lineno or node.lineno, "")
        found[name] = Declaration(name, annotation, kind, default, help_text, Path(notebook).stem)
    return found


def all_declared(notebooks: Path = NOTEBOOKS) -> dict[str, list[Declaration]]:
    """Every parameter that any stage's notebook declares, with each of its declarations."""
    merged: dict[str, list[Declaration]] = {}
    for stage in STAGES:
        for name, declaration in declared(notebooks / f"{stage}.ipynb").items():
            merged.setdefault(name, []).append(declaration)
    return merged


def fault(name: str, value: Any, declaration: Declaration, where: str) -> UserError | None:
    """What is wrong with a value by its declared type, range or choices, checked by pydantic in strict mode; or None.

    Strict, so that no text is read as a number; an int where a float is declared is the one exception. NaN and
    infinity are no numbers here. Of a mapping the entry is named.
    """
    place, wrong = name, value
    try:
        read = TypeAdapter(declaration.type, config=_STRICT).validate_python(value)
    except ValidationError as error:
        for key in error.errors()[0]["loc"]:
            # A place within a choice of types also names the type.
            if not isinstance(wrong, dict) or key not in wrong:
                break
            place, wrong = f"{place}.{key}", wrong[key]
    else:
        # `Literal` compares with ==, which holds for True and 1, and for 1.0 and 1.
        if type(read) is type(value) or isinstance(read, float):
            return None
    return UserError(f"{place} = {wrong!r}", where, f"use {in_words(declaration.type)}")


def in_words(kind: Any) -> str:
    """A declared type as a sentence names it: `a whole number, 1 or more`, `auto, cpu, cuda or mps`."""
    parts = get_args(kind)
    match get_origin(kind):
        case None:
            return str(_WORDS.get(kind) or getattr(kind, "__name__", kind))
        case origin if origin is Annotated:
            limits = [one for part in parts[1:] for one in (part if hasattr(part, "__iter__") else [part])]
            said = " and ".join(_LIMITS[type(one)].format(*astuple(one)) for one in limits if type(one) in _LIMITS)
            return ", ".join(filter(None, (in_words(parts[0]), said)))
        case origin if origin is Literal:
            return _either(map(str, parts))
        case origin if origin in (Union, types.UnionType):
            return _either("nothing (null)" if part is types.NoneType else in_words(part) for part in parts)
        case origin if origin is list:
            return f"a list, each {in_words(parts[0])}"
        case origin if origin is dict:
            quotes = ", numbers in quotes" if parts[1] is str else ""
            return f"a mapping of names, each to {in_words(parts[1])}{quotes}"
    return str(kind)


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


class _Loader(yaml.SafeLoader):
    """YAML with duplicate keys refused and `1e-4` a float (YAML 1.1 reads it as text)."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise UserError(f"duplicate key {key!r}", f"line {key_node.start_mark.line + 1}", "keep one of them")
        seen.add(key)
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


class _Dumper(yaml.SafeDumper):
    """Quotes the text `1e-4`, which `_Loader` would take for a number."""


_FLOAT = re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$")
for _one in (_Loader, _Dumper):
    _one.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def to_yaml(values: Mapping[str, Any]) -> str:
    """Parameters as text from which `read_yaml` reads the same."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A parameter file as a dict; a missing, broken or doubly keyed file is a `UserError` that names it."""
    path = Path(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        known = ", ".join(sorted(p.name for p in (ROOT / "params").glob("*.yaml")))
        raise UserError(
            f"parameter file cannot be read: {error.strerror}", str(path), f"params/ holds {known}"
        ) from None
    except UserError as error:
        raise UserError(error.what, f"{path}, {error.where}", error.do) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"not readable as YAML: {' '.join(str(error).split())}", str(path), "correct the file"
        ) from None
    if not isinstance(values, dict):
        raise UserError("a parameter file is a flat mapping `name: value`", str(path), "see params/demo.yaml")
    return values


def suggest(name: object, known: Iterable[str]) -> str:
    """A `did you mean` for a name that is none of `known`, or the list of them."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def read(path: Path | str, notebooks: Path = NOTEBOOKS) -> tuple[dict[str, Any], list[UserError]]:
    """All parameters of an experiment, the file's over the notebooks' defaults, and all that is wrong with the file.

    Where a value is wrong its default stands, so that what follows can be checked too. A file that cannot be read as
    YAML is a `UserError`.
    """
    return complete(read_yaml(path), str(path), notebooks)


def complete(
    given: Mapping[str, Any], where: str, notebooks: Path = NOTEBOOKS
) -> tuple[dict[str, Any], list[UserError]]:
    """What `read` gives of the values of a file; `where` is its name."""
    declarations = all_declared(notebooks)
    values = {name: copy.deepcopy(entries[0].default) for name, entries in declarations.items()}
    values |= {name: type(values[name])() for name in ASKED_BY.values() if name in values}
    values.pop(FILE, None)
    faults = []
    for name, value in given.items():
        if name == FILE:
            fix = f"leave {FILE} out: it is for a notebook that is run by hand"
            faults.append(UserError("a parameter file names another", where, fix))
        elif name not in declarations:
            faults.append(UserError(f"unknown parameter {name!r}", where, suggest(name, declarations)))
        elif found := fault(name, value, declarations[name][0], where):
            faults.append(found)
        else:
            values[name] = value
    return values, [*faults, *experiment_faults(values, where)]


def load(path: Path | str, notebooks: Path = NOTEBOOKS) -> dict[str, Any]:
    """All parameters of an experiment: the file's values over the notebooks' defaults.

    Raises
    ------
    UserError
        For unknown names (with "did you mean"), values that are not as declared, duplicate keys, and arms that are not
        well formed: all of them at once.
    """
    values, faults = read(path, notebooks)
    if faults:
        raise UserError.of(faults)
    return values


def taken(path: Path | str, current: Mapping[str, Any], fixed: Collection[str] = ()) -> dict[str, Any]:
    """What a parameter file sets of one notebook's parameters, `current` as they are, but for those that are `fixed`.

    A notebook that works on one arm gets the file's first one when its own is not among the file's.

    Raises
    ------
    UserError
        For all that is wrong with the file (see `load`), and when another file beside it has the same run.
    """
    file = ROOT / Path(path).expanduser()
    given = read_yaml(file)
    if "sweep" in given:
        raise UserError("a sweep is many trainings", str(file), "name outputs/<run>/parameters.yaml, its plain file")
    values = load(file)
    if same := same_run(file, values["run"]):
        raise same
    found = {name: values[name] for name in given if name in current and name not in fixed}
    if "arm" in current and "arm" not in fixed and current["arm"] not in values["arms"]:
        found["arm"] = next(iter(values["arms"]), current["arm"])
    return found


def same_run(path: Path | str, run: str) -> UserError | None:
    """The fault of a file whose run is that of another file beside it, as a copy's is before it is given its own."""
    path = Path(path)
    for other in sorted(path.parent.glob("*.yaml")):
        try:
            if other.name != path.name and read_yaml(other).get("run") == run:
                what = f"{other.name} has the run {run!r} too, and its results would be replaced"
                return UserError(what, str(path), "give this one another name with `run:`")
        except UserError:
            continue  # another file's faults are not this one's
    return None


def stages(values: Mapping[str, Any]) -> list[str]:
    """The stages that an experiment needs: 01 to 03 for its arms, 04 and 05 for networks, others where it asks."""
    arms, networks = bool(values["arms"]), bool(values["arms"] or values.get("checkpoints"))
    wanted = dict.fromkeys(STAGES[:3], arms) | dict.fromkeys(STAGES[3:5], networks)
    wanted |= {stage: bool(values.get(name)) for stage, name in ASKED_BY.items()}
    return [stage for stage in STAGES if wanted[stage]]


def records(values: Mapping[str, Any]) -> list[str]:
    """`run.json` of each of these stages, of 03 one an arm."""
    each = {"03_training": [f"03_training/{arm}/run.json" for arm in values["arms"]]}
    return [path for stage in stages(values) for path in each.get(stage, [f"{stage}/run.json"])]


def _is_rate(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def sources_of(arm: Mapping[str, str]) -> list[str]:
    """The sources of an arm: one, or several joined by `+`."""
    return arm.get("source", "").split("+")


def experiment_faults(values: Mapping[str, Any], where: str) -> list[UserError]:
    """What types alone cannot tell: the run's name, the arms' shape, names that become folders, and the device."""
    # What notebook 05 calls a backbone before training is no name of an arm.
    safe = re.compile(r"(?!not_fine_tuned)[A-Za-z0-9][A-Za-z0-9_.-]{0,126}")
    # Of one notebook's parameters some may not be there.
    arms, checkpoints, datasets = (values.get(name) or {} for name in ("arms", "checkpoints", "datasets"))
    faults = [
        UserError(f"{name!r} cannot name a folder", where, "use up to 127 letters, digits, '_', '-' and '.'")
        for name in dict.fromkeys((values["run"], *arms, *checkpoints, *datasets))
        if not safe.fullmatch(str(name))
    ]
    if "arms" in values and not stages(values):
        example = "give at least one, e.g. cropped: {source: simulator, crop: content}"
        faults.append(UserError("no arm is named", where, example))
    for name in arms.keys() & checkpoints.keys():
        faults.append(UserError(f"{name!r} is an arm and a checkpoint", where, "give one of them another name"))
    networks = {str(name) for name in (*arms, *checkpoints)}
    seen = Counter(name.lower() for name in networks)  # names of folders, which may not tell capitals apart
    for name in sorted(name for name in networks if seen[name.lower()] > 1):
        faults.append(UserError(f"two networks {name!r}, capitals aside", where, "give one of them another name"))
    for name, arm in arms.items():
        if not isinstance(arm, dict) or set(arm) - ARM_MAY_NAME != {"source", "crop"}:
            shape = f"an arm is {{source: ..., crop: ...}}, and may name {', '.join(sorted(ARM_MAY_NAME))}"
            faults.append(UserError(f"arm {name!r} is {arm!r}", where, shape))
            continue
        if len(set(sources_of(arm))) < len(sources_of(arm)):
            faults.append(UserError(f"arm {name!r} has source {arm['source']!r}", where, "name each source once"))
        if not re.fullmatch(r"[2-9]|[1-9]\d+", arm.get("images", "2")):
            fix = "give a number, 2 or more, in quotes"
            faults.append(UserError(f"arm {name!r} has images {arm['images']!r}", where, fix))
        if not _is_rate(arm.get("learning_rate", "1")):
            fix = 'give a number above 0, in quotes, e.g. "3e-4"'
            faults.append(UserError(f"arm {name!r} has learning_rate {arm['learning_rate']!r}", where, fix))
        elif arm.get("method") in FROZEN and "learning_rate" in arm:
            told = f"arm {name!r}: by method {arm['method']} no weight is trained at a learning_rate"
            faults.append(UserError(told, where, "leave the arm's learning_rate out"))
    device = values.get("device", "auto")
    if not DEVICE.fullmatch(device):
        faults.append(UserError(f"device = {device!r}", where, "use auto, cpu, cuda, mps, or one of several as cuda:1"))
    if len(set(datasets)) < len(datasets):
        faults.append(UserError(f"datasets = {datasets!r}", where, "name each once"))
    return faults
