"""Every way a run can end: told in one line with its cause, with nothing left behind and the folder free."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from nbhelpers.pipeline import jobs
from nbhelpers.pipeline.command import only_run
from nbhelpers.pipeline.notebooks import Stopped
from nbhelpers.runs import parameters
from nbhelpers.runs.stage import OWNER

LONG = {
    "run": "long",
    "images_per_class": 20000,
    "datasets": ["simulated_hospital"],
    "arms": {"raw": {"source": "simulator", "crop": "none"}},
    "backbone": "test_resnet",
    "init": "random",
    "diversity_backbone": "test_resnet",
    "diversity_init": "random",
    "image_size": 64,
}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Exiting because a job execution failed. Look above for error messages", ""),
        ("WorkflowError:\nAt least one job did not complete successfully.", ""),
        ("Error in rule training, jobid: 3", ""),
        ("RuleException:\nCommand 'python -m nbhelpers notebook x' returned non-zero exit status 2.", ""),
        (
            "Command 'python -m nbhelpers notebook 03_training p.yaml --arm raw' died with <Signals.SIGKILL: 9>.",
            "03_training_raw was killed (SIGKILL), as happens when memory runs out -> run it again",
        ),
        (
            "Command 'python -m nbhelpers notebook 05_interpretability p.yaml' returned non-zero exit status 137.",
            "05_interpretability was killed (SIGKILL), as happens when memory runs out -> run it again",
        ),
        (
            "Command 'python -m nbhelpers report p.yaml' returned non-zero exit status 127.",
            "report ended with exit code 127 -> run it again",
        ),
        (
            "MissingInputException in rule x:\nMissing input files:\n    work/model.json",
            "Snakemake: MissingInputException in rule x: Missing input files: work/model.json",
        ),
        ("Traceback (most recent call last):\n  File 'x'\nOSError: no space\n", "Snakemake: OSError: no space"),
    ],
)
def test_a_failure_is_told_once_and_in_one_line(message: str, told: str) -> None:
    assert jobs.cause(message) == told


def record(level: int, message: str, **told: object) -> logging.LogRecord:
    made = logging.LogRecord("snakemake.logging", level, "", 0, message, None, None)
    for name, value in told.items():
        setattr(made, name, value)
    return made


def test_a_job_that_failed_on_a_cluster_is_told_with_its_notebooks_own_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "slurm_logs" / "rule_training" / "raw_" / "12.log"
    log.parent.mkdir(parents=True)
    log.write_text("[03_training_raw] started\nerror: 03_training_raw stopped: no image is left\nsrun: error: n1: 2\n")
    see = jobs.Failures().filter
    see(record(logging.INFO, f"Job 3 has been submitted with SLURM jobid 12 (log: {log})."))
    see(record(logging.ERROR, "Error in rule training, jobid: 3", log=["a.ipynb", str(log)], external_jobid="12"))
    see(record(logging.ERROR, "WorkflowError:\nAt least one job did not complete successfully."))
    submitted, failed = capsys.readouterr().err.splitlines()
    assert submitted == f"[cluster] job 12: training/raw; log {log}"
    assert failed == f"error: job 12 of the cluster failed: 03_training_raw stopped: no image is left; log {log}"


def test_a_job_that_a_cluster_killed_is_told_with_the_clusters_words(tmp_path: Path) -> None:
    log = tmp_path / "7.log"
    log.write_text("[03] started\nslurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED AT NOON DUE TO TIME LIMIT ***\n")
    assert "failed: JOB 7 ON n1 CANCELLED AT NOON DUE TO TIME LIMIT; log" in jobs.cluster_cause("7", log)
    assert jobs.cluster_cause("7", tmp_path / "late.log").startswith("job 7 of the cluster failed; log")


def test_a_cluster_without_logs_names_its_job(capsys: pytest.CaptureFixture[str]) -> None:
    see = jobs.Failures().filter
    see(record(logging.INFO, "Submitted group job 3 with external jobid 'nb-cxr-a-1'."))
    see(record(logging.ERROR, "Error in group images", external_jobid="nb-cxr-a-1"))
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "[cluster] job nb-cxr-a-1" and told[1].startswith("error: job nb-cxr-a-1 of the cluster failed;")


def test_on_a_cluster_snakemake_is_interrupted_so_that_it_cancels_and_this_is_said(
    no_owner: None, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # A stand-in for Snakemake: it ends its jobs at an interrupt, and takes longer for it than for its own end.
    code = (
        "import signal, sys, time\n"
        f"signal.signal(2, lambda *_: (time.sleep(6), open({str(tmp_path / 'cancelled')!r}, 'w'), sys.exit()))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w'); time.sleep(60)"
    )
    soon(signal.SIGTERM, tmp_path / "ready")
    with pytest.raises(Stopped, match="its jobs are cancelled"):
        jobs.supervise([sys.executable, "-c", code], "x", patience=30, elsewhere=True)
    assert (tmp_path / "cancelled").exists() and "the cluster's jobs are cancelled" in capfd.readouterr().err


def test_of_jobs_that_could_not_be_cancelled_nothing_is_promised(no_owner: None, tmp_path: Path) -> None:
    ready = f"open({str(tmp_path / 'ready')!r}, 'w')"
    code = f"import signal, time\nsignal.signal(2, signal.SIG_IGN)\n{ready}; time.sleep(60)"
    soon(signal.SIGTERM, tmp_path / "ready")
    with pytest.raises(Stopped, match="the cluster may still run its jobs"):
        jobs.supervise([sys.executable, "-c", code], "x", patience=1, elsewhere=True)


@pytest.fixture
def no_owner() -> Iterator[None]:
    yield
    os.environ.pop(OWNER, None)


def soon(number: int, ready: Path, waits: tuple[float, ...] = (0.0,)) -> None:
    """Send this process a signal after each wait, once a process has written that it is ready for it."""

    def send() -> None:
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        for wait in waits:
            time.sleep(wait)
            os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_heeds_a_signal_is_waited_for(no_owner: None, number: int, tmp_path: Path) -> None:
    # A stand-in for a notebook (the word is how one is known), which finishes what it has paid for.
    code = (
        "import signal, sys, time\n"
        f"signal.signal(15, lambda *_: (time.sleep(1), open({str(tmp_path / 'kept')!r}, 'w'), sys.exit()))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w'); time.sleep(60)"
    )
    soon(number, tmp_path / "ready")
    with pytest.raises(Stopped, match=r"what is done is kept") as told:
        jobs.supervise([sys.executable, "-c", code, "notebook"], "x", patience=20)
    assert told.value.exit_code == 128 + number and (tmp_path / "kept").exists()


@pytest.mark.parametrize(("waits", "patience"), [((0.0, 0.6), 60), ((0.0,), 1)])
def test_what_heeds_none_is_killed_at_a_second_signal_or_when_patience_ends(
    no_owner: None, waits: tuple[float, ...], patience: float, tmp_path: Path
) -> None:
    # Its child is an orphan with other standard streams in a session of its own: only the mark tells whose it is.
    code = (
        "import signal, subprocess, sys, time\n"
        "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99.5)'], start_new_session=True)\n"
        f"open({str(tmp_path / 'ready')!r}, 'w'); time.sleep(99.5)"
    )
    soon(signal.SIGTERM, tmp_path / "ready", waits)
    started = time.monotonic()
    with pytest.raises(Stopped, match="at once"):
        jobs.supervise([sys.executable, "-c", code], "x", patience=patience)
    assert time.monotonic() - started < 20
    time.sleep(0.3)
    assert not [
        p
        for p in psutil.process_iter(["cmdline", "status"])
        if "time.sleep(99.5)" in str(p.info["cmdline"]) and p.info["status"] != "zombie"
    ]


def start(folder: Path, until: str, **changes: object) -> subprocess.Popen[str]:
    """Start a run that takes long, and return when its output matches."""
    folder.mkdir(exist_ok=True)
    file = folder / "long.yaml"
    file.write_text(yaml.safe_dump(LONG | changes))
    process = subprocess.Popen(
        [sys.executable, "-m", "nbhelpers", "run", str(file)],
        cwd=parameters.ROOT,
        env=os.environ | {"NBHELPERS_OUTPUTS": str(folder / "outputs")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if re.search(until, line):
            return process
    raise AssertionError(seen)


def of(folder: Path) -> list[psutil.Process]:
    """The living processes of a run in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NBHELPERS_OUTPUTS", "").startswith(str(folder)):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.pid != os.getpid() and process.status() != "zombie"]


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_says_so_leaves_nothing_and_frees_its_folder(tmp_path: Path) -> None:
    process = start(tmp_path, r"\d+/40000")
    for one in of(tmp_path):  # as a system does that ends a whole group
        one.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 143, told
    last = told.strip().splitlines()[-1]
    assert last.startswith("error: stopped by SIG") and "what is done is kept" in last and "Traceback" not in told
    assert of(tmp_path) == []
    with only_run(tmp_path / "outputs" / "long"):
        pass
    notebook = (tmp_path / "outputs/long/notebooks/01_prompting.ipynb").read_text(encoding="utf-8")
    assert "KeyboardInterrupt" in notebook


@pytest.mark.slow
def test_a_kernel_that_the_system_kills_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, r"\d+/40000")
    for one in of(tmp_path):
        words = one.cmdline()
        if words and "python" in words[0] and "ipykernel_launcher" in words[:5]:
            one.kill()
    told, _ = process.communicate(timeout=120)
    errors = [line for line in told.splitlines() if line.startswith("error:")]
    assert process.returncode == 1 and len(errors) == 1, told
    assert "01_prompting stopped: its kernel died" in errors[0]
    assert "Traceback" not in told
    deadline = time.monotonic() + 15
    while of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.3)
    assert of(tmp_path) == []
