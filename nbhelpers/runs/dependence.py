"""What a stage's result depends on among an experiment's parameters, and results that were made with others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbhelpers.runs import parameters
from nbhelpers.runs.files import read_json

# How a result is computed, how fast and where, but not which: a change of these makes no result out of date, though
# a fine-tuning with other `threads` or on another `device` ends in other weights, as with another seed.
NOT_IN_RESULTS = {
    *("run", parameters.FILE, "device", "workers", "threads", "roentgen_batch", "send_patient_films_to"),
    *("editing_budget_usd", "image_budget_usd"),
    *("gemini_mode", "gemini_price_usd", "gemini_concurrency", "gemini_requests_per_minute", "gemini_deadline_s"),
    *("gemini_patience_s", "gemini_poll_s", "gemini_batch_images", "gemini_batch_hours"),
}
# Parameters that matter only to an arm's source or to a data set, by the beginning of their name.
ONLY_FOR = {
    "simulator_": {"simulator", "simulator_roentgen"},
    "gemini_": {"gemini"},
    "roentgen_": {"roentgen_v2"},
    "image_models": {"openai", "ark", "bfl", "diffusers"},
    "folder_table": {"folder"},
    "hospital_": {"simulated_hospital"},
    "rsna_cohort": {"rsna"},
    "rsna_patients": {"rsna", "rsna_full"},
    "folder_films": {"folder"},
}


def matters(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a parameter decides any result of an experiment that has these values."""
    sources = {source for arm in values["arms"].values() for source in parameters.sources_of(arm)}
    used = sources | set(values["datasets"]) | {str(values["omnimodel"]).partition("_")[0]}
    return name not in NOT_IN_RESULTS and all(
        used & owners for beginning, owners in ONLY_FOR.items() if name.startswith(beginning)
    )


def depends_on(
    stage: str, network: str | None, values: Mapping[str, Any], experiment: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The parameters that a stage's result depends on, each with its value; of `arms` the part that it uses.

    `network` is what notebook 03 trains, an arm or `<arm>/seed_<n>`; None for any other stage. `experiment` decides
    which parameters matter, where it is another than that of `values`.
    """
    declared = parameters.declared(parameters.NOTEBOOKS / f"{stage}.ipynb")
    chosen = {name: values[name] for name in declared if matters(name, experiment or values)}
    arm, _, seed = (network or "").partition("/seed_")
    if "arms" in chosen:
        chosen["arms"] = _arms_of(stage, arm, values["arms"])
    if arm:
        chosen["arm"], chosen["training_seed"] = arm, int(seed) if seed else None
    return chosen


def _arms_of(stage: str, arm: str, arms: Mapping[str, Mapping[str, str]]) -> Any:
    if arm:
        return arms.get(arm)
    if stage == "01_prompting":
        return sorted({one for entry in arms.values() for one in parameters.sources_of(entry)})
    if stage == "02_cropping":
        return sorted({(one, entry["crop"]) for entry in arms.values() for one in parameters.sources_of(entry)})
    return arms


def made_otherwise(folder: Path, values: Mapping[str, Any]) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Results of a run that were made with other parameters than its file's, as a notebook run by hand makes them.

    Parameters
    ----------
    folder : Path
        The run's.
    values : mapping
        All parameters of the experiment, as `parameters.load` gives them.

    Returns
    -------
    dict
        For each such `run.json`, by its path in `folder`: parameter name to (what it was made with, what the file
        says). Snakemake knows the values of its own calls alone.
    """
    found, wanted = {}, parameters.stages(values)
    for path in sorted([*folder.glob("0*/run.json"), *folder.glob("03_training/*/**/run.json")]):
        stage, *network = path.parent.relative_to(folder).parts
        name = "/".join(network) or None
        # What the file no longer asks for is left as it is.
        if stage not in wanted or (network and network[0] not in values["arms"]):
            continue
        made = values | read_json(path)["parameters"]
        before, now = (json.loads(canonical(depends_on(stage, name, of, values))) for of in (made, values))
        if differing := {key: (before[key], now[key]) for key in now if before[key] != now[key]}:
            found[path.relative_to(folder).as_posix()] = differing
    return found


def canonical(values: Mapping[str, Any]) -> str:
    """A mapping as text that is the same whatever the order of its names; an arm's place among the arms is kept."""
    return json.dumps({name: values[name] for name in sorted(values)}, ensure_ascii=False)
