"""Numbers of the README that a run or a benchmark produced: found, kept in `results.yaml`, and put into the text.

    python docs/results.py outputs/transfer     a finished run's numbers into results.yaml, and into the README
    python docs/results.py                      results.yaml into the README

In the README a number stands between `<!--=<run>/<table>/<row>-->` and `<!--/-->`, which no reader sees. `<run>` is
the run's folder, `<table>` says where it is found (`tables` of results.yaml), `<row>` which row. What no run wrote (a
benchmark's ratio, a published value) is `measured/<name>` or `published/<name>`, with its command or source.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TEXT, TABLE = ROOT / "README.md", ROOT / "docs" / "results.yaml"
NUMBER = re.compile(r"<!--=([\w.+-]+)/([\w.+-]+)(?:/([\w.+ -]+))?-->(.*?)<!--/-->")
HEAD = "# Every number of the README that a run or a benchmark produced; made by docs/results.py, which tells how.\n"


def marks(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Each number of a text: run, table, row and what stands there."""
    for found in NUMBER.finditer(text):
        yield found[1], found[2], found[3] or "", found[4]


def known(results: dict[str, Any], run: str, table: str, row: str) -> str:
    """What a number is; a KeyError for one that was never collected."""
    if run in ("measured", "published"):
        return str(results[run][table]["is"])
    return str(results["runs"][run]["values"][f"{table}/{row}"])


def find(folder: Path, how: dict[str, Any], row: str) -> str:
    """A number of a run's folder as its table shows it; several rows are joined by commas.

    A KeyError when no row is there.
    """
    path = folder / how["file"].format(row=row)
    if path.suffix == ".json":
        rows = [json.loads(path.read_text(encoding="utf-8"))]
    else:
        wanted = dict(how.get("where", {})) | ({how["by"]: row} if "by" in how else {})
        with open(path, encoding="utf-8", newline="") as handle:
            rows = [line for line in csv.DictReader(handle) if all(line[key] == value for key, value in wanted.items())]
    if not rows:
        raise KeyError(f"{path} has no row {row!r} of {how}")
    return ", ".join(how["show"].format(**{key: _number(value) for key, value in line.items()}) for line in rows)


def _number(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def collect(folder: Path, results: dict[str, Any], text: str) -> None:
    """Put the numbers that the text names of a run into `results`, with the commit that made them."""
    run = folder.name
    entry = results["runs"].setdefault(run, {"command": f"make run PARAMS=params/{run}.yaml"})
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("0*/run.json"))]
    entry["commit"] = ", ".join(dict.fromkeys(str(record["git_commit"])[:7] for record in records))
    entry["values"] = {
        f"{table}/{row}": find(folder, results["tables"][table], row)
        for name, table, row, _ in marks(text)
        if name == run
    }


def filled(results: dict[str, Any], text: str) -> str:
    """The text with every number as `results` has it."""

    def put(found: re.Match[str]) -> str:
        head = found[0].partition("-->")[0]
        return f"{head}-->{known(results, found[1], found[2], found[3] or '')}<!--/-->"

    return NUMBER.sub(put, text)


def main(folders: list[str]) -> None:
    """Collect the runs that are named, then bring the README up to date."""
    results, text = yaml.safe_load(TABLE.read_text(encoding="utf-8")), TEXT.read_text(encoding="utf-8")
    for folder in folders:
        collect(Path(folder).resolve(), results, text)
    TABLE.write_text(HEAD + yaml.safe_dump(results, sort_keys=False, allow_unicode=True, width=160), encoding="utf-8")
    TEXT.write_text(filled(results, text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
