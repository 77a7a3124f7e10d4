"""Further trainings of an arm that differ from the first in nothing but their seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbhelpers.errors import UserError
from nbhelpers.networks.checkpoints import SEEDS_FILE, seed_folder
from nbhelpers.networks.models import DESCRIPTION_FILE, WEIGHTS_FILE, ModelDescription
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.files import read_json, sha256_file, write_json
from nbhelpers.runs.tables import write_table
from nbhelpers.training import methods, resume, schedule

FINISHED_FILE = "finished.json"


def train_seeds(
    folder: Path | str,
    split: pd.DataFrame,
    images: NDArray[np.uint8],
    first: ModelDescription,
    settings: schedule.Settings,
    probe: methods.ProbeSettings,
    extra_seeds: int = 0,
    device: Device | str = "auto",
) -> pd.DataFrame:
    """Train an arm again with the seeds that follow the first one's; split, images and settings stay the same.

    Each seed has a folder `seed_<seed>` with the files of `methods.learn`. One that is finished is not trained
    again, one that was interrupted goes on after its last whole epoch. `seeds.csv` lists them all and is written last.

    Parameters
    ----------
    folder : path
        `03_training/<arm>` of the run, where the first training lies.
    split, images
        As `methods.learn` was given them.
    first : ModelDescription
        The first training's: it names the seed, the network and the arm.
    settings, probe
        The first training's; a further seed of a probe draws its pairs or images anew.
    extra_seeds : int
        How many more.
    device : Device or str
        `auto`, or a torch device name.

    Returns
    -------
    DataFrame
        `seed, best_epoch, val_auroc, sha256` (of the weights), the first seed in the first row.

    Raises
    ------
    UserError
        When `extra_seeds` is negative, or a training cannot go on.
    """
    if extra_seeds < 0:
        raise UserError(f"extra_seeds = {extra_seeds}", "extra_seeds", "use 0 or more")
    folder, chosen = Path(folder), pick_device(device) if isinstance(device, str) else device
    split = split.reset_index(drop=True)
    found = [first]
    for seed in range(first.seed + 1, first.seed + 1 + extra_seeds):
        place = seed_folder(folder, seed)
        made_of = str(probe) + resume.fingerprint(
            split, images, first.backbone, first.init, first.transform, settings, seed, chosen
        )
        description = _finished(place, first, made_of)
        if description is None:
            print(f"seed {seed}")
            description = methods.learn(
                place,
                split,
                images,
                arm=first.arm,
                backbone=first.backbone,
                init=first.init,
                transform=first.transform,
                settings=settings,
                probe=probe,
                resample=True,
                seed=seed,
                device=chosen,
                simulated=first.simulated,
                keep_resume=True,
            ).description
            write_json(place / FINISHED_FILE, {"fingerprint": made_of})
            (place / resume.RESUME_FILE).unlink(missing_ok=True)
        found.append(description)
    table = pd.DataFrame(
        {
            "seed": [each.seed for each in found],
            "best_epoch": [each.training.get("best_epoch") for each in found],
            "val_auroc": [each.val_auroc for each in found],
            "sha256": [each.weights_sha256 for each in found],
        }
    )
    write_table(table, folder / SEEDS_FILE)
    # Until here the first training's stays too: a kill among the further ones must not cost it all its epochs.
    (folder / resume.RESUME_FILE).unlink(missing_ok=True)
    return table


def _finished(folder: Path, first: ModelDescription, made_of: str) -> ModelDescription | None:
    """The description of a training that was finished with these images and settings, its weights untouched."""
    try:
        if read_json(folder / FINISHED_FILE)["fingerprint"] != made_of:
            return None
        description = ModelDescription.from_dict(read_json(folder / DESCRIPTION_FILE))
        untouched = sha256_file(folder / WEIGHTS_FILE) == description.weights_sha256
    except (UserError, OSError, KeyError, TypeError):
        return None
    same = (description.arm, description.simulated) == (first.arm, first.simulated)
    return description if untouched and same else None
