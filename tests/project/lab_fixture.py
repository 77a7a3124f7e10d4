"""A real JupyterLab on a clone of the project, as `make lab` starts it, and a headless Chromium that works in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbhelpers.runs import parameters

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@localhost")
# What Lab says of its own that is no fault of a notebook.
HARMLESS = ("favicon", "Failed to load resource", "jupyterapp", "[GroupMarkerNotSet]", "WebGL")
RUNNING = """() => { const n = window.jupyterapp.shell.currentWidget.content;
  return n.widgets.filter(c => c.model.type === 'code' && c.model.sharedModel.getSource().trim()
                          && (c.model.executionCount === null || c.prompt === '*')).length }"""
OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')
  .map(c => [c.model.id, c.model.outputs.toJSON()])"""
SHOW = """async id => { const n = window.jupyterapp.shell.currentWidget.content;
  const at = n.widgets.findIndex(c => c.model.id === id);
  n.activeCellIndex = at; await n.scrollToItem(at, 'start'); return at }"""


def browser_program() -> str:
    """A Chromium of this machine; a test that needs one is skipped where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return found or pytest.skip("no Chromium: apt-get install chromium")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *AUTHOR, *words], check=True, capture_output=True, text=True, timeout=120
    ).stdout


def clone(folder: Path) -> Path:
    """The checkout as it is now, changes included, committed in a clone with an environment that is this one."""
    try:
        changed = git(parameters.ROOT, "ls-files", "-z", "--modified", "--others", "--exclude-standard")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    git(parameters.ROOT, "clone", "-q", "--no-hardlinks", str(parameters.ROOT), str(folder))
    for name in filter(None, changed.split("\0")):
        if (parameters.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(parameters.ROOT / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / ".venv" / ".installed").write_text(f"{folder}\n")
    return folder


class Lab:
    """JupyterLab of a clone, and one page of a browser on it."""

    def __init__(self, folder: Path, page: Any, url: str, token: str) -> None:
        self.folder, self.page, self._url, self._token = folder, page, url, token
        self.told: list[str] = []
        page.on("console", lambda message: self.told.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.told.append(str(error)))

    def open(self, notebook: str) -> None:
        """Open a notebook and wait for its kernel."""
        self.page.goto(f"{self._url}lab/tree/notebooks/{notebook}.ipynb?reset&token={self._token}")
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=120_000,
        )

    def run_all(self, seconds: float = 600) -> None:
        """Run All Cells, as the menu does, until the last one is done or one failed."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        end = time.monotonic() + seconds
        while self.page.evaluate(RUNNING):
            if self.errors():
                break
            assert time.monotonic() < end, "a notebook does not come to its end"
            self.page.wait_for_timeout(500)

    def outputs(self) -> dict[str, list[dict[str, Any]]]:
        return dict(self.page.evaluate(OUTPUTS))

    def errors(self) -> list[str]:
        """Errors of cells."""
        return [f"{cell}: {one['evalue']}" for cell, all_ in self.outputs().items() for one in all_ if "evalue" in one]

    def console(self) -> list[str]:
        """Errors of the page, but for those that Lab has of its own."""
        return [text for text in self.told if not any(known in text for known in HARMLESS)]

    def cell(self, cell_id: str) -> Any:
        """The output of a cell, brought into view."""
        at = self.page.evaluate(SHOW, cell_id)
        self.page.wait_for_timeout(300)
        return self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{at}"] .jp-Cell-outputArea')

    def turn(self, output: Any) -> int:
        """Turn every menu, slider, switch and button of a widget once; gives how many there were."""
        turned = 0
        for handle in output.locator(".noUi-target:not([disabled]) .noUi-handle").all():
            for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
                handle.press(key)
            turned += self._wait()
        for switch in output.locator("input[type=checkbox]").all():
            switch.click()
            turned += self._wait()
        for menu in output.locator("select:enabled").all():
            if menu.locator("option").count() > 1:
                menu.select_option(index=1)
                turned += self._wait()
        for button in output.locator("button.jupyter-button:enabled").all():
            button.click()
            turned += self._wait()
        return turned

    def _wait(self) -> int:
        """Wait until the kernel has done what a widget asked of it."""
        self.page.wait_for_timeout(150)
        idle = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
        self.page.wait_for_function(idle, timeout=60_000)
        return 1

    def seen(self, output: Any) -> str:
        """All that a widget shows: its text and its pictures."""
        pictures = output.locator("img").all()
        return " ".join([output.inner_text(), *(str(one.get_attribute("src")) for one in pictures)])

    def save_and_close(self) -> None:
        """Save as Ctrl+S does, and shut the kernel down."""
        self.page.keyboard.press("Escape")
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        self.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")


@contextlib.contextmanager
def started(folder: Path, scratch: Path) -> Iterator[Lab]:
    """Start `make lab` in a clone, with a browser on it; both end with the block."""
    sync_api = pytest.importorskip("playwright.sync_api")
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTER_DATA_DIR": str(scratch / "data"),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(scratch / "settings"),
    }
    news = scratch / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    settings = "--no-browser --allow-root --ServerApp.port=0 --LabApp.expose_app_in_browser=True"
    with open(scratch / "lab.log", "w") as log:
        server = subprocess.Popen(
            ["make", "lab", f"ARGS={settings}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        found = _server_of(scratch / "runtime", server)
        with sync_api.sync_playwright() as tool:
            browser = tool.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            yield Lab(folder, page, found["url"], found["token"])
            browser.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def _server_of(runtime: Path, server: subprocess.Popen[bytes]) -> dict[str, Any]:
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            with contextlib.suppress(json.JSONDecodeError):
                return dict(json.loads(path.read_text()))
        time.sleep(0.3)
    raise AssertionError(f"JupyterLab did not start; see {runtime.parent / 'lab.log'}")
