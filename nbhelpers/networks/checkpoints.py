"""Where the networks of a run lie: those that it trained, and checkpoints of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nbhelpers.errors import UserError
from nbhelpers.runs.stage import user_path

FILES = ("model.json", "checkpoint.safetensors")
VALIDATION = "validation.csv"  # in a network's folder: `label, score` of images that are not evaluated


def missing(folder: Path) -> list[str]:
    """Which files of a network a folder lacks."""
    return [file for file in FILES if not (folder / file).is_file()]


def folders(arms: Iterable[str], checkpoints: Mapping[str, str], run_folder: Path) -> dict[str, Path]:
    """Where the network of each arm lies: `03_training/<arm>` of the run, or the folder that `checkpoints` names.

    Raises
    ------
    UserError
        When a name is in both, or a folder lacks `model.json` or `checkpoint.safetensors`.
    """
    checkpoints = checkpoints or {}
    found = {name: run_folder / "03_training" / name for name in arms}
    for name, given in checkpoints.items():
        if name in found:
            raise UserError(f"{name!r} is an arm and a checkpoint", "checkpoints", "give one of them another name")
        found[name] = user_path(given)
    for name, folder in found.items():
        lacking = missing(folder)
        if lacking and name in checkpoints:
            raise UserError(
                f"checkpoint {name!r} lacks {' and '.join(lacking)}",
                str(folder),
                "make the folder from a weights file with python -m nbhelpers checkpoint",
            )
        if lacking:
            raise UserError(f"arm {name!r} is not trained", str(folder), "run 03_training for this arm first")
    return found


def network_name(arm: str, seed: int | None = None) -> str:
    """Where a network lies below `03_training`: `<arm>`, or `<arm>/seed_<n>` for a further training of the arm."""
    return arm if seed is None else f"{arm}/seed_{seed}"


def parse_name(name: str) -> tuple[str, int | None]:
    """The arm and the further seed that `network_name` was given."""
    arm, _, seed = name.partition("/seed_")
    return arm, int(seed) if seed else None


def further_seeds(first: int, extra_seeds: int) -> list[int]:
    """Seeds of an arm's further trainings: those that follow the first one's."""
    if extra_seeds < 0:
        raise UserError(f"extra_seeds = {extra_seeds}", "extra_seeds", "use 0 or more")
    return list(range(first + 1, first + 1 + extra_seeds))
