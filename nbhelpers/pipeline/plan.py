"""An experiment as the Snakefile needs it: its files, its commands, and what each result depends on."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import sys
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

from nbhelpers.networks import checkpoints
from nbhelpers.runs import parameters, reviews
from nbhelpers.runs.dependence import NOT_IN_RESULTS, canonical, depends_on, matters
from nbhelpers.runs.files import sha256_file
from nbhelpers.runs.stage import notebook_name, outputs_root, user_path

_WILDCARD = re.compile(r"\{\s*\w+")  # what Snakemake takes for a name to fill in


class Plan:
    """An experiment as the Snakefile needs it: files, commands, and what each notebook's result depends on."""

    def __init__(self, parameter_file: Path | str) -> None:
        self.file = Path(parameter_file).absolute()
        self.values = parameters.load(self.file)
        self.folder = outputs_root().absolute() / self.values["run"]

    @cached_property
    def sources(self) -> list[str]:
        """The sources of the arms, each once."""
        arms = self.values["arms"].values()
        return list(dict.fromkeys(source for arm in arms for source in parameters.sources_of(arm)))

    def each_arm(self, pattern: str) -> list[str]:
        """The pattern, filled in with every arm."""
        return [pattern.format(arm=arm) for arm in self.values["arms"]]

    def each_source(self, pattern: str) -> list[str]:
        """The pattern, filled in with every source."""
        return [pattern.format(source=source) for source in self.sources]

    def networks(self, seeds: bool = False) -> list[str]:
        """Files of the networks that are evaluated: those that are trained here, with further seeds if wanted, and the
        user's own checkpoints."""
        own = [user_path(folder) / file for folder in self._checkpoints.values() for file in checkpoints.FILES]
        further = checkpoints.further_seeds(self.values["seed"], self.values["extra_seeds"]) if seeds else []
        names = [checkpoints.network_name(arm, seed) for arm in self.values["arms"] for seed in (None, *further)]
        trained = [f"03_training/{name}/{file}" for name in names for file in checkpoints.FILES]
        return [*trained, *self._as_inputs(own)]

    def _as_inputs(self, paths: Iterable[Path]) -> list[str]:
        """Files outside the run's folder, relative to it, so that a checkout that was moved with its outputs is still
        up to date; without those whose path Snakemake would fill in, which `_unnamed` tells of."""
        return sorted(name for path in paths if not _WILDCARD.search(name := os.path.relpath(path, self.folder)))

    def _unnamed(self, paths: Iterable[Path]) -> dict[str, str]:
        """Hash of each file that Snakemake cannot be told of, for what a result depends on."""
        named = {os.path.relpath(path, self.folder): path for path in paths if path.is_file()}
        return {name: sha256_file(path) for name, path in named.items() if _WILDCARD.search(name)}

    def records(self) -> list[str]:
        """`run.json` of the stages that this experiment needs: without an arm, nothing is drawn and nothing trained."""
        return parameters.records(self.values)

    def scores(self) -> list[str]:
        """The scores of the networks, where there are any."""
        wanted = "04_external_validation" in parameters.stages(self.values)
        return ["04_external_validation/predictions.csv"] if wanted else []

    def ends(self) -> int:
        """Number of notebooks that wait for each other in nothing, once there are scores."""
        return len({"05_interpretability", "06_image_editing", "07_segmentation"} & set(parameters.stages(self.values)))

    def threads(self, arm: str, cores: int) -> int:
        """Threads of an arm's training, of `cores` at most: one on a frozen network, which is seconds of computing."""
        frozen = self.values["arms"][arm].get("method") in parameters.FROZEN
        return 1 if frozen else min(self.values["threads"] or cores, cores)

    @property
    def _checkpoints(self) -> dict[str, str]:
        return self.values.get("checkpoints") or {}

    def notebooks(self, stage: str, arm: str | None = None) -> list[str]:
        """The executed notebook and its HTML."""
        return [f"notebooks/{notebook_name(stage, arm)}{suffix}" for suffix in (".ipynb", ".html")]

    def command(self, stage: str, arm: str | None = None) -> str:
        """Shell command of a rule; braces are Snakemake's own."""
        verb = stage if stage in ("report", "arms") else f"notebook {stage}"
        words = f"{shlex.quote(sys.executable)} -m nbhelpers {verb} {shlex.quote(str(self.file))}"
        return words.replace("{", "{{").replace("}", "}}") + (f" --arm {arm}" if arm else "")

    def code(self, stage: str) -> list[str]:
        """Files whose change makes a stage's result out of date: its notebook, the modules and data it imports, and
        the user's own files that its parameters name."""
        notebook = parameters.NOTEBOOKS / f"{stage}.ipynb"
        if stage == "report":
            found = library_files("from nbhelpers.reporting import handout, report")
        else:
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
            found = {notebook} | library_files(source) | self._user_files(notebook)
            if stage == "02_cropping" and (self.folder / reviews.FILE).is_file():
                found.add(self.folder / reviews.FILE)
        return self._as_inputs(found)

    def _user_files(self, notebook: Path) -> set[Path]:
        named = [
            self.values[name]
            for name, declaration in parameters.declared(notebook).items()
            if matters(name, self.values)  # first: a notebook's own `params_file` is no value of an experiment
            and re.search(r"\bstr\b", declaration.annotation)
            and isinstance(self.values[name], str)
            and self.values[name]
        ]
        return {path for path in map(user_path, named) if path.is_file()}

    def trigger(self, stage: str, network: str | None = None) -> str:
        """The parameters that a stage's result depends on, as text: when it changes, Snakemake runs the stage again.

        `network` is what notebook 03 trains: an arm, or `<arm>/seed_<n>`.
        """
        if stage == "report":
            return canonical({name: value for name, value in self.values.items() if name not in NOT_IN_RESULTS})
        files = self._user_files(parameters.NOTEBOOKS / f"{stage}.ipynb")
        chosen = depends_on(stage, network, self.values)
        if "checkpoints" in chosen:
            files |= {user_path(folder) / file for folder in self._checkpoints.values() for file in checkpoints.FILES}
        unnamed = self._unnamed(files)
        return canonical(chosen | ({"files": unnamed} if unnamed else {}))

    def arms_trigger(self) -> str:
        """What the arms' own tables depend on besides their images."""
        return canonical({"arms": self.values["arms"]})


def library_files(source: str) -> set[Path]:
    """Files of this library that code imports, directly or through others, and the data files that they name.

    A registry names modules in text, `"nbhelpers.films.rsna:load"`; a data file lies beside the module that names it,
    or in a folder there.
    """
    found: set[Path] = set()
    waiting: list[tuple[str, Path | None]] = [(source, None)]
    while waiting:
        modules, data = _named_in(*waiting.pop())
        waiting += [(path.read_text(encoding="utf-8"), path.parent) for path in modules - found]
        found |= modules | data
    return found


@cache
def _named_in(text: str, folder: Path | None) -> tuple[frozenset[Path], frozenset[Path]]:
    """The modules and the data files that code names, once for each text: every stage asks again."""
    modules: set[Path] = set()
    data: set[Path] = set()
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"nbhelpers(\.\w+)+(:\w+)?", node.value):
                names = [node.value.partition(":")[0]]
            elif folder and re.fullmatch(r"[\w.-]+\.(yaml|json|html)", node.value):
                data |= set(folder.glob(f"**/{node.value}"))
        modules |= {path for name in names for path in _module_files(name)}
    return frozenset(modules), frozenset(data)


def _module_files(name: str) -> list[Path]:
    """A module's file and the `__init__.py` of each package that it lies in; nothing for what is not this library's."""
    first, *parts = name.split(".")
    if first != "nbhelpers":
        return []
    places = [parameters.ROOT.joinpath(first, *parts[:depth]) for depth in range(len(parts) + 1)]
    return [path for place in places for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()]
