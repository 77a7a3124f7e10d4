"""One experiment brought up to date: checked, run through Snakemake, its report named."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nbhelpers.errors import UserError
from nbhelpers.image_models.access import DEADLINE_S, SERVICES
from nbhelpers.image_models.ledger import NOT_YET
from nbhelpers.pipeline import sweep
from nbhelpers.pipeline.jobs import SNAKEFILE, Asked, supervise
from nbhelpers.pipeline.notebooks import say
from nbhelpers.pipeline.plan import Plan
from nbhelpers.runs import home, parameters
from nbhelpers.runs.dependence import made_otherwise
from nbhelpers.runs.files import write_bytes
from nbhelpers.runs.stage import outputs_root

BROUGHT_BY = {
    "images": ("01", "02"),
    "scores": ("03", "04"),
    "all": ("05", "06", "07"),
}  # stages by number
PATIENCE_S = 60.0  # what notebooks may take to end when the run is stopped, besides requests that are paid


def write_arm_tables(parameter_file: Path | str) -> None:
    """Write `02_cropping/arms/<arm>.csv`: the rows of the cropped images that one arm trains on."""
    import pandas as pd

    from nbhelpers.runs.tables import read_table, write_table

    plan = Plan(parameter_file)
    folder = plan.folder / "02_cropping"
    for arm, entry in plan.values["arms"].items():  # noqa: PD011  (a plan's, not pandas')
        sources = parameters.sources_of(entry)
        table = pd.concat([read_table(folder / source / "images.csv", "cropped") for source in sources])
        # No schema: several sources draw one design, so that an identifier may be there more than once.
        write_table(table[table["crop"] == entry["crop"]], folder / "arms" / f"{arm}.csv")


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
    given = parameters.read_yaml(parameter_file)
    os.environ.pop("SNAKEMAKE_PROFILE", None)  # of another project; this one's is named by an option
    asked = what_is_asked(options)
    # In a process of its own: what it imports would stay in memory beside every notebook.
    elsewhere = ["--elsewhere"] if asked.elsewhere else []
    checked = subprocess.run([sys.executable, "-m", "nbhelpers", "check", str(parameter_file), *elsewhere])
    if checked.returncode:
        return checked.returncode
    values = sweep.load(parameter_file)
    folder = outputs_root().absolute() / values["run"]
    with only_run(folder):
        home.settle(outputs_root())
        # A copy is run, not the file itself: an edit while it runs must not reach half of the notebooks.
        frozen = folder / "parameters.yaml"
        text = parameters.to_yaml(values)
        changed = not frozen.is_file() or frozen.read_text(encoding="utf-8") != text
        if changed:
            write_bytes(frozen, text.encode())
        # This library, whatever else is installed: notebooks run in other folders than this one.
        known = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(parameters.ROOT), *([known] if known else [])])
        report = folder / "index.html"
        trainings = f", {sweep.size(values)} trainings" if "sweep" in given else ""
        say(values["run"], f"{parameter_file} -> {folder}{trainings}")
        before = report.stat().st_mtime_ns if report.is_file() else None
        if not asked.dry and (changed or not (folder / "figures" / "pipeline.png").is_file()):
            draw_rules(frozen)
        stale = made_otherwise(folder, values)
        for path, differing in stale.items():
            told = ", ".join(f"{name} {was} (now {now})" for name, (was, now) in differing.items())
            say(values["run"], f"{path.removesuffix('/run.json')} was made with {told}: it is run again")
        # In three calls, since Snakemake plans by what may change: only with the images, and then the scores, there
        # does it see that they are what they were, and leaves be what depends on them.
        at_once = asked.dry or asked.forced
        for target in ("all",) if at_once else ("images", "scores", "all"):
            again = [path for path in stale if at_once or path[:2] in BROUGHT_BY[target]]
            if target == "images" and may_still_come(folder):
                again.append("01_prompting/run.json")
            more = ["--forcerun", *again] if again else []
            code = snakemake(frozen, target, [*more, *options], asked)  # of two lists to force, the user's holds
            if code:
                return code
        if asked.dry:
            say(values["run"], "a dry run: nothing was run")
            return 0
        if report.is_file() and before == report.stat().st_mtime_ns:
            say(values["run"], "everything was up to date")
        print(f"report: {report}")
    return 0


def draw_rules(parameter_file: Path) -> None:
    """Draw the run's pipeline beside its first steps; it takes seconds, the report is made long after."""
    words = [sys.executable, "-m", "nbhelpers", "graph", str(parameter_file)]
    subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def may_still_come(folder: Path) -> bool:
    """Whether an earlier run went on without images that the source may still bring (`gemini_partial: true`)."""
    for path in folder.glob("01_prompting/*/images.csv"):
        with open(path, encoding="utf-8", newline="") as handle:
            if any(row["status"].startswith(NOT_YET) for row in csv.DictReader(handle)):
                return True
    return False


def longest_request(values: Mapping[str, Any]) -> float:
    """Seconds that a paid request in flight may still take when a run is stopped; 0 where nothing is paid."""
    editors = {name: given or {} for name, given in values["editors"].items()}
    paid = {name: given for name, given in editors.items() if given.get("provider", name) in SERVICES}
    asked = [*paid.values(), *values["image_models"].values(), *filter(None, [values["editing_judge"]])]
    waits = [float(given.get("deadline_s", DEADLINE_S)) for given in asked]
    gemini = "gemini" in str(values["arms"]) or values["omnimodel"].startswith("gemini")
    return max([values["gemini_deadline_s"] * gemini, *waits])


def what_is_asked(options: list[str]) -> Asked:
    """What Snakemake's options, and the profiles that they name, ask for; `UserError` for what Snakemake refuses.

    Snakemake is asked, since an option can be shortened, joined by `=`, or lie in a profile.
    """
    if not options and not (parameters.ROOT / "profiles" / "default").exists():  # which Snakemake reads unasked
        return Asked()
    words = [sys.executable, "-m", "nbhelpers", "options", "all", *options]  # a target first, as there
    told = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if told.returncode:
        said = [line.strip() for line in told.stderr.splitlines() if line.strip()]
        raise UserError(f"Snakemake: {said[-1] if said else 'an unknown fault'}", " ".join(options), "see its manual")
    return Asked(**json.loads(told.stdout.splitlines()[-1]))


def has_accelerator(device: str) -> bool:
    """Whether notebooks will compute on an accelerator of this machine, as far as can be seen without torch."""
    there = shutil.which("nvidia-smi") or sys.platform == "darwin" or Path("/dev/kfd").exists()
    return bool(there) and not device.startswith("cpu")


def snakemake(parameter_file: Path | str, target: str, options: list[str], asked: Asked) -> int:
    """Call Snakemake on one target, in a process of its own; returns its exit code."""
    values = parameters.load(parameter_file)
    alone = has_accelerator(values["device"])
    local = [] if asked.elsewhere or asked.resources or not alone else ["--resources", "accelerator=1"]
    arguments = [
        target,  # first, since an option of several values would take it for one more
        *("--snakefile", str(SNAKEFILE)),
        # Snakemake reads it as YAML, without its quotes: a path may hold "#" or ": ".
        *("--config", f"parameters={quote(str(parameter_file))}"),
        *(() if asked.elsewhere or alone else ("side_by_side=true",)),
        # The words of a rule's command hold paths of this machine; a change of code is seen by the files themselves.
        *("--rerun-triggers", "params", "input", "mtime", "--rerun-incomplete", "--keep-incomplete", "--nolock"),
        *("--max-checksum-file-size", "500MB"),
        # A dry run: the table of jobs and why, and on a cluster what each asks; its files are nine lines a training.
        *((() if asked.elsewhere else ("--quiet", "host", "rules")) if asked.dry else ("--quiet", "all")),
        *(() if asked.cores else ("--cores", "1" if asked.elsewhere else "all")),
        *local,
        *options,
    ]
    patience = PATIENCE_S + longest_request(values)
    words = [sys.executable, "-m", "nbhelpers", "snakemake", *(["--elsewhere"] if asked.elsewhere else []), *arguments]
    return supervise(words, values["run"], patience, asked.elsewhere)
