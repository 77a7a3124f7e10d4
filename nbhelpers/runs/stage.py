"""A stage of a run: its folder, its checked parameters, its seed, and the `run.json` that says how it was made."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import platform
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import cpu_count

from nbhelpers import __version__
from nbhelpers.errors import UserError
from nbhelpers.runs import home, parameters
from nbhelpers.runs.files import atomic_path, sha256_file, write_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PACKAGES = (
    *("torch", "timm", "scikit-learn", "numpy", "pandas", "opencv-python-headless"),
    *("google-genai", "grad-cam", "umap-learn"),
)
OWNER = "NBHELPERS_PIPELINE_OWNER"  # "<host>:<pid>" of the pipeline that started this process
SHOWN = ("python", "torch", "timm", "scikit-learn")
# Tables of earlier stages that a stage cannot do without, one for each source of its arms.
NEEDS = {
    "02_cropping": ("01_prompting/{source}/images.csv",),
    "03_training": ("02_cropping/{source}/images.csv",),
    "04_external_validation": (),  # networks, which a check looks for
    "05_interpretability": ("04_external_validation/predictions.csv", "04_external_validation/metrics.csv"),
}


def outputs_root() -> Path:
    """Folder that holds the runs: `NBHELPERS_OUTPUTS`, or `outputs/` of the project."""
    return Path(os.environ.get("NBHELPERS_OUTPUTS") or parameters.ROOT / "outputs")


def data_root() -> Path:
    """Folder that holds the data sets: `NBHELPERS_DATA`, or `data/` of the project."""
    return Path(os.environ.get("NBHELPERS_DATA") or parameters.ROOT / "data")


def user_path(path: str) -> Path:
    """A path from a parameter: `~` is expanded, and what is relative counts from the project's root."""
    return parameters.ROOT / Path(path).expanduser()


def versions() -> dict[str, str]:
    """Versions of Python, of this library and of the packages that decide a result."""
    found = {"python": platform.python_version(), "nbhelpers": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the checkout, with `+changes` when tracked files differ from it; None outside git."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(parameters.ROOT), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        # Not `status`: a notebook that was run and saved differs from its commit in outputs, which git leaves out.
        return git("rev-parse", "HEAD") + ("+changes" if git("diff", "HEAD", "--stat") else "")
    except (OSError, subprocess.SubprocessError):
        return None


class Stage:
    """One stage of one run, open for work; printed, it tells where, with what and on what it runs in four lines, and
    in a fifth which parameter file it took its values from.

    Attributes
    ----------
    run_folder, folder : pathlib.Path
        `outputs/<run>` and this stage's own folder in it, both made when missing.
    parameters : dict
        What the notebook declares, as it is set now.
    seed : int
        Seeds Python, NumPy and, where it is installed, torch.
    """

    def __init__(self, name: str, folder: Path, run_folder: Path, parameters: dict[str, Any], device: str) -> None:
        self.name, self.folder, self.run_folder, self.parameters = name, folder, run_folder, parameters
        self.seed = int(parameters.get("seed", 0))
        self.device = device
        self.threads = ""  # how many torch computes with, and why, where the notebook has that parameter
        self.file = ""  # the parameter file that the notebook names, and what it changed
        self.new = False  # whether there was no such run before
        self._started = time.perf_counter()
        self._inputs: dict[str, str] = {}
        self._commit = git_commit()

    def input(self, path: Path | str) -> Path:
        """Note a file that this stage reads: its hash goes into `run.json`. A missing one names the stage to run."""
        path = Path(path)
        if not path.is_file():
            raise UserError("an earlier stage has not written its file", str(path), "run the earlier notebook first")
        name = path.relative_to(self.run_folder) if path.is_relative_to(self.run_folder) else path
        self._inputs[str(name)] = sha256_file(path)
        return path

    def read_table(self, path: Path | str, kind: str | None = None) -> pd.DataFrame:
        """Read a table that an earlier stage wrote (`path` counts from the run's folder), and note it as an input."""
        from nbhelpers.runs.tables import read_table

        return read_table(self.input(self.run_folder / path), kind)

    def write_table(self, table: pd.DataFrame, name: str, kind: str | None = None) -> Path:
        """Write a table of this stage as `<name>.csv` in its folder, checked against the schema `kind` if named."""
        from nbhelpers.runs.tables import write_table

        return write_table(table, self.folder / f"{name}.csv", kind)

    def save_figure(self, figure: Figure, name: str) -> None:
        """Write `outputs/<run>/figures/<name>.png` (200 dpi) and `.svg`, atomically."""
        write_figure(figure, self.run_folder, name)

    def close(self, **facts: Any) -> None:
        """Write `run.json`: parameters, seed, versions, commit, input hashes, device, wall time, and `facts`."""
        write_json(
            self.folder / "run.json",
            {
                "stage": self.name,
                "parameters": self.parameters,
                "seed": self.seed,
                "versions": versions(),
                "git_commit": self._commit,
                "inputs": self._inputs,
                "device": self.device,
                **({"threads": _threads()} if self.threads else {}),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_seconds": round(time.perf_counter() - self._started, 1),
                **facts,
            },
        )

    def __str__(self) -> str:
        found = versions()
        commit = (self._commit or "none")[:12]
        run = f"{self.run_folder.name} (new)" if self.new else self.run_folder.name
        return "\n".join(
            (
                f"run      {run} / {self.name}, seed {self.seed}, commit {commit}",
                *([f"values   {self.file}"] if self.file else []),
                f"writes   {self.folder}",
                "versions " + ", ".join(f"{name} {found[name]}" for name in SHOWN),
                f"device   {self.device}, {self.threads or f'{cpu_count()} CPU cores'}",
            )
        )


def write_figure(figure: Figure, run_folder: Path, name: str) -> list[Path]:
    """Write `figures/<name>.png` (200 dpi) and `.svg` of a run, atomically, and give their paths."""
    paths = [run_folder / "figures" / f"{name}{suffix}" for suffix in (".png", ".svg")]
    for path in paths:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def open_stage(
    name: str,
    namespace: dict[str, Any],
    *checks: Callable[[Mapping[str, Any], Path], object],
    part: Callable[[Mapping[str, Any]], str] | None = None,
) -> Stage:
    """Open a stage for a notebook; nothing is written, nor a folder made, before all that it needs is there.

    Parameters
    ----------
    name : str
        The stage, e.g. `03_training`; the notebook of that name declares the parameters.
    namespace : dict
        The notebook's `globals()`; the declared names are read from it and their types checked. Where `params_file` is
        set, that file's values replace those of the notebook's cell, but not what papermill was given beside it.
    checks : functions of the parameters and the run's folder
        What the stage needs besides earlier stages' tables; each raises a `UserError` for what is missing.
    part : function of the parameters, optional
        Names a folder within the stage's own, e.g. the arm's.

    Raises
    ------
    UserError
        When a declared parameter is missing or not as declared, papermill set one that no notebook declares, or
        something that the stage needs is missing: all of it at once.
    """
    from nbhelpers.runs.devices import pick_device, use_threads

    values, file = _values(name, namespace)
    run_folder = outputs_root() / values["run"]
    found = [*lacking(name, values, run_folder), *gathered((check, values, run_folder) for check in checks)]
    if found and not run_folder.is_dir() and name in NEEDS and values.get("arms"):
        known = sorted(path.name for path in outputs_root().glob("[!.]*") if path.is_dir())
        fix = parameters.suggest(values["run"], known) if known else "run the earlier notebooks first"
        found.insert(0, UserError(f"there is no run {values['run']!r}", str(outputs_root()), fix))
    if found:
        raise UserError.of(found)
    folder = run_folder / name / part(values) if part else run_folder / name
    new = not run_folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write there: {error.strerror}", str(folder), "check NBHELPERS_OUTPUTS and the disk"
        ) from None
    home.settle(outputs_root())
    seed_everything(int(values.get("seed", 0)))
    if os.environ.get(OWNER) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a system sends it to all; the pipeline interrupts in its place
    stage = Stage(name, folder, run_folder, values, str(pick_device(values.get("device", "auto"))))
    stage.file, stage.new = file, new
    if "threads" in values:
        stage.threads = use_threads(values["threads"])
    return stage


def _values(name: str, namespace: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The parameters of a notebook, checked, and the words that tell of its `params_file` (empty without one)."""
    notebook = f"{name}.ipynb"
    declarations = parameters.declared(parameters.NOTEBOOKS / notebook)
    missing = [key for key in declarations if key not in namespace]
    if missing:
        raise UserError(f"parameter {missing[0]!r} is not set", notebook, "run the parameters cell first")
    values, given, told = {key: namespace[key] for key in declarations}, set_by_papermill(namespace), ""
    file = values.pop(parameters.FILE, None)
    if wrong := file and parameters.fault(parameters.FILE, file, declarations[parameters.FILE], notebook):
        raise wrong
    if file:
        taken = parameters.taken(file, values, given)
        changed = [f"{key} = {value!r}" for key, value in taken.items() if value != values[key]]
        told = f"{file}: {', '.join(changed) or 'as this notebook has it'}"
        values |= taken
        namespace |= taken
    found = (parameters.fault(key, values[key], declarations[key], notebook) for key in values)
    faults = [fault for fault in found if fault]
    for key in sorted(given - declarations.keys()):
        known = parameters.all_declared(parameters.NOTEBOOKS)
        if key not in known:  # a whole experiment's file may be given to one notebook
            faults.append(UserError(f"unknown parameter {key!r}", notebook, parameters.suggest(key, known)))
    if not faults:
        faults = parameters.experiment_faults(values, notebook)
    if faults:
        raise UserError.of(faults)
    return values, told


def lacking(name: str, values: Mapping[str, Any], run_folder: Path) -> list[UserError]:
    """A fault for each table of an earlier stage (`NEEDS`) that is not there."""
    arms = values.get("arms", {})
    wanted = [arms[values["arm"]]] if values.get("arm") in arms else list(arms.values())
    sources = dict.fromkeys(source for arm in wanted for source in parameters.sources_of(arm))
    needs = NEEDS.get(name, ())
    tables = dict.fromkeys(
        need.format(source=source) for need in needs for source in (sources if "{source}" in need else [""])
    )
    return [
        UserError(f"{table} is not there", str(run_folder), f"run notebook {table[:2]} first")
        for table in tables
        if not (run_folder / table).is_file()
    ]


def gathered(checks: Iterable[tuple[Any, ...]]) -> list[UserError]:
    """Call each check with its arguments, and gather what they raise."""
    faults = []
    for check, *arguments in checks:
        try:
            check(*arguments)
        except UserError as fault:
            faults.append(fault)
    return faults


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def set_by_papermill(namespace: Mapping[str, Any]) -> set[str]:
    """Names that papermill set in this kernel: in a cell of its own, which begins with a comment that tells it."""
    cells = [text for text in namespace.get("In", ()) if text.startswith("# Parameters\n")]
    assigned = (node for text in cells for node in ast.parse(text).body if isinstance(node, ast.Assign))
    return {target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)}


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (umap and others still draw from the global state)
    torch.manual_seed(seed)


def notebook_name(stage: str, arm: str | None = None) -> str:
    """Name of an executed notebook without its suffix, e.g. `03_training_cropped`."""
    return f"{stage}_{arm}" if arm else stage


def duration(seconds: float) -> str:
    """Seconds as people say them: `41 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
