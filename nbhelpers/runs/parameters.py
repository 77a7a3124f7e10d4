"""Parameters: what the notebooks declare, what a file may set, and the one clear error when the two differ."""

from __future__ import annotations

import ast
import difflib
import io
import json
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nbhelpers.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
STAGES = (
    *("01_prompting", "02_cropping", "03_training", "04_external_validation", "05_interpretability"),
    "07_segmentation",
)
# Stages that run only where a file names this parameter, whatever the notebook's own default.
ASKED_BY = {"07_segmentation": "segmentation_data"}

_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}


@dataclass(frozen=True)
class Declaration:
    """One parameter as a notebook declares it: `name: annotation = default  # help`."""

    name: str
    annotation: str
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
    source = notebook_source(path)
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, Declaration] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.value is None:
            raise UserError(
                "a parameters cell holds something else than `name: type = literal  # help`",
                f"{path.name}, line {node.lineno}",
                "declare parameters only",
            )
        try:
            default = ast.literal_eval(node.value)
        except ValueError:
            raise UserError(f"default of {node.target.id} is no literal", path.name, "write a literal") from None
        found[node.target.id] = Declaration(
            node.target.id,
            ast.unparse(node.annotation),
            default,
            comments.get(node.end_lineno or node.lineno, ""),
            path.stem,
        )
    return found


def all_declared(notebooks: Path = NOTEBOOKS) -> dict[str, list[Declaration]]:
    """Every parameter that any stage's notebook declares, with each of its declarations."""
    merged: dict[str, list[Declaration]] = {}
    for stage in STAGES:
        for name, declaration in declared(notebooks / f"{stage}.ipynb").items():
            merged.setdefault(name, []).append(declaration)
    return merged


def matches(value: Any, annotation: str) -> bool:
    """Whether `value` fits an annotation built from int, float, str, bool, list, dict, None, `|` and `[...]`."""

    def fits(item: Any, node: ast.expr) -> bool:
        match node:
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return fits(item, left) or fits(item, right)
            case ast.Constant(value=None):
                return item is None
            case ast.Name(id="float"):
                return isinstance(item, (int, float)) and not isinstance(item, bool)
            case ast.Name(id="int"):
                return isinstance(item, int) and not isinstance(item, bool)
            case ast.Name(id="Any"):
                return True
            case ast.Name(id=name) if name in _TYPES:
                return isinstance(item, _TYPES[name])
            case ast.Subscript(value=ast.Name(id="list"), slice=element):
                return isinstance(item, list) and all(fits(entry, element) for entry in item)
            case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, entry])):
                return isinstance(item, dict) and all(fits(k, key) and fits(v, entry) for k, v in item.items())
        raise UserError(f"annotation {annotation!r} is not understood", "parameters cell", "use plain types")

    return fits(value, ast.parse(annotation, mode="eval").body)


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
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


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


def load(path: Path | str, notebooks: Path = NOTEBOOKS) -> dict[str, Any]:
    """All parameters of an experiment: the file's values over the notebooks' defaults.

    Raises
    ------
    UserError
        For an unknown name (with "did you mean"), a wrong type, a duplicate key, or an arm that is not well formed.
    """
    values = read_yaml(path)
    declarations = all_declared(notebooks)
    for name, value in values.items():
        if name not in declarations:
            raise UserError(f"unknown parameter {name!r}", str(path), suggest(name, declarations))
        for declaration in declarations[name]:
            if not matches(value, declaration.annotation):
                raise UserError(
                    f"{name} = {value!r} is not of type {declaration.annotation}",
                    str(path),
                    f"{declaration.help} (default {declaration.default!r})",
                )
    unasked = {name: type(declarations[name][0].default)() for name in ASKED_BY.values() if name in declarations}
    merged = {name: entries[0].default for name, entries in declarations.items()} | unasked | values
    check_experiment(merged, str(path))
    return merged


def stages(values: Mapping[str, Any]) -> list[str]:
    """The stages that an experiment needs: 01 to 03 for its arms, 04 and 05 for networks, others where it asks."""
    arms, networks = bool(values["arms"]), bool(values["arms"] or values.get("checkpoints"))
    wanted = dict.fromkeys(STAGES[:3], arms) | dict.fromkeys(STAGES[3:5], networks)
    wanted |= {stage: bool(values.get(name)) for stage, name in ASKED_BY.items()}
    return [stage for stage in STAGES if wanted[stage]]


def check_experiment(values: Mapping[str, Any], where: str) -> None:
    """Check what types alone cannot: the run's name, the arms' shape, and names that become folders."""
    safe = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
    checkpoints = values.get("checkpoints") or {}
    for name in (values["run"], *values["arms"], *checkpoints, *values["datasets"]):
        if not safe.fullmatch(str(name)):
            raise UserError(f"{name!r} cannot name a folder", where, "use letters, digits, '_', '-' and '.'")
    if not stages(values):
        raise UserError("no arm is named", where, "give at least one, e.g. cropped: {source: simulator, crop: content}")
    for name in set(values["arms"]) & set(checkpoints):
        raise UserError(f"{name!r} is an arm and a checkpoint", where, "give one of them another name")
    for name, arm in values["arms"].items():
        if not isinstance(arm, dict) or set(arm) != {"source", "crop"}:
            raise UserError(f"arm {name!r} is {arm!r}", where, "an arm is {source: ..., crop: ...}")
