"""Whether somebody is at the screen, as the messages of Jupyter's protocol tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

from nbhelpers.runs import front_end

ASK = "from nbhelpers.runs import front_end; print(front_end.in_notebook(), front_end.live())"


def printed(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in notebook.cells[0].outputs).strip()


def test_outside_a_notebook_nobody_is_there() -> None:
    assert not front_end.in_notebook() and not front_end.live()


def test_what_runs_a_notebook_without_a_screen_is_none(tmp_path: Path) -> None:
    """nbclient is what papermill and nbconvert run notebooks with."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ASK)])
    executed = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert printed(executed) == "True False"


def test_a_request_of_somebody_who_can_be_asked_is_one() -> None:
    manager, client = start_new_kernel(env=dict(os.environ), startup_timeout=120)
    texts: list[str] = []

    def keep(message: dict[str, Any]) -> None:
        texts.append(message["content"].get("text", ""))

    try:
        for allowed in (True, False):
            client.execute_interactive(ASK, allow_stdin=allowed, output_hook=keep, timeout=120)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "".join(texts).split() == ["True", "True", "True", "False"]


@pytest.mark.parametrize(("kind", "expected"), [("comm_msg", True), ("execute_request", False)])
def test_a_message_of_a_widget_comes_from_a_front_end(
    kind: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kernel:
        def get_parent(self, channel: str) -> dict[str, Any]:
            return {"header": {"msg_type": kind}, "content": {}}

    monkeypatch.setattr(front_end, "_kernel", Kernel)
    assert front_end.live() is expected
