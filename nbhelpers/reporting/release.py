"""What a paper's supplement needs of a finished run, in one archive whose every file can be verified.

Executed notebooks, tables, figures, report, parameter file, lock and the `run.json` of each stage, with their SHA-256;
neither the images themselves nor the networks. Where real pictures took part, nothing goes in that may show one:
notebooks without their pictures, and of the figures those that draw numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.image_models.redaction import holds_key
from nbhelpers.networks.checkpoints import further_seeds, network_name
from nbhelpers.reporting import run_facts
from nbhelpers.reporting.run_facts import RunFacts
from nbhelpers.runs import parameters
from nbhelpers.runs.dependence import made_otherwise
from nbhelpers.runs.files import atomic_path

SUMS = "SHA256SUMS"  # as sha256sum writes and checks it
WRITTEN = ("index.html", "model_card.md", "model_card.html", "flow.csv", "parameters.yaml", "checklists/*")
TABLES = ("0*/*.csv", "0*/*/images.csv", "0*/arms/*.csv", "03_training/**/*.csv")
RECORDS = ("0*/run.json", "03_training/**/run.json", "03_training/**/model.json")
# Figures that draw numbers alone, or images of the simulator (`drawn_`): of real pictures no other may go out.
OF_NUMBERS = re.compile(
    r"(figure_2|figure_3|roc_pr|scores|seeds|dose|subgroups|calibration|robustness|saliency|flow|pipeline|diversity|"
    r"requests|editing_chain|training_.*|drawn_.*)\.(png|svg)"
)
# Keys of the services that are known, whoever's they are.
KEYS = re.compile(rb"AIza[0-9A-Za-z_-]{35}|\bsk-[0-9A-Za-z_-]{20,}|\bhf_[0-9A-Za-z]{30,}")
PICTURE = re.compile(r"data:image/|<img|<svg", re.IGNORECASE)


def write(run_folder: Path | str) -> Path:
    """Write `release_<run>.zip` beside a run's report, open it in a clean folder, verify it, and give its path.

    Raises
    ------
    UserError
        When the run is not finished, a result was made with other parameters than its file's, or a file holds a key.
    """
    folder = Path(run_folder)
    facts = run_facts.read(folder)
    _check_finished(folder)
    contents = dict(sorted(_contents(facts).items()))
    if named := [name for name, data in contents.items() if holds_key(data) or KEYS.search(data)]:
        fix = "remove the key, revoke it where it was issued, and run that stage again"
        raise UserError(f"found a key in {', '.join(named)}", str(folder), fix)
    contents[SUMS] = "".join(f"{_hash(data)}  {name}\n" for name, data in contents.items()).encode()
    path = folder / f"release_{facts.name}.zip"
    with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(f"{facts.name}/{name}"), data, zipfile.ZIP_DEFLATED)  # no time: same bytes
    verify(path)
    return path


def verify(archive: Path | str) -> int:
    """Open an archive in a clean folder and compare every file with its hash; gives the number of files.

    Raises
    ------
    UserError
        Which names the files that are other than their hash, missing, or not listed.
    """
    with tempfile.TemporaryDirectory() as clean:
        try:
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(clean)
        except zipfile.BadZipFile as error:
            raise UserError(f"the archive is damaged: {error}", str(archive), "write it again") from None
        (folder,) = Path(clean).iterdir()
        sums = (folder / SUMS).read_text(encoding="utf-8") if (folder / SUMS).is_file() else ""
        listed = {line[66:]: line[:64] for line in sums.splitlines()}
        there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        there.pop(SUMS, None)
        wrong = sorted(listed.keys() ^ there.keys()) + [
            name for name in listed.keys() & there.keys() if _hash(there[name].read_bytes()) != listed[name]
        ]
    if wrong or not listed:
        raise UserError(f"hash mismatch: {', '.join(wrong) or SUMS}", str(archive), "write it again")
    return len(listed)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_finished(folder: Path) -> None:
    again = f"make run PARAMS={folder / 'parameters.yaml'}"
    if not (folder / "index.html").is_file() or not (folder / "parameters.yaml").is_file():
        raise UserError("the run is not finished", str(folder), again)
    values = parameters.load(folder / "parameters.yaml")
    further = [(arm, seed) for arm in values["arms"] for seed in further_seeds(values["seed"], values["extra_seeds"])]
    wanted = [*parameters.records(values), *(f"03_training/{network_name(*one)}/run.json" for one in further)]
    # A stage that was run again and failed has none, beside the report of the time before.
    if missing := [path for path in wanted if not (folder / path).is_file()]:
        raise UserError(f"the run is not finished: {', '.join(missing)}", str(folder), again)
    if stale := made_otherwise(folder, values):
        raise UserError(f"made with other parameters: {', '.join(stale)}", str(folder), again)


def shows_patients(facts: RunFacts) -> bool:
    """Whether a real picture took part anywhere: films, images or masks of the user's own, edits."""
    values = facts.parameters
    films = any(not row["simulated"] for row in facts.datasets())
    masks = any(not str(name).startswith("simulated_") for name in values.get("segmentation_data") or [])
    edits = bool(values.get("editors")) and isinstance(values.get("editing_pictures"), str)
    return films or masks or edits or facts.own_images


def _contents(facts: RunFacts) -> dict[str, bytes]:
    """Every file of the archive by its name there."""
    folder, real = facts.folder, shows_patients(facts)
    found: dict[str, bytes] = {"requirements.lock": (parameters.ROOT / "requirements.lock").read_bytes()}
    for path in _files(folder, (*WRITTEN, *TABLES, *RECORDS)):
        data = path.read_bytes()
        if not (real and b"data:image/" in data):
            found[path.relative_to(folder).as_posix()] = data
    for path in _files(folder, ("figures/*.png", "figures/*.svg")):
        if not real or OF_NUMBERS.fullmatch(path.name):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    for path in _files(folder, ("notebooks/**/*.ipynb",)):
        name, data = path.relative_to(folder).as_posix(), path.read_bytes()
        found[name] = json.dumps(_without_pictures(json.loads(data)), indent=1).encode() if real else data
        if not real and path.with_suffix(".html").is_file():
            found[name.removesuffix(".ipynb") + ".html"] = path.with_suffix(".html").read_bytes()
    return {name: data if name.endswith(".png") else _placeless(data, folder) for name, data in found.items()}


def _files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from (path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith("."))


def _placeless(data: bytes, folder: Path) -> bytes:
    """A file without where the project, its outputs and its data lie on this machine, which is nobody's concern."""
    places = {str(folder.absolute().parent), str(parameters.ROOT), os.environ.get("NBHELPERS_DATA", "")} - {""}
    for place in sorted(places, key=len, reverse=True):  # the outputs may lie in the project
        data = data.replace(place.rstrip(os.sep).encode() + os.sep.encode(), b"")
    return data


def _without_pictures(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """An executed notebook whose outputs show no picture; what is left out is said in its place."""
    cells = []
    for cell in notebook["cells"]:
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            shown = {kind: value for kind, value in data.items() if not _is_picture(kind, value)}
            if len(shown) < len(data):
                shown["text/plain"] = ["[a picture that may show a patient is left out]"]
            kept.append(output | {"data": shown} if data else output)
        cells.append(cell | {"outputs": kept} if "outputs" in cell else cell)
    metadata = {name: value for name, value in notebook["metadata"].items() if name != "widgets"}
    return {**notebook, "cells": cells, "metadata": metadata}


def _is_picture(kind: str, value: Any) -> bool:
    text = value if isinstance(value, str) else "".join(map(str, value)) if isinstance(value, list) else str(value)
    return not kind.startswith("text/") or PICTURE.search(text) is not None
