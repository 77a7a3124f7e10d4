"""Where the networks of a run lie: those that it trained, and checkpoints of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nbhelpers.errors import UserError
from nbhelpers.runs import user_path

FILES = ("model.json", "checkpoint.safetensors")


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
                "make the folder from a weights file with python -m nbhelpers.own_checkpoint",
            )
        if lacking:
            raise UserError(f"arm {name!r} is not trained", str(folder), "run 03_training for this arm first")
    return found
