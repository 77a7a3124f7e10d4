"""Files that are whole or absent: atomic writes, hashes, and paths that stay inside their folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import posixpath
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError

REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})  # of a disk that takes no more


class DiskRefused(UserError):
    """The disk takes no more: it is full, a quota is reached, or it may only be read."""

    @classmethod
    def at(cls, error: OSError, path: Path | str, safe: str = "what was written before is safe") -> DiskRefused:
        """The error for a path that could not be written; `safe` says what is not lost."""
        do = "make it writable" if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) else "free some disk space"
        return cls(f"cannot be written: {error.strerror}; {safe}", str(path), f"{do} and run again")


@contextlib.contextmanager
def disk(path: Path | str) -> Iterator[None]:
    """What is done within raises a `DiskRefused` that names `path` when the disk takes no more."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise DiskRefused.at(error, path) from None


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it is renamed to `path`, on failure it is removed.

    The parent folder is made when missing. The temporary name keeps the suffix, since writers choose a format by it.
    A `DiskRefused` when the disk takes no more.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise DiskRefused.at(error, path) from None
    finally:
        with contextlib.suppress(
            OSError
        ):  # on a disk that may only be read nothing can be removed, nor was anything made
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, data: bytes, durable: bool = True) -> None:
    """Write `data` to `path` atomically; `durable` also waits for the disk before the rename (slow by the thousand)."""
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        handle.write(data)
        if durable:
            handle.flush()
            os.fsync(handle.fileno())


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically; NaN is refused, since JSON has none."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path | str) -> Any:
    """Read a JSON file; a missing or broken one is a `UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("file not found", str(path), "run the stage that writes it") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"not readable as JSON: {error}", str(path), "run its stage again") from None


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def inside(folder: Path | str, relative: str) -> Path:
    """The path `relative` below `folder`.

    Raises
    ------
    UserError
        When `relative` is absolute or leaves `folder` by `..`, or names a file that is a link out of it: tables come
        from other people too. A linked folder below it is followed, as the work of whoever keeps the data.
    """
    text = str(relative).replace("\\", "/")
    way = posixpath.normpath(text)
    path = Path(folder) / way
    leaves = way.startswith("/") or way.split("/")[0] == ".." or "\0" in text
    if not leaves and path.is_symlink():
        homes = (Path(folder).resolve(), path.parent.resolve())
        leaves = path.is_file() and not any(path.resolve().is_relative_to(home) for home in homes)
    if leaves:
        raise UserError(f"path {str(relative)!r} leaves its folder", str(folder), "use a path below the table's folder")
    return path
