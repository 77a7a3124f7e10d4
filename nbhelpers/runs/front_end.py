"""Whether somebody is at the screen: what a notebook shows then may be turned, and is a figure or a table otherwise."""

from __future__ import annotations

import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this is a notebook's kernel, whoever runs it."""
    return _kernel() is not None


def live() -> bool:
    """Whether a front end that can show widgets asked for what runs now: JupyterLab, and not papermill or nbconvert.

    Jupyter's protocol has each request say whether somebody can be asked for input (`allow_stdin`); whatever runs a
    notebook without a screen says no. Messages of a widget come from a front end alone.
    """
    kernel = _kernel()
    if kernel is None:
        return False
    asked = kernel.get_parent("shell") or {}
    if str(asked.get("header", {}).get("msg_type", "")).startswith("comm_"):
        return True
    return bool(asked.get("content", {}).get("allow_stdin", False))


def _kernel() -> Any:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    return kernel if hasattr(kernel, "get_parent") else None
