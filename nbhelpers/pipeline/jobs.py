"""Snakemake in a process of its own: what it says when it fails, and how all that it started is stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbhelpers.pipeline.notebooks import STOPPING, Stopped, heeding, say
from nbhelpers.runs import parameters
from nbhelpers.runs.stage import OWNER

if TYPE_CHECKING:
    import psutil

SNAKEFILE = parameters.ROOT / "Snakefile"
LET_GO_S = 4  # what Snakemake may take to end once its jobs have
# What Snakemake says after a job's own message, of every failure.
_REPEATS = re.compile(r"Exiting because a job|(WorkflowError:\s+)?At least one job did not|Error in (rule|group) ")
_EXIT = re.compile(r"returned non-zero exit status (\d+)|died with <Signals\.(\w+)")
_SUBMITTED = re.compile(r"ubmitted .*jobid '?([\w-]+)'?(?: \(log: (.+)\))?\.$")
_BY_NOTEBOOK = {1, 2, *(128 + number for number in STOPPING)}  # exit codes of a command that has said why


@dataclass(frozen=True)
class Asked:
    """What Snakemake's options and profiles ask for; each field's default is what no option gives."""

    elsewhere: bool = False  # other machines do the work
    dry: bool = False  # only say what would be run
    forced: bool = False  # run again what is up to date
    cores: bool = False  # a number of cores is given
    resources: bool = False  # limits of resources are given

    @classmethod
    def by(cls, options: Sequence[str]) -> Asked:
        """Read the options as Snakemake does, which loads it; it ends the process where they are wrong."""
        from snakemake.cli import parse_args

        _, read = parse_args(["--snakefile", str(SNAKEFILE), *options])
        elsewhere = read.executor not in (None, "local", "dryrun", "touch")
        return cls(
            elsewhere=elsewhere,
            dry=bool(read.dryrun),
            forced=bool(read.force or read.forceall or read.forcerun),
            cores=bool(read.cores or (read.jobs and not elsewhere)),
            resources=bool(read.resources),
        )


class Failures(logging.Filter):
    """Of Snakemake's log, each failure, and each job that a cluster got, as one line of this project's.

    The records themselves pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Print what the record tells of a failure that nothing has told yet, or of the cluster."""
        message, failed = record.getMessage(), record.levelno >= logging.ERROR
        logs = [one for name in ("aux_logs", "log") for one in getattr(record, name, None) or ()]
        log = next((Path(one) for one in logs if one.endswith(".log")), None)
        number = getattr(record, "external_jobid", None) or (log and log.stem)
        if found := _SUBMITTED.search(message):
            number, place = found.group(1), found.group(2) or ""
            what = place.rpartition("slurm_logs/")[2].rpartition("/")[0].removeprefix("rule_").strip("_")
            say("cluster", f"job {number}" + (f": {what}; log {place}" if place else ""))
        elif message.startswith("Trying to restart job"):
            say("cluster", "it is tried once more")
        elif failed and (text := cluster_cause(number, log) if number else cause(message)):
            print(f"error: {text}", file=sys.stderr, flush=True)
        return True


def cluster_cause(number: str, log: Path | None) -> str:
    """One line for a job that failed on a cluster: what its notebook, or else the cluster, said last in its log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log else []
    except OSError:  # a shared file system may show it late
        lines = []
    said = [line.partition("error: ")[2].strip("* ") for line in lines if line.startswith(("error: ", "slurmstepd"))]
    what = f"job {number} of the cluster failed"
    return what + (f": {said[-1]}" if said else "") + (f"; log {log}" if log else "; the cluster may know why")


def cause(message: str) -> str:
    """One line for a message of Snakemake's log; empty for what a notebook has said itself, and for repetitions."""
    if _REPEATS.match(message):
        return ""
    if found := _EXIT.search(message):
        number, name = found.groups()
        if number and int(number) in _BY_NOTEBOOK:
            return ""
        if number and int(number) > 128:
            with contextlib.suppress(ValueError):
                name = signal.Signals(int(number) - 128).name
        why = f"was killed ({name}), as happens when memory runs out" if name else f"ended with exit code {number}"
        place = re.search(r"-m nbhelpers (?:notebook )?(\w+)(?:.*--arm (\S+?)')?", message)
        return f"{'_'.join(part for part in place.groups() if part) if place else 'a job'} {why} -> run it again"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if lines and lines[0].startswith("Traceback"):
        lines = lines[-1:]
    return "Snakemake: " + " ".join(lines) if lines else ""


def call_snakemake(arguments: Sequence[str], elsewhere: bool = False) -> int:
    """Call Snakemake in this process and return its exit code; what goes wrong is told in one line each.

    Jobs that run `elsewhere` are the cluster's, and do not carry the mark of what this machine's pipeline started.
    """
    from snakemake.cli import main

    if elsewhere:
        os.environ.pop(OWNER, None)
    logging.getLogger("snakemake.logging").addFilter(Failures())
    try:
        main(list(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _started() -> list[psutil.Process]:
    """Every living process of this pipeline but this one, whoever is its parent by now: all carry its mark."""
    import psutil

    mine, found = os.environ[OWNER], []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(OWNER) == mine:
                found.append(process)
    return found


def _tell(processes: Sequence[psutil.Process], number: int, verb: str = "") -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            if not verb or verb in process.cmdline()[:4]:
                process.send_signal(number)


def supervise(command: Sequence[str], label: str, patience: float, elsewhere: bool = False) -> int:
    """Run a command that starts notebooks, to its end or until this process is asked to stop.

    The first SIGINT, SIGTERM or SIGHUP interrupts the notebooks, which wait for images that are already paid, and lets
    nothing new begin; a second one, or `patience`, ends everything at once.

    Parameters
    ----------
    command : sequence of str
        The command, which gets a session of its own: what a terminal sends reaches this process alone.
    label : str
        The run's name, for what is printed.
    patience : float
        Seconds that the notebooks may take to end.
    elsewhere : bool
        Whether the jobs run on a cluster, where Snakemake is the one to cancel them.

    Returns
    -------
    int
        The exit code of the command.

    Raises
    ------
    Stopped
        When this process was asked to stop.
    """
    seen: list[int] = []
    os.environ[OWNER] = f"{socket.gethostname()}:{os.getpid()}"
    with heeding(lambda number, _: seen.append(number)):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and not seen:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        if not seen:
            if process.returncode:  # what a kernel started outlives one that was killed
                _tell(_started(), signal.SIGKILL)
            return process.returncode
        name = signal.Signals(seen[0]).name
        what = "the cluster's jobs are cancelled" if elsewhere else "no new work, images that are paid are waited for"
        say(label, f"stopping ({name}): {what}; once more ends at once")
        deadline = time.monotonic() + patience
        _tell(_started(), signal.SIGTERM, "notebook")
        # Snakemake begins no job after a SIGTERM, and cancels those on a cluster at a SIGINT.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT if elsewhere else signal.SIGTERM)
        while len(seen) < 2 and time.monotonic() < deadline:
            left = [one for one in _started() if one.pid != process.pid]
            if process.poll() is not None and not left:
                break
            if not left and not elsewhere:  # its own signal handler and its callbacks can wait for each other for ever
                deadline = min(deadline, time.monotonic() + LET_GO_S)
            time.sleep(0.2)
        left = _started()
        _tell(left, signal.SIGKILL)
        process.wait()
    at_once = len(seen) > 1 or bool([one for one in left if elsewhere or one.pid != process.pid])
    lost = "the cluster may still run its jobs" if elsewhere else "images in flight may be lost"
    kept = "its jobs are cancelled; what is done is kept" if elsewhere else "what is done is kept"
    how = f"at once; {lost}" if at_once else kept
    raise Stopped(seen[0], f"stopped by {name}, {how}")
