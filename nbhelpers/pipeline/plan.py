"""The whole pipeline for one parameter file: what the Snakefile asks, and the command that starts Snakemake.

`python -m nbhelpers.pipeline.plan params/mine.yaml` checks the file, runs what is out of date, and names the report. What
follows the file is passed on to Snakemake, e.g. `--executor slurm --jobs 20`, `--dry-run` or `--forceall`.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import fcntl
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from nbhelpers.errors import UserError
from nbhelpers.image_models.ledger import NOT_YET
from nbhelpers.networks import checkpoints
from nbhelpers.pipeline.notebooks import OWNER, notebook_name, say
from nbhelpers.runs import parameters
from nbhelpers.runs.files import write_bytes
from nbhelpers.runs.stage import outputs_root, user_path

PACKAGE = Path(__file__).resolve().parent
# How a result is computed, how fast and where, but not which: a change of these makes no result out of date.
NOT_IN_RESULTS = {
    *("run", "device", "workers", "roentgen_batch"),
    *("gemini_mode", "gemini_price_usd", "gemini_concurrency", "gemini_requests_per_minute", "gemini_deadline_s"),
    *("gemini_patience_s", "gemini_poll_s", "gemini_batch_images", "gemini_batch_hours"),
}
FORCED = {"-F", "--forceall", "-f", "--force", "-R", "--forcerun"}  # Snakemake's: run again what is up to date
# Parameters that matter only to an arm's source or to a data set, by the beginning of their name.
ONLY_FOR = {
    "simulator_": {"simulator", "simulator_roentgen"},
    "gemini_": {"gemini"},
    "roentgen_": {"roentgen_v2"},
    "folder_table": {"folder"},
    "hospital_": {"simulated_hospital"},
    "rsna_cohort": {"rsna"},
    "rsna_patients": {"rsna", "rsna_full"},
    "folder_films": {"folder"},
}


class Plan:
    """An experiment as the Snakefile needs it: files, commands, and what each notebook's result depends on."""

    def __init__(self, parameter_file: Path | str) -> None:
        self.file = Path(parameter_file).absolute()
        self.values = parameters.load(self.file)
        self.folder = outputs_root().absolute() / self.values["run"]

    @cached_property
    def sources(self) -> list[str]:
        """The sources of the arms, each once."""
        return list(dict.fromkeys(arm["source"] for arm in self.values["arms"].values()))

    def each_arm(self, pattern: str) -> list[str]:
        """The pattern, filled in with every arm."""
        return [pattern.format(arm=arm) for arm in self.values["arms"]]

    def each_source(self, pattern: str) -> list[str]:
        """The pattern, filled in with every source."""
        return [pattern.format(source=source) for source in self.sources]

    def networks(self) -> list[str]:
        """Files of the networks that are evaluated: those that are trained here, and the user's own checkpoints."""
        own = [user_path(folder) / file for folder in self._checkpoints.values() for file in checkpoints.FILES]
        trained = [f"03_training/{arm}/{file}" for arm in self.values["arms"] for file in checkpoints.FILES]
        return [*trained, *(os.path.relpath(path, self.folder) for path in own)]

    def records(self) -> list[str]:
        """`run.json` of the stages that this experiment needs: without an arm, nothing is drawn and nothing trained."""
        drawn = ["01_prompting/run.json", "02_cropping/run.json"] if self.values["arms"] else []
        evaluated = ["04_external_validation/run.json", "05_interpretability/run.json"]
        return [*drawn, *self.each_arm("03_training/{arm}/run.json"), *evaluated]

    @property
    def _checkpoints(self) -> dict[str, str]:
        return self.values.get("checkpoints") or {}

    def notebooks(self, stage: str, arm: str | None = None) -> list[str]:
        """The executed notebook and its HTML."""
        return [f"notebooks/{notebook_name(stage, arm)}{suffix}" for suffix in (".ipynb", ".html")]

    def command(self, stage: str, arm: str | None = None) -> str:
        """Shell command of a rule; braces are Snakemake's own."""
        module = {"report": "nbhelpers.reporting.report", "arms": "nbhelpers.pipeline.plan --arms"}.get(
            stage, f"nbhelpers.pipeline.notebooks {stage}"
        )
        words = f"{shlex.quote(sys.executable)} -m {module} {shlex.quote(str(self.file))}"
        return words.replace("{", "{{").replace("}", "}}") + (f" --arm {arm}" if arm else "")

    def code(self, stage: str) -> list[str]:
        """Files whose change makes a stage's result out of date: its notebook, the modules and data it imports, and
        the user's own files that its parameters name."""
        notebook = parameters.NOTEBOOKS / f"{stage}.ipynb"
        if stage == "report":
            found = library_files(ast.parse((PACKAGE / "report.py").read_text(encoding="utf-8")))
        else:
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
            found = {notebook} | library_files(ast.parse(source)) | self._user_files(notebook)
        # Relative, so that a checkout that was moved with its outputs is still up to date.
        return sorted(os.path.relpath(path, self.folder) for path in found)

    def _user_files(self, notebook: Path) -> set[Path]:
        named = [
            self.values[name]
            for name, declaration in parameters.declared(notebook).items()
            if declaration.annotation in ("str", "str | None") and self.values[name] and self._matters(name)
        ]
        return {path for path in map(user_path, named) if path.is_file()}

    def _matters(self, name: str) -> bool:
        used = set(self.sources) | set(self.values["datasets"])
        return name not in NOT_IN_RESULTS and all(
            used & owners for beginning, owners in ONLY_FOR.items() if name.startswith(beginning)
        )

    def trigger(self, stage: str, arm: str | None = None) -> str:
        """The parameters that a stage's result depends on, as text: when it changes, Snakemake runs the stage again."""
        if stage == "report":
            return canonical({name: value for name, value in self.values.items() if name not in NOT_IN_RESULTS})
        declared = parameters.declared(parameters.NOTEBOOKS / f"{stage}.ipynb")
        chosen = {name: self.values[name] for name in declared if self._matters(name)}
        if "arms" in chosen:
            chosen["arms"] = self._arms_of(stage, arm)
        if arm is not None:
            chosen["arm"] = arm
        return canonical(chosen)

    def _arms_of(self, stage: str, arm: str | None) -> Any:
        arms: Mapping[str, Mapping[str, str]] = self.values["arms"]
        if arm is not None:
            return arms[arm]
        if stage == "01_prompting":
            return sorted(self.sources)
        if stage == "02_cropping":
            return sorted({(entry["source"], entry["crop"]) for entry in arms.values()})
        return arms

    def arms_trigger(self) -> str:
        """What the arms' own tables depend on besides their images."""
        return canonical({"arms": self.values["arms"]})


def canonical(values: Mapping[str, Any]) -> str:
    """A mapping as text that is the same whatever the order of its names; an arm's place among the arms is kept."""
    return json.dumps({name: values[name] for name in sorted(values)}, ensure_ascii=False)


def library_files(tree: ast.AST) -> set[Path]:
    """Modules of this library that code imports, directly or through others, and the data files that they name."""
    found: set[Path] = set()
    waiting = [tree]
    while waiting:
        for node in ast.walk(waiting.pop()):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                if node.value.startswith(("source_", "dataset_")):  # modules that are imported by name, when used
                    names = [f"nbhelpers.{node.value}"]
                elif node.value.endswith((".yaml", ".json", ".html")) and (PACKAGE / node.value).is_file():
                    found.add(PACKAGE / node.value)
            for name in names:
                path = PACKAGE / f"{name.removeprefix('nbhelpers.').replace('.', '/')}.py"
                if name.startswith("nbhelpers.") and path.is_file() and path not in found:
                    found.add(path)
                    waiting.append(ast.parse(path.read_text(encoding="utf-8")))
    return found


def check_names(values: Mapping[str, Any], where: str) -> None:
    """Check that sources, crops, data sets and backbone are known, before anything is drawn or paid for.

    Raises
    ------
    UserError
        For the first unknown name, with a "did you mean".
    """
    import timm

    from nbhelpers.cropping import crop
    from nbhelpers.films import registry
    from nbhelpers.prompting import drawing

    def check(kind: str, name: str, known: Any) -> None:
        if name not in known:
            raise UserError(f"unknown {kind} {name!r}", where, parameters.suggest(name, known))

    for arm, entry in values["arms"].items():
        check(f"source in arm {arm!r}:", entry["source"], drawing.SOURCES)
        check(f"crop in arm {arm!r}:", entry["crop"], crop.METHODS)
    for name in values["datasets"]:
        check("data set", name, registry.LOADERS)
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

    values = parameters.load(parameter_file)
    folder = outputs_root().absolute() / values["run"]
    check_names(values, str(parameter_file))
    checkpoints.folders([], values.get("checkpoints"), folder)
    for source in dict.fromkeys(arm["source"] for arm in values["arms"].values()):
        drawing.make_source(source, values)
    for name in values["datasets"]:
        if name != "simulated_hospital":  # which is not found but drawn
            registry.load(name, values, folder)


def write_arm_tables(parameter_file: Path | str) -> None:
    """Write `02_cropping/arms/<arm>.csv`: the rows of the cropped images that one arm trains on."""
    from nbhelpers.runs.tables import read_table, write_table

    plan = Plan(parameter_file)
    for arm, entry in plan.values["arms"].items():
        table = read_table(plan.folder / "02_cropping" / entry["source"] / "images.csv", "cropped")
        rows = table[table["crop"] == entry["crop"]]
        write_table(rows, plan.folder / "02_cropping" / "arms" / f"{arm}.csv", "cropped")


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process alone; the system lets go of it when the process ends, however it ends.

    Snakemake's own lock outlives a process that was killed, so it is switched off for this one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / ".lock", "a+")  # noqa: SIM115  (held open on purpose)
    except OSError as error:
        raise UserError(
            f"cannot write there: {error.strerror}", str(folder), "check NBHELPERS_OUTPUTS and the disk"
        ) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            raise UserError(
                f"another run is writing there (process {handle.read().strip() or 'unknown'})",
                str(folder),
                "wait for it, end it, or give this run another name with `run:`",
            ) from None
        handle.truncate(0)
        handle.write(f"{socket.gethostname()}:{os.getpid()}")
        handle.flush()
        yield


def run(parameter_file: Path | str, options: list[str]) -> int:
    """Check an experiment, bring its run up to date through Snakemake, and name the report; returns the exit code."""
    values = parameters.load(parameter_file)
    folder = outputs_root().absolute() / values["run"]
    with only_run(folder):
        # A copy is run, not the file itself: an edit while it runs must not reach half of the notebooks.
        frozen = folder / "parameters.yaml"
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        if not frozen.is_file() or frozen.read_text(encoding="utf-8") != text:
            # In a process of its own: what it imports would stay in memory beside every notebook.
            checked = subprocess.run([sys.executable, "-m", "nbhelpers.pipeline.plan", "--check", str(parameter_file)])
            if checked.returncode:
                return checked.returncode
            write_bytes(frozen, text.encode())
        os.environ[OWNER] = f"{socket.gethostname()}:{os.getpid()}"
        # This library, whatever else is installed: notebooks run in other folders than this one.
        known = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(parameters.ROOT), *([known] if known else [])])
        report = folder / "index.html"
        say(values["run"], f"{parameter_file} -> {folder}")
        before = report.stat().st_mtime_ns if report.is_file() else None
        # In three calls, since Snakemake plans by what may change: only with the images, and then the scores, there
        # does it see that they are what they were, and leaves be what depends on them.
        forced = not FORCED.isdisjoint(options)
        for target in ("all",) if forced else ("images", "scores", "all"):
            more = ["--forcerun", "prompting"] if target == "images" and may_still_come(folder) else []
            code = snakemake(frozen, target, [*options, *more])
            if code:
                return code
        if report.is_file() and before == report.stat().st_mtime_ns:
            say(values["run"], "everything was up to date")
        print(f"report: {report}")
    return 0


def may_still_come(folder: Path) -> bool:
    """Whether an earlier run went on without images that the source may still bring (`gemini_partial: true`)."""
    for path in folder.glob("01_prompting/*/images.csv"):
        with open(path, encoding="utf-8", newline="") as handle:
            if any(row["status"].startswith(NOT_YET) for row in csv.DictReader(handle)):
                return True
    return False


def snakemake(parameter_file: Path, target: str, options: list[str]) -> int:
    """Call Snakemake on one target; returns its exit code."""
    from snakemake.cli import main as snakemake_main

    local = [] if "--executor" in options else ["--cores", "all", "--resources", "accelerator=1"]
    arguments = [
        target,  # first, since an option of several values would take it for one more
        *("--snakefile", str(parameters.ROOT / "Snakefile"), "--config", f"parameters={parameter_file}"),
        # The words of a rule's command hold paths of this machine; a change of code is seen by the files themselves.
        *("--rerun-triggers", "params", "input", "mtime", "--rerun-incomplete", "--keep-incomplete", "--nolock"),
        *("--max-checksum-file-size", "500MB"),
        *("--quiet", "all"),
        *local,
        *options,
    ]
    try:
        snakemake_main(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code: 0, 1 when a notebook stopped, 2 for bad input."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        match words:
            case ["--arms", file]:
                write_arm_tables(file)
                return 0
            case ["--check", file]:
                check_inputs(file)
                return 0
            case [file, *options] if not file.startswith("-"):
                return run(file, options)
        print(__doc__)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
