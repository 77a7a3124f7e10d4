"""Image files kept exactly as a source sent them: named by what their bytes are, described, never replaced."""

from __future__ import annotations

import hashlib
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


def keep_original(folder: Path, name: str, data: bytes) -> dict[str, Any]:
    """Write an image's bytes to `images/<name>.<what they are>` below `folder`, on the disk when this returns.

    A file that lies there is never replaced: the name gets a number. Gives what `describe` gives.

    Raises
    ------
    UserError
        When the disk takes no more.
    """
    suffix = SUFFIXES[sniff_format(data) or "png"]
    path, tries = f"images/{name}{suffix}", 0
    while (folder / path).exists():
        tries += 1
        path = f"images/{name}-{tries}{suffix}"
    try:
        write_bytes(folder / path, data)
    except OSError as error:
        do = "free some disk space and run again"
        raise UserError(f"an image cannot be written: {error.strerror}", str(folder / path), do) from None
    return describe(data, path)


def file_is_whole(folder: Path, line: Mapping[str, Any]) -> bool:
    """Whether the file of a ledger's `ok` line lies in `folder` with the size that the line notes."""
    try:
        return inside(folder, line["path"]).stat().st_size == line["bytes"]
    except OSError:
        return False
