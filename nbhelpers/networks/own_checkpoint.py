"""Make a weights file of your own into a checkpoint that notebooks 04 and 05 can evaluate.

`python -m nbhelpers checkpoint weights.pth --backbone resnet50 --to data/my_model` writes `checkpoint.safetensors` and
`model.json`; name the folder in the parameter `checkpoints`. With `--validation table.csv` (columns `label,score`:
what the network gives to a validation set of yours, none of the films to evaluate) the threshold is chosen on that.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch

from nbhelpers.errors import UserError
from nbhelpers.networks import models
from nbhelpers.networks.checkpoints import VALIDATION
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.weights import read_weights
from nbhelpers.runs.tables import listed_labels, read_listed, write_table

SOURCE = "own checkpoint"


def convert(
    weights: Path | str,
    folder: Path | str,
    backbone: str,
    size: int = 224,
    channels: int = 3,
    standardise: str = "imagenet",
    pneumonia: int = 1,
    init: str = "random",
    validation: Path | str | None = None,
) -> ModelDescription:
    """Write a checkpoint folder from the weights of a timm network (torchvision's ResNets have the same names).

    Parameters
    ----------
    weights : path
        `.safetensors`, `.pth`, `.pt` or `.bin`; read as tensors only, so that no code in it runs.
    folder : path
        Where `checkpoint.safetensors` and `model.json` go.
    backbone : str
        timm's name of the network.
    size, channels, standardise
        What the network was trained to see; see `preprocessing.Transform`.
    pneumonia : int
        Which of two outputs is pneumonia. Two become one: the softmax of two logits is the sigmoid of their difference.
    init : str
        What notebook 05 shows beside it as the network without fine-tuning: `random` or `imagenet` weights.
    validation : path, optional
        CSV with `label` (0/1, or normal/pneumonia) and `score` (probability of pneumonia by this network) of the user's
        own validation set. The operating point is chosen on it, so it must hold none of the films that are evaluated.

    Raises
    ------
    UserError
        When the file does not fit the network in every weight, or its head has neither one output nor two, or the
        validation table is not as above.
    """
    weights = Path(weights)
    checked = None if validation is None else read_validation(validation)
    if not weights.is_file():
        raise UserError("the weights file is not there", str(weights), "check the path")
    transform = Transform(size, channels, standardise)
    model = models.build(backbone, "random", channels, image_size=size)
    found = read_weights(weights)
    head = str(getattr(model, "pretrained_cfg", {}).get("classifier"))
    found = _one_logit(found, head, pneumonia, str(weights))
    try:
        model.load_state_dict(found)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"the weights do not fit {backbone}: {reason}", str(weights), "name their own --backbone and --channels"
        ) from None
    models.check_fits(model, transform, backbone)
    description = ModelDescription(
        backbone=backbone,
        init=init,
        transform=transform,
        arm={"name": Path(folder).name, "source": SOURCE, "crop": "unknown"},
    )
    saved = models.save_checkpoint(folder, model, description)
    if checked is None:
        # One of an earlier network would choose this one's threshold.
        (Path(folder) / VALIDATION).unlink(missing_ok=True)
    else:
        write_table(checked, Path(folder) / VALIDATION)
    return saved


def read_validation(path: Path | str) -> pd.DataFrame:
    """The user's validation table as `validation.csv` holds it: `label` (0 or 1)`, score, origin`."""
    table = read_listed(path, ("label", "score"), "--validation")
    labels = listed_labels(table, str(path))
    scores = pd.to_numeric(table["score"].str.replace(",", "."), errors="coerce")
    if not scores.between(0, 1).all():
        raise UserError("a score is not between 0 and 1", str(path), "give the network's probability of pneumonia")
    return pd.DataFrame({"label": labels, "score": scores, "origin": "own validation set"})


def _one_logit(weights: dict[str, torch.Tensor], head: str, pneumonia: int, where: str) -> dict[str, torch.Tensor]:
    """The weights with a head of one logit, the log-odds of pneumonia."""
    matrix = weights.get(f"{head}.weight")
    if matrix is None:
        raise UserError(
            f"the weights have no head {head!r}", where, "a classifier is needed, not a backbone without its head"
        )
    if matrix.shape[0] == 1:
        return weights
    if matrix.shape[0] != 2 or pneumonia not in (0, 1):
        raise UserError(
            f"the head has {matrix.shape[0]} outputs", where, "one output, or two with --pneumonia 0 or 1, can be used"
        )
    parts = {name: value for name, value in weights.items() if name in (f"{head}.weight", f"{head}.bias")}
    return weights | {name: value[[pneumonia]] - value[[1 - pneumonia]] for name, value in parts.items()}
