"""One notebook run by papermill: its progress shown, its copy and its HTML kept, also on failure."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.networks.checkpoints import parse_name
from nbhelpers.runs import parameters
from nbhelpers.runs.files import REFUSALS, DiskRefused, write_bytes
from nbhelpers.runs.stage import OWNER, duration, notebook_name, outputs_root

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what a terminal, a system or a cluster sends to end a job
# Over nbconvert's own page: colours that can be told from their ground, nothing cut off on a narrow screen or on paper.
# What is written to standard error is a warning here; nbconvert paints it as if it were an error.
_PAGE = """
:root { --jp-mirror-editor-comment-color: #2b6363; --jp-mirror-editor-number-color: #006200;
  --jp-mirror-editor-operator-color: #7d1fb0; --jp-mirror-editor-string-color: #a61717;
  --jp-cell-prompt-not-active-opacity: 1; }
.jp-InputPrompt, .jp-OutputPrompt { color: #595959 !important; opacity: 1 !important; }
[data-mime-type="application/vnd.jupyter.stderr"] { background: none !important; color: #595959; }
.jp-OutputArea-output, .jp-MarkdownOutput { overflow-x: auto; }
@media (max-width: 600px) { body.jp-Notebook { padding: 4px; } .jp-RenderedHTMLCommon table { font-size: 11px; } }
@media (max-width: 600px), print {
  .highlight pre, .jp-RenderedText pre { white-space: pre-wrap !important; overflow-wrap: anywhere; } }
@media print {
  @page { size: A4; margin: 14mm; }
  body.jp-Notebook { padding: 0; }
  .jp-InputPrompt, .jp-OutputPrompt { display: none; }
  .highlight pre, .jp-RenderedText pre { font-size: 8pt; }
  .jp-OutputArea-output, .jp-MarkdownOutput, .jp-InputArea-editor, .highlight, .highlight pre {
    overflow: visible !important; }
  .jp-RenderedHTMLCommon table { font-size: 7pt; table-layout: auto; max-width: 100%; }
  .jp-RenderedHTMLCommon th, .jp-RenderedHTMLCommon td {
    white-space: normal !important; overflow-wrap: break-word; padding: 2px 3px; }
  .jp-RenderedImage img { max-width: 100%; }
  img, tr { break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
}
"""
_NO_WORDS = "No description has been provided for this image"  # nbconvert's
_BAR = re.compile(r"\d+%\||\d+(it|\w+) ?\[\d+:\d+")
_NOTHING_YET = re.compile(r" 0%\||\b0[a-z]+ \[")


class Stopped(UserError):
    """The user, or the system, asked for an end."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(what, do="the same command goes on")
        self.exit_code = 128 + number


class Interruption:
    """A notebook's end as asked for by a signal: its kernel is interrupted, once, and no further cell begins.

    The kernel ends by itself: what it does at an interrupt, such as to wait for images that are paid, it may finish.
    """

    def __init__(self) -> None:
        self.number = 0

    def ask(self, number: int, _: FrameType | None = None) -> None:
        """Take a signal; a second one changes nothing, since one that goes to a whole group comes twice."""
        import psutil

        if not self.number:
            self.number = number
            for kernel in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    kernel.send_signal(signal.SIGINT)

    def before_cell(self, **_: Any) -> None:
        """Begin no cell after it."""
        if self.number:
            raise KeyboardInterrupt


@contextlib.contextmanager
def heeding(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Hand the signals that ask this process to stop to a handler, in place of ending it."""
    before = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class ProgressLines:
    """A text file that passes on the progress bars written to it, a line each, behind a label; the rest is dropped.

    Prints and warnings are dropped too: they stay in the executed notebook, where they have their cell.
    """

    def __init__(self, label: str) -> None:
        self._label, self._rest = label, ""

    def write(self, text: str) -> int:
        """Take what a kernel wrote."""
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


@contextlib.contextmanager
def after_others(target: Path, label: str) -> Iterator[None]:
    """Hold a notebook's results for this process; wait for one that is still there to end.

    On a cluster a job that was cancelled may take half a minute to end, and one whose node is thought lost may go on.
    A file system without such locks is trusted.
    """
    with open(target.with_name(f".{target.stem}.lock"), "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                say(label, "waits for an earlier job that is still ending")
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


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
    from nbclient.exceptions import DeadKernelError

    values = parameters.load(parameter_file)
    source = parameters.NOTEBOOKS / f"{stage}.ipynb"
    chosen = {name: values[name] for name in parameters.declared(source) if name != parameters.FILE}
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
    failure: BaseException | None = None
    told: list[dict[str, Any]] = []  # errors of cells
    interruption = Interruption()
    try:
        with after_others(target, label), heeding(interruption.ask):
            papermill.execute_notebook(
                *(
                    str(path).replace("{", "{{").replace("}", "}}") for path in (source, target)
                ),  # papermill formats them
                parameters=chosen,
                progress_bar=False,
                stdout_file=ProgressLines(label),
                stderr_file=ProgressLines(label),  # bars of other libraries
                cwd=parameters.ROOT,
                autosave_cell_every=60,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
                # Of a bar that was redrawn, the copy keeps the last line; the log above has seen each.
                coalesce_streams=True,
                on_cell_execute=interruption.before_cell,
                on_cell_error=lambda **said: told.append(said["execute_reply"]["content"]),
            )
    except (papermill.PapermillExecutionError, DeadKernelError, KeyboardInterrupt) as error:
        failure = error
    except OSError as error:
        raise _without_copy(error, label, told, target) from None
    if target.is_file():
        with contextlib.suppress(DiskRefused) if failure else contextlib.nullcontext():
            write_html(target)
    if failure is not None:
        as_far = f"as far as it came: {_shown(target.with_suffix('.html'))}"
        if interruption.number:
            name = signal.Signals(interruption.number).name
            raise Stopped(interruption.number, f"{label} stopped by {name}; {as_far}")
        raise UserError(f"{label} stopped: {_reason(failure)}; {as_far}")
    say(label, f"done in {duration(time.perf_counter() - started)}")
    return target


def _without_copy(error: OSError, label: str, told: list[dict[str, Any]], target: Path) -> Exception:
    """The error of a notebook whose copy the disk did not take: its own, where it had one, says more than that."""
    if error.errno not in REFUSALS:
        return error
    said = _reason(SimpleNamespace(**told[0])) if told else str(DiskRefused.at(error, target))
    return UserError(f"{label} stopped: {said}")


def _reason(failure: Any) -> str:
    if not hasattr(failure, "evalue"):
        return "its kernel died, as happens when memory runs out (ask for fewer workers or a smaller batch)"
    message = " ".join(str(failure.evalue).split())
    return message if failure.ename in (UserError.__name__, DiskRefused.__name__) else f"{failure.ename}: {message}"


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
    body = _described(body, node)
    body = re.sub(r"<script\b[^>]*\bsrc=[^>]*>\s*</script>", "", body)
    body = re.sub(r"<script\b[^>]*type=\"module\"[^>]*>.*?mermaid.*?</script>", "", body, flags=re.DOTALL)
    body = body.replace("</head>", f"<style>{_PAGE}</style></head>", 1)
    target = notebook.with_suffix(".html")
    write_bytes(target, body.encode())
    return target


def _described(body: str, node: Any) -> str:
    """The page with each picture described, for readers who cannot see it, by the heading that it stands under."""
    heading, headings = "", []
    for cell in node.cells:
        if cell.cell_type == "markdown":
            found = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
            heading = found[-1] if found else heading
        headings += [heading for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    told = iter(headings)  # nbconvert gives each picture the same words, in their order
    return re.sub(re.escape(_NO_WORDS), lambda _: f"Figure: {escape(next(told, ''), quote=True)}", body)


def watch_owner(elsewhere: bool = False) -> None:
    """End this process, with its kernel, when the pipeline that started it is gone.

    A pipeline killed outright cannot end its notebooks, and one left behind would write into the next run's files.
    Where the jobs run `elsewhere`, this process is interrupted, for it to cancel them.
    """
    import socket

    host, _, number = os.environ.get(OWNER, "").rpartition(":")
    if not number or host != socket.gethostname():
        return

    def watch() -> None:
        import psutil

        while psutil.pid_exists(int(number)):
            time.sleep(1)
        if elsewhere:
            os.kill(os.getpid(), signal.SIGINT)
            return
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
