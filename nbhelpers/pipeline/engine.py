"""papermill's own engine and its log without the warnings that are false here.

papermill loads it at its start, by the entry point in `pyproject.toml`. Its inspector reads a parameters cell line by
line: it loses annotations such as `int | None` and lines with a second `=`, and then warns of parameters that are
declared. A whole experiment's file given to one notebook is meant too. What none declares, `open_stage` refuses.
"""

from __future__ import annotations

import logging

from papermill.engines import NBClientEngine

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters

__all__ = ["NBClientEngine"]


def is_true(record: logging.LogRecord) -> bool:
    """Whether a record of papermill's log is none of its false warnings."""
    text = record.getMessage()
    if text.startswith("Unable to parse line"):
        return False
    beginning, _, name = text.partition("Passed unknown parameter: ")
    try:
        return bool(beginning) or not name or name not in parameters.all_declared()
    except UserError:
        return True


logging.getLogger("papermill").addFilter(is_true)
