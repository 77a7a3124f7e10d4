"""The one gate for what came from outside: no key of the environment, whole, in part or encoded; plain JSON alone."""

from __future__ import annotations

import base64
import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

PIECE = 8  # characters of a key that are as good as the key: shorter ones are left, or words would be lost
_SECRET = ("API_KEY", "_TOKEN", "_SECRET")  # how the names of variables end that hold one
_LOWER = {ord(letter): ord(letter) + 32 for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}  # keeps every length


def redact(text: str) -> str:
    """`text` with `[key]` in place of every key in the environment: services echo what they were sent.

    A key is found whole or in pieces of 8 characters or more, in any case, also backwards, in base64 (both alphabets,
    at any offset), in hexadecimal, percent-encoded or as `\\u` and `\\x` escapes.
    """
    return _redact(text, *_pieces(_keys()))


def _redact(text: str, quick: frozenset[str], pieces: dict[int, frozenset[str]]) -> str:
    low = text.translate(_LOWER)
    # Eight characters hold four at any fifth place: most texts end here.
    if not any(low[at : at + 4] in quick for at in range(0, len(low), 5)):
        return text
    hit = bytearray(len(low))
    for size, known in pieces.items():
        for at in range(len(low) - size + 1):
            if low[at : at + size] in known:
                hit[at : at + size] = b"\1" * size
    shown, inside = [], False
    for letter, hidden in zip(text, hit, strict=True):
        if not hidden or not inside:
            shown.append("[key]" if hidden else letter)
        inside = bool(hidden)
    return "".join(shown)


def holds_key(data: bytes) -> bool:
    """Whether a file's bytes hold a whole key, as it is or in base64."""
    keys = [value.encode() for value in _keys() if len(value) >= PIECE]
    return any(key in data or base64.b64encode(key).rstrip(b"=")[:-1] in data for key in keys)


def _keys() -> tuple[str, ...]:
    return tuple(sorted({value.strip() for name, value in os.environ.items() if name.endswith(_SECRET)}))


@lru_cache(maxsize=16)
def _pieces(values: tuple[str, ...]) -> tuple[frozenset[str], dict[int, frozenset[str]]]:
    """Of all forms of the keys: their parts of four characters, and their parts that give a key away, by length."""
    forms: list[tuple[int, str]] = []
    for value in values:
        if len(value) < PIECE:
            continue
        data = value.encode()
        forms += [(PIECE, value), (PIECE, value[::-1]), (PIECE, quote(value, safe=""))]
        for offset in range(3):
            # What stands before the key moves its letters; the first sign and the last hold parts of others.
            coded = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")[offset and offset + 1 :]
            forms += [(PIECE, coded), (PIECE, coded.translate({ord("+"): "-", ord("/"): "_"}))]
        for form in ("{:02x}", "%{:02x}", "\\x{:02x}", "\\u{:04x}"):
            forms.append((PIECE * len(form.format(0)), "".join(form.format(byte) for byte in data)))
    quick: set[str] = set()
    pieces: dict[int, set[str]] = {}
    for size, form in forms:
        low = form.translate(_LOWER)
        quick |= {low[at : at + 4] for at in range(len(low) - 3)}
        pieces.setdefault(size, set()).update(low[at : at + size] for at in range(len(low) - size + 1))
    return frozenset(quick), {size: frozenset(known) for size, known in pieces.items()}


@contextlib.contextmanager
def gate() -> Iterator[None]:
    """What is raised within, and what led to it, carries no key."""
    try:
        yield
    except Exception as error:
        link: BaseException | None = error
        while link is not None:
            with contextlib.suppress(AttributeError, TypeError):
                link.args = tuple(redact(part) if isinstance(part, str) else part for part in link.args)
                vars(link).update({name: redact(part) for name, part in vars(link).items() if isinstance(part, str)})
            link = link.__cause__ or link.__context__
        raise


def clean(value: Any) -> Any:
    """`value` as plain JSON: every string and name redacted, numbers that JSON lacks as None, other things as text."""
    known = _pieces(_keys())

    def cleaned(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {_redact(str(name), *known): cleaned(entry) for name, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [cleaned(entry) for entry in value]
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        return value if value is None or isinstance(value, (bool, int)) else _redact(str(value), *known)

    return cleaned(value)
