"""Folders as people unpack them: names in any case, wrapped in one or more further folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

DEEPEST = 4  # folders between a data set's own and the one that its archive's files lie in


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; none where it cannot be listed. A Mac's `__MACOSX` holds no data."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    except OSError:
        return []


def find_below(data: Path, names: Iterable[str], is_it: Callable[[Path], bool]) -> Path | None:
    """The first folder that `is_it` accepts: one of these names below `data`, in any case, or the shallowest in it."""
    wanted = [name.lower() for name in names]
    level = sorted(
        (path for path in subfolders(data) if path.name.lower() in wanted),
        key=lambda path: (wanted.index(path.name.lower()), path.name),
    )
    for _ in range(DEEPEST):
        for folder in level:
            if is_it(folder):
                return folder
        level = [inner for folder in level for inner in subfolders(folder)]
    return None
