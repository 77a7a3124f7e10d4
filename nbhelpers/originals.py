"""Image files kept exactly as a source sent them: named by what their bytes are, described, never replaced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbhelpers.c2pa import has_manifest
from nbhelpers.errors import UserError
from nbhelpers.files import inside, write_bytes
from nbhelpers.images import sniff_format

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "gif": ".gif", "bmp": ".bmp", "tiff": ".tif"}


def describe(data: bytes, path: str) -> dict[str, Any]:
    """What a ledger notes of an image file: `path, format, bytes, sha256, c2pa`."""
    return {
        "path": path,
        "format": sniff_format(data),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "c2pa": has_manifest(data),
    }


def keep_original(folder: Path, name: str, data: bytes, place: str = "images") -> dict[str, Any]:
    """Write an image's bytes to `<place>/<name>.<what they are>` below `folder`, on the disk when this returns.

    A file that lies there is never replaced: the name gets a number. Gives what `describe` gives.

    Raises
    ------
    UserError
        When the disk takes no more.
    """
    suffix = SUFFIXES.get(sniff_format(data) or "", ".bin")
    path, tries = f"{place}/{name}{suffix}", 0
    while (folder / path).exists():
        tries += 1
        path = f"{place}/{name}-{tries}{suffix}"
    try:
        write_bytes(folder / path, data)
    except OSError as error:
        do = "free some disk space and run again"
        raise UserError(f"an image cannot be written: {error.strerror}", str(folder / path), do) from None
    return describe(data, path)


def note_beside(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Write what a reply said of an image to `arriving/<name>.json`, before the image: a kill may come between.

    Left to the system's own time to reach the disk: it is of use after a kill, not after a power failure.
    """
    path = _beside(folder, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(facts)), encoding="utf-8")
    except OSError as error:
        do = "free some disk space and run again"
        raise UserError(f"an image's facts cannot be written: {error.strerror}", str(path), do) from None


def noted_beside(folder: Path, name: str) -> dict[str, Any]:
    """What `note_beside` wrote; empty when there is nothing, or not the whole of it."""
    try:
        found = json.loads(_beside(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def forget_beside(folder: Path, name: str) -> None:
    """Remove what `note_beside` wrote, once the ledger holds it."""
    _beside(folder, name).unlink(missing_ok=True)


def _beside(folder: Path, name: str) -> Path:
    return folder / "arriving" / f"{name}.json"


def file_is_whole(folder: Path, line: Mapping[str, Any]) -> bool:
    """Whether the file of a ledger's `ok` line lies in `folder` with the size that the line notes."""
    try:
        return inside(folder, line["path"]).stat().st_size == line["bytes"]
    except OSError:
        return False
