"""One notebook run by papermill: its progress shown, its copy and its HTML kept, also on failure."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from nbhelpers.errors import UserError
from nbhelpers.networks.checkpoints import parse_name
from nbhelpers.runs import parameters
from nbhelpers.runs.files import write_bytes
from nbhelpers.runs.stage import duration, notebook_name, outputs_root

OWNER = "NBHELPERS_PIPELINE_OWNER"  # "<host>:<pid>" of the pipeline that started this notebook
# Progress bars are written to standard error, which nbconvert paints as if it were an error.
_QUIET = '[data-mime-type="application/vnd.jupyter.stderr"] { background: none !important; color: #777; }'
_BAR = re.compile(r"\d+%\||\d+(it|\w+) ?\[\d+:\d+")
_NOTHING_YET = re.compile(r" 0%\||\b0[a-z]+ \[")


class ProgressLines:
    """A text file that passes on the progress bars written to it, a line each, behind a label; the rest is dropped.

    Warnings are dropped too: they stay in the executed notebook, where they have their cell.
    """

    def __init__(self, label: str) -> None:
        self._label, self._rest = label, ""

    def write(self, text: str) -> int:
        """Take what a kernel wrote to its standard error."""
        *lines, self._rest = re.split(r"[\r\n]+", self._rest + text)
        for line in lines:
            self._show(line)
        return len(text)

    def flush(self) -> None:
        """Show the last line: a kernel that is busy may not end it for a long time."""
        self._show(self._rest)
        self._rest = ""

    def _show(self, line: str) -> None:
        if _BAR.search(line) and not _NOTHING_YET.search(line):
            say(self._label, line.strip())


def say(label: str, text: str) -> None:
    """Print one line of the pipeline's story."""
    print(f"[{label}] {text}", file=sys.stderr, flush=True)


def execute(stage: str, parameter_file: Path | str, arm: str | None = None) -> Path:
    """Run one stage's notebook and write `outputs/<run>/notebooks/<name>.ipynb` and `.html`.

    Parameters
    ----------
    stage : str
        A stage of `params.STAGES`.
    parameter_file : path
        The experiment; the notebook gets the values that it declares.
    arm : str, optional
        For the notebook that trains one arm: its name, or `<arm>/seed_<n>` for a further training.

    Returns
    -------
    pathlib.Path
        The executed notebook.

    Raises
    ------
    UserError
        When the notebook stopped: with the message of its own `UserError`, or with the type and message of a defect;
        the notebook as far as it came, with the error in it, is kept and named.
    """
    import papermill

    values = parameters.load(parameter_file)
    source = parameters.NOTEBOOKS / f"{stage}.ipynb"
    chosen = {name: values[name] for name in parameters.declared(source)}
    if arm is not None:
        chosen["arm"], chosen["training_seed"] = parse_name(arm)
    label = notebook_name(stage, arm)
    target = outputs_root().absolute() / values["run"] / "notebooks" / f"{label}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    # papermill's inspector warns of every name whose comment holds a "="; the names were checked above.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # Another kernel of the same name in the user's home must not stand in for this environment's.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

    started = time.perf_counter()
    say(label, "started")
    failure: papermill.PapermillExecutionError | None = None
    try:
        papermill.execute_notebook(
            source,
            target,
            parameters=chosen,
            progress_bar=False,
            stderr_file=ProgressLines(label),
            cwd=parameters.ROOT,
            autosave_cell_every=60,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            # Of a bar that was redrawn, the copy keeps the last line; the log above has seen each.
            coalesce_streams=True,
        )
    except papermill.PapermillExecutionError as error:
        failure = error
    write_html(target)
    if failure is not None:
        raise UserError(
            f"{label} stopped: {_reason(failure)}; as far as it came: {_shown(target.with_suffix('.html'))}"
        )
    say(label, f"done in {duration(time.perf_counter() - started)}")
    return target


def _reason(failure: Any) -> str:
    message = " ".join(str(failure.evalue).split())
    return message if failure.ename == UserError.__name__ else f"{failure.ename}: {message}"


def _shown(path: Path) -> str:
    return str(path.relative_to(parameters.ROOT) if path.is_relative_to(parameters.ROOT) else path)


def write_html(notebook: Path) -> Path:
    """Write an executed notebook as HTML beside it: one file that opens with no network; returns its path."""
    import nbformat
    from nbconvert import HTMLExporter

    node = nbformat.read(notebook, as_version=4)
    heading = next((cell.source for cell in node.cells if cell.source.startswith("# ")), f"# {notebook.stem}")
    node.metadata["title"] = heading.splitlines()[0].lstrip("# ")
    # nbconvert's page asks other hosts for mathematics, diagrams and widgets; a page that is sent on must not.
    exporter = HTMLExporter(
        mathjax_url="",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
        jupyter_widgets_base_url="",
        embed_images=True,
    )
    body, _ = exporter.from_notebook_node(node)
    body = re.sub(r"<script\b[^>]*\bsrc=[^>]*>\s*</script>", "", body)
    body = re.sub(r"<script\b[^>]*type=\"module\"[^>]*>.*?mermaid.*?</script>", "", body, flags=re.DOTALL)
    body = body.replace("</head>", f"<style>{_QUIET}</style></head>", 1)
    target = notebook.with_suffix(".html")
    write_bytes(target, body.encode())
    return target


def watch_owner() -> None:
    """End this process, with its kernel, when the pipeline that started it is gone.

    A pipeline killed outright cannot end its notebooks, and one left behind would write into the next run's files.
    """
    import socket

    host, _, number = os.environ.get(OWNER, "").rpartition(":")
    if not number or host != socket.gethostname():
        return

    def watch() -> NoReturn:
        import psutil

        while psutil.pid_exists(int(number)):
            time.sleep(1)
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
