"""Image files kept exactly as a source sent them: named by what their bytes are, described, never replaced."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nbhelpers.errors import UserError
from nbhelpers.image_models.c2pa import has_manifest
from nbhelpers.image_models.redaction import clean, holds_key
from nbhelpers.images.files import SUFFIXES, decode, sniff_format
from nbhelpers.runs.files import DiskRefused, inside, write_bytes


def describe(data: bytes, path: str) -> dict[str, Any]:
    """What a ledger notes of an image file: `path, format, width, height` (None: broken), `bytes, sha256, c2pa`."""
    width = height = None
    with contextlib.suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        width, height = Image.open(io.BytesIO(data)).size
    return {
        "path": path,
        "width": width,
        "height": height,
        "format": sniff_format(data),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "c2pa": has_manifest(data),
    }


def keep_original(folder: Path, name: str, data: bytes, place: str = "images") -> dict[str, Any]:
    """Write an image's bytes to `<place>/<name>.<what they are>` below `folder`, on the disk when this returns.

    Of a file that carries a key in its words the pixels are kept alone, as PNG. A file that lies there is never
    replaced: the name gets a number, unless the file holds these very bytes. Gives what `describe` gives. A
    `DiskRefused` when the disk takes no more.
    """
    data = _pixels(data) if holds_key(data) else data
    suffix = SUFFIXES.get(sniff_format(data) or "", ".bin")
    path, tries = f"{place}/{name}{suffix}", 0
    while (folder / path).exists():
        if (folder / path).read_bytes() == data:
            return describe(data, path)
        tries += 1
        path = f"{place}/{name}-{tries}{suffix}"
    try:
        write_bytes(folder / path, data)
    except OSError as error:
        raise DiskRefused.at(error, folder / path) from None
    return describe(data, path)


def _pixels(data: bytes) -> bytes:
    """An image as PNG without anything beside its pixels; nothing of one that cannot be decoded."""
    made = io.BytesIO()
    with contextlib.suppress(UserError):
        image = decode(data)
        image = image if image.mode in ("L", "RGB", "RGBA", "I;16") else image.convert("RGB")
        Image.fromarray(np.asarray(image)).save(made, "PNG")
    return made.getvalue()


def note_arrival(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Note what a reply said of an image (`name`) before it is written: a kill may come before the ledger's line.

    A line in a file of this process's own, below `arriving/`; left to the system's own time to reach the disk, since
    it is of use after a kill, not after a power failure.
    """
    path = folder / "arriving" / f"{os.getpid()}.jsonl"
    # On a line of its own also behind one that a full disk cut off.
    line = "\n" + json.dumps({"name": name, "facts": clean(facts)}, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as handle:
            handle.write(line.encode())
    except OSError as error:
        raise DiskRefused.at(error, path) from None


def arrivals(folder: Path) -> dict[str, dict[str, Any]]:
    """What `note_arrival` wrote in this folder, by name; a torn line is passed over."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((folder / "arriving").glob("*.jsonl")):
        for raw in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                line = json.loads(raw)
                found[line["name"]] = clean(dict(line["facts"]))
    return found


def forget_arrivals(folder: Path) -> None:
    """Remove what `note_arrival` wrote, once the ledger holds it all."""
    for path in (folder / "arriving").glob("*.jsonl"):
        path.unlink(missing_ok=True)


def file_is_whole(folder: Path, line: Mapping[str, Any]) -> bool:
    """Whether the file of a ledger's `ok` line lies in `folder` with the size that the line notes."""
    try:
        return inside(folder, line["path"]).stat().st_size == line["bytes"]
    except (OSError, UserError, KeyError, ValueError):
        # Also a line that somebody changed.
        return False
