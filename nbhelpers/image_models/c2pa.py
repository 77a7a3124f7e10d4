"""Whether an image file carries a C2PA manifest, the signed note of where it comes from. Nothing is removed."""

from __future__ import annotations

import struct


def has_manifest(data: bytes) -> bool:
    """True when a PNG, JPEG or WebP file holds a C2PA manifest store (C2PA specification 2.1, appendix A).

    Looked for where the standard puts it: PNG chunk `caBX`, JPEG segments APP11 with a JUMBF box, WebP chunk `C2PA`.
    The signature is not checked. SynthID, Google's invisible watermark, cannot be seen from the file.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _has_chunk(data, 8, ">I4s", b"caBX", extra=4)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _has_chunk(data, 12, "<4sI", b"C2PA", extra=0)
    if data.startswith(b"\xff\xd8"):
        return _has_app11(data)
    return False


def _has_chunk(data: bytes, start: int, header: str, wanted: bytes, extra: int) -> bool:
    place = start
    while place + 8 <= len(data):
        first, second = struct.unpack_from(header, data, place)
        name, size = (second, first) if isinstance(second, bytes) else (first, second)
        if name == wanted:
            return True
        place += 8 + size + extra + (0 if extra else size % 2)
    return False


def _has_app11(data: bytes) -> bool:
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        size = int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + size]
        if data[place + 1] == 0xEB and segment[:2] == b"JP" and b"jumb" in segment and b"c2pa" in segment:
            return True
        place += 2 + max(size, 2)
    return False
