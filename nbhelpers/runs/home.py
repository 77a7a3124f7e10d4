"""A home that cannot be written: where the caches of other libraries go then."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Snakemake's, matplotlib's, numba's (through UMAP), IPython's and Jupyter's own variables.
CACHES = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR")


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def settle(outputs: Path) -> None:
    """Send the caches below `outputs/.cache/` when the home's cannot be written; a variable that is set is kept."""
    cache = os.environ.get("XDG_CACHE_HOME")
    if is_writable(Path(cache) if cache else Path("~/.cache").expanduser()):
        return
    os.environ.pop("XDG_CACHE_HOME", None)
    for name in CACHES:
        os.environ.setdefault(name, str(outputs.absolute() / ".cache" / name.lower()))
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
