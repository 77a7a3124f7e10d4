"""Where the networks of a run lie: those that it trained, and checkpoints of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nbhelpers.errors import UserError
from nbhelpers.runs.stage import user_path
from nbhelpers.runs.tables import read_table

SEEDS_FILE = "seeds.csv"
FILES = ("model.json", "checkpoint.safetensors")
VALIDATION = "validation.csv"  # in a network's folder: `label, score` of images that are not evaluated


def folders(arms: Iterable[str], checkpoints: Mapping[str, str] | None, run_folder: Path) -> dict[str, Path]:
    """Where the network of each arm lies: `03_training/<arm>` of the run, or the folder that `checkpoints` names.

    Raises
    ------
    UserError
        When a name is in both, or a folder lacks `model.json` or `checkpoint.safetensors`.
    """
    found = {name: run_folder / "03_training" / name for name in arms}
    for name, given in (checkpoints or {}).items():
        if name in found:
            raise UserError(f"{name!r} is an arm and a checkpoint", "checkpoints", "give one of them another name")
        found[name] = user_path(given)
    for name, folder in found.items():
        lacking = [file for file in FILES if not (folder / file).is_file()]
        if lacking and name in (checkpoints or {}):
            raise UserError(
                f"checkpoint {name!r} lacks {' and '.join(lacking)}",
                str(folder),
                "make the folder from a weights file with python -m nbhelpers checkpoint",
            )
        if lacking:
            raise UserError(f"arm {name!r} is not trained", str(folder), "run 03_training for this arm first")
    return found


def seed_folder(folder: Path, seed: int) -> Path:
    """Where a further training of an arm lies, below the arm's own folder `03_training/<arm>`."""
    return folder / f"seed_{seed}"


def seed_folders(folder: Path, first_sha256: str, extra_seeds: int) -> dict[int, Path]:
    """The further trainings of an arm, by seed, as its `seeds.csv` lists them.

    Parameters
    ----------
    folder : Path
        `03_training/<arm>`.
    first_sha256 : str
        Hash of the weights of the arm's own network: further trainings of an earlier one are not taken.
    extra_seeds : int
        How many are wanted.

    Raises
    ------
    UserError
        When there are fewer, or they belong to another training of the arm.
    """
    if extra_seeds < 1:
        return {}
    remedy = "run 03_training for this arm with the same extra_seeds"
    listed = read_table(folder / SEEDS_FILE) if (folder / SEEDS_FILE).is_file() else None
    if listed is None or listed["sha256"].iloc[0] != first_sha256:
        raise UserError("no further seeds of this network were trained", str(folder), remedy)
    if len(listed) <= extra_seeds:
        raise UserError(f"{len(listed) - 1} further seeds of {extra_seeds} were trained", str(folder), remedy)
    found = {int(seed): seed_folder(folder, int(seed)) for seed in listed["seed"].iloc[1 : 1 + extra_seeds]}
    for place in found.values():
        if not all((place / file).is_file() for file in FILES):
            raise UserError("the network of a further seed is missing", str(place), remedy)
    return found
