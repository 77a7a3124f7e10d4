"""Trained networks, read from their folders: arms of this run, their further seeds, checkpoints of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks import checkpoints, models
from nbhelpers.networks.models import ModelDescription
from nbhelpers.runs import Stage
from nbhelpers.runs.devices import pick_device
from nbhelpers.runs.stage import gathered
from nbhelpers.style import marked, named

NOT_FINE_TUNED = "not_fine_tuned"
_STARTS = {"imagenet": "ImageNet weights", "random": "random weights"}


@dataclass(frozen=True)
class Network:
    """A network: an arm's or the user's own, from its `folder`, or the backbone as it was before fine-tuning."""

    name: str
    model: nn.Module
    description: ModelDescription
    fine_tuned: bool = True
    folder: Path | None = None

    @property
    def title(self) -> str:
        """What figures call it."""
        if self.fine_tuned:
            return marked(named(self.name), self.description.simulated)
        return f"before training, {_STARTS.get(self.description.init, 'given weights')}"

    @property
    def size(self) -> int:
        """Pixels along a side that it takes."""
        return self.description.transform.size


def load_arms(arms: Iterable[str], stage: Stage) -> dict[str, Network]:
    """The trained network of each arm from `03_training/<arm>`, then the user's own `checkpoints`, by name.

    Files are noted as inputs of the stage. A missing one is a `UserError` that says what to run.
    """
    arms, own = list(arms), stage.parameters.get("checkpoints") or {}
    for name in (*arms, *own):
        if name.startswith(NOT_FINE_TUNED):
            raise UserError(
                f"an arm cannot have the name {name!r}", "arms", "the name is reserved for the untrained network"
            )
    found = checkpoints.folders(arms, own, stage.run_folder)
    return {name: _load(name, folder, stage) for name, folder in found.items()}


def check(parameters: Mapping[str, Any], run_folder: Path) -> None:
    """Every network that is to be evaluated is there: each arm's, its further seeds, the user's own."""
    arms, own = parameters["arms"], parameters.get("checkpoints") or {}
    wanted = [([name], {}) for name in arms] + [([], {name: folder}) for name, folder in own.items()]
    faults = gathered((checkpoints.folders, *names, run_folder) for names in wanted)
    for arm in arms if not faults else ():
        for seed in checkpoints.further_seeds(parameters["seed"], parameters.get("extra_seeds", 0)):
            faults += gathered([(_seed_folder, arm, seed, run_folder)])
    if faults:
        raise UserError.of(faults)


def _seed_folder(arm: str, seed: int, run_folder: Path) -> Path:
    folder = run_folder / "03_training" / checkpoints.network_name(arm, seed)
    if checkpoints.missing(folder):
        remedy = f"train it with make run, or with 03_training for this arm and training_seed = {seed}"
        raise UserError(f"seed {seed} of arm {arm!r} is not trained", str(folder), remedy)
    return folder


def load_seeds(network: Network, extra_seeds: int, stage: Stage) -> dict[int, Network]:
    """The further trainings of an arm by seed, from `03_training/<arm>/seed_<n>`.

    Raises
    ------
    UserError
        When one is not there, or differs from the arm's own in more than its seed.
    """
    found = {}
    for seed in checkpoints.further_seeds(network.description.seed, extra_seeds):
        folder = _seed_folder(network.name, seed, stage.run_folder)
        found[seed] = _load(network.name, folder, stage)
        if _but_seed(found[seed].description) != _but_seed(network.description):
            raise UserError(
                f"seed {seed} belongs to another training than arm {network.name!r}",
                str(folder),
                f"train it again: 03_training for this arm with training_seed = {seed}",
            )
    return found


def _load(name: str, folder: Path, stage: Stage) -> Network:
    for file in checkpoints.FILES:
        stage.input(folder / file)
    return Network(name, *models.load_checkpoint(folder, stage.device), folder=folder)


def _but_seed(made: ModelDescription) -> ModelDescription:
    drawn = {
        "best_epoch",
        "strength",
        "threads",
        "precision",
        *({"images", "data_sha256"} if "images" in made.arm else ()),
    }
    training = {name: value for name, value in made.training.items() if name not in drawn}
    return replace(made, seed=0, training=training, val_auroc=None, versions={}, weights_sha256="")


def load_networks(arms: Iterable[str], stage: Stage) -> dict[str, Network]:
    """What `load_arms` gives, and the same backbone without fine-tuning.

    The latter is built from what the arms' checkpoints say of themselves (backbone, initial weights, seed), so it is
    what their training started from: ImageNet weights, or random ones. Arms that started from different networks
    bring one each.
    """
    device = pick_device(stage.device).name
    networks = load_arms(arms, stage)
    starts: dict[tuple[str, str, int, int], ModelDescription] = {}
    for network in networks.values():
        made = network.description
        starts.setdefault((made.backbone, made.init, made.transform.size, made.transform.channels), made)
    for number, made in enumerate(starts.values()):
        name = NOT_FINE_TUNED if number == 0 else f"{NOT_FINE_TUNED}_{number + 1}"
        start = replace(made, probe={})  # the whole network, also where an arm is a probe on a part of it
        networks[name] = Network(name, models.rebuild(start).to(device).eval(), start, fine_tuned=False)
    return networks


def network_table(networks: Mapping[str, Network]) -> pd.DataFrame:
    """One row a network; `synthetic_val_auroc` is its AUROC on validation images of its own source."""
    rows = []
    for name, network in networks.items():
        made = network.description
        arm = made.arm if network.fine_tuned else {}
        rows.append(
            {
                "network": name,
                "trained_on": arm.get("source", "nothing but its start"),
                "crop": arm.get("crop", ""),
                "method": arm.get("method", ""),
                "simulated": made.simulated if network.fine_tuned else "",
                "backbone": made.backbone,
                "started_from": _STARTS.get(made.init, made.init),
                "size": network.size,
                "synthetic_val_auroc": made.val_auroc if network.fine_tuned else None,
            }
        )
    return pd.DataFrame(rows)
