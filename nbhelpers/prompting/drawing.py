"""The seam between a design and its pictures: one small interface, a module a source, one table of what came of it.

To add a source: write a module in `sources/` with a class that has `name`, `simulated`, `model` and `draw` (see
`Source`), made from `(name, parameters)`, and list it in `SOURCES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from nbhelpers.errors import UserError
from nbhelpers.prompting.prompts import load_templates, matching_table
from nbhelpers.runs.files import inside, sha256_file
from nbhelpers.runs.parameters import sources_of as sources_of_arm
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress
from nbhelpers.runs.stage import gathered
from nbhelpers.runs.tables import LABELS, write_table


@runtime_checkable
class Source(Protocol):
    """Where images come from.

    One whose images exist already has `design() -> DataFrame` too: `image_id`, `label` and what else its table knows of
    each image, wanted in place of the prompt design. One that costs has `plan(design, folder) -> dict`.
    """

    name: str  # its key in `SOURCES`, and the folder of its images
    simulated: bool  # no general image model and no patient stands behind the images; shown wherever they show
    model: str  # what draws, as precisely as it is known; for the column `model` where the source gives none itself

    def draw(self, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
        """Draw what `folder` does not hold yet, into `folder/images/`.

        An `image_id` names its request: the same one always asks for the same picture. One row an image of `design`:
        `image_id`, `path` (relative to `folder`, empty when there is no file), `status` (`ok`, or why there is no
        image) and any further columns (truth, cost, ...).
        """
        ...


# Modules are imported when they are used, so that an unused source needs none of its packages.
SOURCES = {
    "simulator": "nbhelpers.prompting.sources.simulator:SimulatorSource",
    "simulator_roentgen": "nbhelpers.prompting.sources.simulator:SimulatorSource",
    "folder": "nbhelpers.prompting.sources.folder:FolderSource",
    "gemini": "nbhelpers.prompting.sources.gemini:GeminiSource",
    "openai": "nbhelpers.prompting.sources.services:ServiceSource",
    "ark": "nbhelpers.prompting.sources.services:ServiceSource",
    "bfl": "nbhelpers.prompting.sources.services:ServiceSource",
    "diffusers": "nbhelpers.prompting.sources.roentgen:DiffusersPipeline",
    "roentgen_v2": "nbhelpers.prompting.sources.roentgen:roentgen_source",
}


def sources_of(arms: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The sources that the arms need, each once, in the arms' order; an unknown one is a `UserError`."""
    names = list(dict.fromkeys(source for arm in arms.values() for source in sources_of_arm(arm)))
    for name in names:
        _check_known(name)
    return names


def make_source(name: str, parameters: Mapping[str, Any]) -> Source:
    """The source of this name, made from the experiment's parameters.

    A `UserError` for an unknown name, for a package that the source needs and that is not installed, or for what the
    source itself finds missing (a key, a table).
    """
    _check_known(name)
    module, _, maker = SOURCES[name].partition(":")
    try:
        made: Source = getattr(importlib.import_module(module), maker)(name, parameters)
    except ModuleNotFoundError as error:
        raise UserError(f"source {name!r} needs the module {error.name!r}", "arms", "install it") from None
    return made


def _check_known(name: str) -> None:
    if name not in SOURCES:
        raise UserError(f"unknown source {name!r}", "arms", suggest(name, SOURCES))


def draw_images(source: Source, design: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Let a source draw a design (`prompts.design`) into its own folder, and write `folder/images.csv`.

    What the folder holds already is kept. The table has the design's columns, the source's, and `source, simulated,
    model, sha256, width, height, status`: one row a wanted image, also those that did not come; `status` is `ok` or the
    reason. When nothing usable came of a class, it is written, and a `UserError` is raised: `status` tells why.
    """
    wanted = source.design() if hasattr(source, "design") else design
    folder.mkdir(parents=True, exist_ok=True)
    drawn = source.draw(wanted, folder)
    missing = {"image_id", "path", "status"} - set(drawn.columns)
    if missing or drawn["image_id"].duplicated().any() or not set(drawn["image_id"]) <= set(wanted["image_id"]):
        raise ValueError(f"source {source.name!r} broke its contract: one row an image, with image_id, path, status")
    # A source that words its own prompts tells what was really asked; all else of the design stands.
    wanted = wanted.drop(columns=[name for name in ("prompt",) if name in wanted and name in drawn])
    new = [name for name in drawn.columns if name == "image_id" or name not in wanted.columns]
    images = wanted.merge(drawn[new], on="image_id", how="left", validate="one_to_one")
    images["status"] = images["status"].fillna("not drawn")
    images["source"], images["simulated"] = source.name, source.simulated
    for name, default in (("model", source.model), ("prompt", "")):
        images[name] = images[name].fillna(default) if name in images else default
    images = _describe_files(images, folder)
    write_table(images, folder / "images.csv", "images")
    fit = images["status"] == "ok"
    empty = [label for label in LABELS if label not in images.loc[fit, "label"].to_numpy()]
    if empty:
        reasons = images.loc[~fit, "status"].value_counts().head(3)
        told = "; ".join(f"{count} x {reason}" for reason, count in reasons.items()) or "none was requested"
        # With nothing drawn at all, what stopped the source is the news, and not that two classes are needed.
        what = f"no usable image of class {empty[0]}" if len(empty) < len(LABELS) else f"no image was generated: {told}"
        do = f"both classes are needed ({told})" if len(empty) < len(LABELS) else "correct this and run again"
        raise UserError(what, str(folder / "images.csv"), do)
    return images


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """The wording is there, and every source that the arms need can be made: none lacks a key, a table or a package."""
    wanted = [(make_source, name, parameters) for name in sources_of(parameters["arms"])]
    faults = gathered([(load_templates, parameters["prompt_templates"]), *wanted])
    if faults:
        raise UserError.of(faults)


def draw_all(
    arms: Mapping[str, Mapping[str, str]], design: pd.DataFrame, parameters: Mapping[str, Any], folder: Path
) -> pd.DataFrame:
    """`draw_images` for every source that the arms need, each in `folder/<source>/`; the tables one below another.

    Every source is made before the first one draws: a missing key or table shows before hours of drawing.
    """
    sources = [make_source(name, parameters) for name in sources_of(arms)]
    return pd.concat([draw_images(source, design, folder / source.name) for source in sources], ignore_index=True)


def outcomes(images: pd.DataFrame) -> pd.DataFrame:
    """Images by source, class and status: `source, simulated, model, label, status, images`."""
    keys = ["source", "simulated", "model", "label", "status"]
    return images.groupby(keys, sort=False, dropna=False).size().rename("images").reset_index()


def matched_after_drawing(images: pd.DataFrame) -> pd.DataFrame:
    """Whether the images that came are still matched, by source: `source, pneumonia, normal, worst_attribute, auroc`.

    `auroc` is that of the attribute which tells the label best (see `prompts.matching_table`), of those that the
    source's table has; 0.5 tells nothing. Numbers other than age are not looked at.
    """
    rows = []
    for source, table in images[images["status"] == "ok"].groupby("source", sort=False):
        counts = table["label"].value_counts()
        # Side by side with others, a source has their columns too, empty.
        matching = matching_table(table.dropna(axis="columns", how="all"))
        name, auroc = "none known", np.nan
        if len(matching):
            worst = matching.sort_values("auroc").iloc[-1]
            name, auroc = worst["attribute"] if worst["auroc"] > 0.5 else "", round(float(worst["auroc"]), 3)
        rows.append((source, int(counts.get("pneumonia", 0)), int(counts.get("normal", 0)), name, auroc))
    return pd.DataFrame(rows, columns=["source", "pneumonia", "normal", "worst_attribute", "auroc"])


def source_facts(images: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What `run.json` keeps of each source: whether it is simulated, its models, and its images by status."""
    return {
        str(name): {
            "simulated": bool(rows["simulated"].iloc[0]),
            "models": sorted(str(model) for model in rows["model"].unique()),
            "images": {str(status): int(count) for status, count in rows["status"].value_counts().items()},
        }
        for name, rows in images.groupby("source", sort=False)
    }


def _describe_files(images: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add `sha256, width, height` from the files; a file that is missing or is no image changes its row's status."""
    images["path"] = images["path"].fillna("")
    found = []
    rows = zip(images["path"], images["status"], strict=True)
    for path, status in progress(rows, desc="hashing", total=len(images), unit="image"):
        digest, width, height = "", np.nan, np.nan
        if path:
            try:
                file = inside(folder, path)
                with Image.open(file) as image:
                    width, height = image.size
                digest = sha256_file(file)
            except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
                status = "unreadable" if status == "ok" else status
        elif status == "ok":
            status = "not drawn"
        found.append((digest, width, height, status))
    columns = ["sha256", "width", "height", "status"]
    return images.assign(**pd.DataFrame(found, columns=columns, index=images.index))
