"""The simulator as a source of images: films and their truth, written as PNG, drawn once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.images.files import write_png
from nbhelpers.images.masks import Box
from nbhelpers.runs import files
from nbhelpers.runs.progress import progress
from nbhelpers.runs.tables import write_table
from nbhelpers.simulator.film import CHOICES, design_rows, film_of_row, map_rows
from nbhelpers.simulator.truth import pack_truth

_BOXES = ("field", "watermark", "lesion")
_PHYSICS = {"simulator": "nano_banana", "simulator_roentgen": "roentgen"}
_LOOKS = {"nano_banana": "Nano Banana", "roentgen": "RoentGen-v2"}
_ROENTGEN_SIZE = 512
_SAVE_EVERY = 500  # films between two writes of the truth table, which is what a killed run goes on from
_VERSION = 1  # raise it when the same row draws another film


class SimulatorSource:
    """Draws a design with the simulator; its parameters are `workers` and, for `simulator`, `simulator_size` (pixels).

    `simulator` looks as a general image model draws (watermark, captions, frames), `simulator_roentgen` is clean, 512
    pixels along a side. With `simulator_twins` the two of a pair have one exposure, and differ in the opacity alone.
    """

    simulated = True

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        if name not in _PHYSICS:
            raise UserError(f"no simulated source named {name!r}", "arms", f"use one of: {', '.join(_PHYSICS)}")
        self.name = name
        self.physics = _PHYSICS[name]
        self.size = _ROENTGEN_SIZE if self.physics == "roentgen" else int(parameters.get("simulator_size", 256))
        self.workers, self.twins = int(parameters.get("workers", 0)), bool(parameters.get("simulator_twins", False))
        self.model = f"simulator (imitates {_LOOKS[self.physics]})"

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Write `images/<image_id>.png` and `truth/<image_id>.png` below `folder` for each row, and give one row each.

        Films of an earlier call with the same rows and size are kept. The columns are `image_id, path, status,
        truth_path`, and the boxes `field_left` to `lesion_bottom` (empty for none).
        """
        folder = Path(folder)
        known = self._known(folder)
        design = design.assign(seed=design["pair_seed"]) if self.twins else design
        rows = [dict(row, _key=self._key(row)) for row in design_rows(design)]
        missing = [row for row in rows if known.get(str(row["image_id"]), {}).get("key") != row["_key"]]
        write = partial(_write_film, folder=str(folder), physics=self.physics, size=self.size)
        drawn = map_rows(write, missing, self.workers)
        try:
            bar = progress(drawn, desc=f"drawing {self.name}", total=len(missing), unit="film")
            for number, record in enumerate(bar, start=1):
                known[record["image_id"]] = record
                if number % _SAVE_EVERY == 0:
                    write_table(pd.DataFrame(list(known.values())), folder / "truth.csv")
        finally:
            # Also after an interrupt: what is drawn is not drawn again.
            if missing and known:
                write_table(pd.DataFrame(list(known.values())), folder / "truth.csv")
        table = pd.DataFrame([known[str(row["image_id"])] for row in rows])
        return table.drop(columns="key", errors="ignore")

    def _key(self, row: Mapping[str, Any]) -> str:
        wanted = [row.get(name) for name in (*CHOICES, "age", "devices", "pair_seed", "seed")]
        texts = ["" if value is None or value != value else str(value) for value in wanted]
        return "|".join([*texts, self.physics, str(self.size), str(_VERSION)])

    def _known(self, folder: Path) -> dict[str, dict[str, Any]]:
        if not (folder / "truth.csv").exists():
            return {}
        table = pd.read_csv(folder / "truth.csv", dtype={"image_id": "str", "key": "str"})
        table = table.astype({f"{box}_{edge}": "Int64" for box in _BOXES for edge in Box._fields})
        rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]  # names are texts
        return {
            row["image_id"]: row
            for row in rows
            if (folder / row["path"]).exists() and (folder / row["truth_path"]).exists()
        }


def _write_film(row: Mapping[str, Any], folder: str, physics: str, size: int) -> dict[str, Any]:
    film = film_of_row(row, physics, size)
    name = str(row["image_id"])
    path, truth_path = f"images/{name}.png", f"truth/{name}.png"
    write_png(files.inside(folder, truth_path), pack_truth(film))
    write_png(files.inside(folder, path), film.image)
    record: dict[str, Any] = {"image_id": name, "path": path, "status": "ok", "truth_path": truth_path}
    for box, values in zip(_BOXES, (film.field, film.watermark, film.lesion_box), strict=True):
        for edge, value in zip(Box._fields, values or (None,) * 4, strict=True):
            record[f"{box}_{edge}"] = value
    record["key"] = row["_key"]
    return record
