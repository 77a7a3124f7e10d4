"""The cells of a table that somebody else wrote, as text, whatever a spreadsheet made of CSV."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from nbhelpers.errors import UserError

DELIMITERS = (",", ";", "\t", "|")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
MAX_BYTES = 512 * 2**20  # a million films take a fifth of it


def read_cells(path: Path, needed: Collection[str], alias: dict[str, str] | None = None) -> pd.DataFrame:
    """A table as text cells, an empty one missing, under names in small letters; the index is the line in the file.

    Read are UTF-8, UTF-16 with its mark, and Windows-1252; comma, semicolon, tab and `|`, whichever gives a header with
    the columns that are needed; lines of comment before the header (`#`); and rows that end in empty cells or hold
    nothing else.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    needed : collection of str
        Columns that must be there, in small letters with `_` for a space.
    alias : dict, optional
        Other names of columns: name in the file to the one meant, where that one is not there.

    Raises
    ------
    UserError
        When it is no such table, lacks a column, names one twice, or a row has more cells than the header.
    """
    where = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(
                f"a file of over {MAX_BYTES // 2**20} MiB is too large for a table of films", where, "name a CSV file"
            )
        text = _decoded(path.read_bytes(), where)
    except OSError as error:
        raise UserError(f"table cannot be read: {error.strerror}", where, "check the path") from None
    lines = text.splitlines(keepends=True)
    skipped = next(
        (n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), len(lines)
    )
    readings = [_rows("".join(lines[skipped:]), delimiter, where) for delimiter in DELIMITERS]
    headers = [_header(rows[0][1], alias or {}) if rows else [] for rows in readings]
    fitting = [number for number, header in enumerate(headers) if set(needed) <= set(header)]
    if not fitting:
        found = max(headers, key=len)
        if not found:
            raise UserError("the table is empty", where, f"give it the columns {', '.join(needed)}")
        lacking = next(name for name in needed if name not in found)
        raise UserError(f"no column {lacking!r}", where, f"the columns are {', '.join(map(repr, found))}")
    rows, header = readings[fitting[0]], headers[fitting[0]]
    doubled = next((name for name in header if name and header.count(name) > 1), None)
    if doubled:
        raise UserError(f"two columns {doubled!r}", where, "name each column once")
    cells, places = [], []
    for place, row in rows[1:]:
        if not any(row):
            continue
        if any(row[len(header) :]):
            raise UserError(
                f"line {place + skipped} has {len(row)} cells under {len(header)} columns",
                where,
                "put text that holds the delimiter into quotes",
            )
        cells.append([cell or None for cell in row[: len(header)]] + [None] * (len(header) - len(row)))
        places.append(place + skipped)
    table = pd.DataFrame(cells, columns=header, index=pd.Index(places, name="line"), dtype="str")
    return table.drop(columns=[name for name in header if not name])


def _decoded(data: bytes, where: str) -> str:
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError("a workbook, not a CSV file", where, "save it as CSV (UTF-8) there and name that file")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise UserError("not readable as text", where, "save it as CSV (UTF-8)") from None
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise UserError("not readable as text", where, "save it as CSV (UTF-8)")
    return text


def _rows(text: str, delimiter: str, where: str) -> list[tuple[int, list[str]]]:
    """Rows with the line that each ends at, counted from 1."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"not readable as CSV: {error}", where, "correct the file") from None


def _header(names: Sequence[str], alias: dict[str, str]) -> list[str]:
    plain = [re.sub(r"[\s-]+", "_", name.lower()) for name in names]
    return [alias[name] if name in alias and alias[name] not in plain else name for name in plain]
