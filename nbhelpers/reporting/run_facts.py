"""What a run's folder says of the run: its tables and `run.json` files, read once for reports and checklists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.metrics import wording
from nbhelpers.runs.files import read_json
from nbhelpers.runs.parameters import sources_of
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import read_table


@dataclass(frozen=True)
class RunFacts:
    """Everything that reports read; a stage that has not run leaves its tables empty.

    Attributes
    ----------
    folder : pathlib.Path
        `outputs/<run>`.
    stages : dict
        `run.json` of each stage, by folder: `01_prompting`, `03_training/<arm>`, ...
    parameters : dict
        Of all stages together.
    arms : dict
        Arm name to `source` and `crop`.
    images, cropped : dict
        By source: `01_prompting/<source>/images.csv` and `02_cropping/<source>/images.csv`.
    models, splits : dict
        By arm: `model.json`, `split.csv`.
    validation : dict
        The tables of `04_external_validation` by name: `datasets`, `exclusions`, `predictions`, `metrics`, ...
    interpretability : dict
        The tables of `05_interpretability` by name: `clusters`, ...
    editing : dict
        Of the tables of `06_image_editing`: `overall`, `pictures`.
    segmentation : dict
        Of the tables of `07_segmentation`: `comparison`, `datasets`, `models`.
    """

    folder: Path
    stages: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    arms: dict[str, dict[str, str]]
    images: dict[str, pd.DataFrame]
    cropped: dict[str, pd.DataFrame]
    models: dict[str, dict[str, Any]]
    splits: dict[str, pd.DataFrame]
    validation: dict[str, pd.DataFrame]
    interpretability: dict[str, pd.DataFrame]
    editing: dict[str, pd.DataFrame] = field(default_factory=dict)
    segmentation: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def scored_arms(self) -> dict[str, dict[str, str]]:
        """The arms, and the user's own checkpoints beside them, in the same form."""
        return self.arms | {name: _arm(model) for name, model in self.models.items() if name not in self.arms}

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def own_checkpoints(self) -> list[str]:
        """Networks that are scored here but were not trained here."""
        return [name for name in self.models if name not in self.arms]

    @property
    def sources(self) -> list[str]:
        """The sources of the arms' images, each once."""
        return list(dict.fromkeys(one for arm in self.arms.values() for one in sources_of(arm)))

    @property
    def own_images(self) -> bool:
        """Whether an arm trains on images of the user's own, which may show patients."""
        return "folder" in self.sources

    @property
    def films(self) -> pd.DataFrame:
        """One row a scored film, whichever arms scored it."""
        table = self.table("predictions")
        return table.drop_duplicates(["dataset", "image_id"]) if len(table) else table

    def table(self, name: str, **chosen: Any) -> pd.DataFrame:
        """A table of notebook 04 or 05 by its name without suffix, empty when it was not written.

        `chosen` picks rows: by column a value, or a list, set or tuple of values.
        """
        table = self.validation.get(name, self.interpretability.get(name, pd.DataFrame()))
        for column, values in chosen.items():
            if len(table):
                table = table[table[column].isin(values if isinstance(values, list | set | tuple) else [values])]
        return table

    def overall(self, *metrics: str) -> pd.DataFrame:
        """Primary overall rows of `metrics.csv`: by patients where these are known, else by films."""
        rows = primary(self.table("metrics", subgroup="all"))
        return rows[rows["metric"].isin(metrics)] if metrics and len(rows) else rows

    def source_is_simulated(self, source: str) -> bool:
        """Whether a source of training images is a simulator, by its table or by the networks trained on it."""
        if "+" in source:
            return all(self.source_is_simulated(one) for one in source.split("+"))
        if source in self.images:
            return bool(self.images[source]["simulated"].all())
        return any(model.get("simulated") and _arm(model)["source"] == source for model in self.models.values())

    def is_simulated(self, arm: str) -> bool:
        """Whether an arm was trained on simulated images."""
        return arm in self.scored_arms and self.source_is_simulated(self.scored_arms[arm].get("source", ""))

    def titles(self) -> dict[str, str]:
        """Title of each data set, marked where it is simulated."""
        table, simulated = self.table("datasets"), set(self.simulated_datasets())
        mark = " (simulated)"
        return {
            row["dataset"]: str(row["title"]).removesuffix(mark) + (mark if row["dataset"] in simulated else "")
            for row in table.to_dict("records")
        }

    def title(self, dataset: object) -> str:
        """Title of a data set, or its name where it has none."""
        return self.titles().get(str(dataset), str(dataset))

    def datasets(self) -> list[dict[str, Any]]:
        """Of each data set `dataset, title, simulated, n, patients, prevalence, excluded, licence, negatives` and
        `published`; None is unknown.
        """
        simulated, titles = self.simulated_datasets(), self.titles()
        return [
            {
                **{"dataset": row["dataset"], "title": titles[row["dataset"]], "n": int(row["n"])},
                **{"simulated": row["dataset"] in simulated, "prevalence": row["prevalence"]},
                "patients": None if pd.isna(row.get("n_patients")) else int(row["n_patients"]),
                "excluded": 0 if pd.isna(row.get("excluded")) else int(row["excluded"]),
                "licence": None if pd.isna(row.get("licence")) else row["licence"],
                "negatives": "normal" if pd.isna(row.get("negatives")) else str(row["negatives"]),
                "published": None if pd.isna(row.get("published")) else int(row["published"]),
            }
            for row in self.table("datasets").to_dict("records")
        ]

    def negatives(self, dataset: object) -> str:
        """What a data set's films without pneumonia are."""
        return next((row["negatives"] for row in self.datasets() if row["dataset"] == dataset), "normal")

    def partial(self) -> dict[str, str]:
        """Data sets of which a part alone is scored, by name: `339 of the 26,684 films published (1.3 %)`."""
        found = {}
        for row in self.datasets():
            missing = len(self.table("exclusions", dataset=row["dataset"], reason="file missing")) > 0
            listed = row["n"] + row["excluded"] * missing
            whole, what = (row["published"], "published") if row["published"] else (listed, "listed")
            if row["n"] < whole:
                found[row["dataset"]] = f"{row['n']:,} of the {whole:,} films {what} ({row['n'] / whole:.1%})"
        return found

    def origin(self, dataset: str) -> str:
        """Whose films a data set holds: simulated, own films, or real films of a published set."""
        if dataset in self.simulated_datasets():
            return "simulated"
        return "own films" if dataset == "folder" else "real films"

    def edits_simulated(self) -> str:
        """Whether the pictures of notebook 06 are `simulated`, `in part simulated`, or not (empty)."""
        simulated = self.editing["pictures"]["simulated"]
        return "simulated" if simulated.all() else "in part simulated" if simulated.any() else ""

    def simulated_datasets(self) -> list[str]:
        """Names of the data sets that no patient stands behind."""
        table = self.table("datasets")
        return [] if table.empty else list(table.loc[table["simulated"], "dataset"])


def read(run_folder: Path | str) -> RunFacts:
    """Read what a run has written so far.

    Raises
    ------
    UserError
        When the folder holds no stage of a run, or a table in it is broken.
    """
    folder = Path(run_folder)
    stages = {
        str(path.parent.relative_to(folder).as_posix()): read_json(path)
        for path in sorted([*folder.glob("0*/run.json"), *folder.glob("0*/*/run.json")])
    }
    if not stages:
        raise UserError(
            "this folder holds no stage of a run", str(folder), "run the pipeline first, or name its output folder"
        )
    named = _parameters(stages).get("arms")
    trained = {path.parent.name: read_json(path) for path in sorted(folder.glob("03_training/*/model.json"))}
    arms = {name: _arm(model) for name, model in trained.items()} if named is None else dict(named)
    # An arm that was taken out of the experiment leaves its folder; it is no part of the run any more.
    stages = {name: stage for name, stage in stages.items() if not _is_training(name) or name.split("/")[1] in arms}
    parameters = _parameters(stages)
    models = {name: trained[name] for name in arms if name in trained} | _own(parameters.get("checkpoints") or {})
    return RunFacts(
        folder=folder,
        stages=stages,
        parameters=parameters,
        arms=arms,
        images=_by_folder(folder / "01_prompting", "images.csv"),
        cropped=_by_folder(folder / "02_cropping", "images.csv"),
        models=models,
        splits=_of(arms, _by_folder(folder / "03_training", "split.csv")),
        validation=_tables(folder / "04_external_validation"),
        interpretability=_tables(folder / "05_interpretability"),
        editing=_some_tables(folder / "06_image_editing", ("overall", "pictures")),
        segmentation=_some_tables(folder / "07_segmentation", ("comparison", "datasets", "models")),
    )


def _is_training(stage: str) -> bool:
    return stage.startswith("03_training/")


def _arm(model: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(model.get("arm", {}).get(key, "unknown")) for key in ("source", "crop")}


def _of(arms: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {name: tables[name] for name in arms if name in tables}


def _own(checkpoints: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """`model.json` of checkpoints that the run did not train; one that was moved away since is left out."""
    paths = {name: user_path(folder) / "model.json" for name, folder in checkpoints.items()}
    return {name: read_json(path) for name, path in paths.items() if path.is_file()}


def _by_folder(folder: Path, name: str) -> dict[str, pd.DataFrame]:
    return {path.parent.name: read_table(path) for path in sorted(folder.glob(f"*/{name}"))}


def _some_tables(folder: Path, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    return {name: read_table(folder / f"{name}.csv") for name in names if (folder / f"{name}.csv").is_file()}


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: read_table(path) for path in sorted(folder.glob("*.csv")) if path.stat().st_size > 1}


def _parameters(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for stage in stages.values():
        merged |= stage.get("parameters", {})
    merged.pop("arm", None)  # the pipeline's own, another in every training
    return merged


def primary(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose interval is the primary one; one row each where a table of metrics marks none."""
    if "primary" in table:
        return table[table["primary"]]
    return table.drop_duplicates(["arm", "dataset", "subgroup", "metric"]) if len(table) else table


def interval(row: Mapping[Any, Any]) -> str:
    """The value of a row with its interval, in words."""
    return wording.interval(row["value"], row.get("ci_low", math.nan), row.get("ci_high", math.nan))
