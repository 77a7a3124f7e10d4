"""Make a weights file of your own into a checkpoint that notebooks 04 and 05 can evaluate.

`python -m nbhelpers checkpoint weights.pth --backbone resnet50 --to data/my_model` writes `checkpoint.safetensors` and
`model.json`; name the folder in the parameter `checkpoints`. With `--validation table.csv` (columns `label,score`:
what the network gives to a validation set of yours, none of the films to evaluate) the threshold is chosen on that.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks import models
from nbhelpers.networks.checkpoints import FILES, VALIDATION
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.weights import read_weights, without_prefix
from nbhelpers.runs.tables import listed_labels, read_listed, write_table

SOURCE = "own checkpoint"


def convert(
    weights: Path | str,
    folder: Path | str,
    backbone: str,
    size: int = 224,
    channels: int = 3,
    standardise: str = "imagenet",
    pneumonia: int | None = None,
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
    pneumonia : int, optional
        Which output is pneumonia, counted from 0. Of two, classes that exclude each other, it is 1 when not given, and
        the two become one: the softmax of two logits is the sigmoid of their difference. Of more, findings with a
        sigmoid each (14 of CheXNet, 18 of torchxrayvision), it must be given, and that logit is taken.
    init : str
        What notebook 05 shows beside it as the network without fine-tuning: `random` or `imagenet` weights.
    validation : path, optional
        CSV with `label` (0/1, or normal/pneumonia) and `score` (probability of pneumonia by this network) of the user's
        own validation set. The operating point is chosen on it, so it must hold none of the films that are evaluated.

    Raises
    ------
    UserError
        When the folder holds a checkpoint already, the file does not fit the network in every weight, it is not known
        which output is pneumonia, or the validation table is not as above.
    """
    weights = Path(weights)
    checked = None if validation is None else read_validation(validation)
    if not weights.is_file():
        raise UserError("the weights file was not found", str(weights), "check the path")
    there = [file for file in FILES if (Path(folder) / file).exists()]
    if there:
        raise UserError(f"{' and '.join(there)} are there already", str(folder), "name another folder with --to")
    transform = Transform(size, channels, standardise)
    models.check_backbone(backbone)
    model = models.build(backbone, "random", channels, image_size=size)
    found = without_prefix(read_weights(weights), model.state_dict())
    head = getattr(model, "pretrained_cfg", {}).get("classifier")
    if not isinstance(head, str):
        raise UserError(f"{backbone} has no single linear layer as its head", "--backbone", "use one that has")
    found = _one_logit(_under_its_name(found, head, model, str(weights)), head, pneumonia, str(weights))
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
    if checked is not None:
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


def _under_its_name(
    weights: dict[str, torch.Tensor], head: str, model: nn.Module, where: str
) -> dict[str, torch.Tensor]:
    """The weights with the head's under timm's name: its linear layer may have any name, as within a Sequential."""
    if f"{head}.weight" in weights:
        return weights
    known, width = model.state_dict(), model.get_parameter(f"{head}.weight").shape[1]
    left = [name for name in weights if name not in known]
    layers = [name.removesuffix(".weight") for name in left if name.endswith(".weight") and weights[name].ndim == 2]
    if len(layers) == 1 and weights[f"{layers[0]}.weight"].shape[1] == width:
        parts = {f"{layers[0]}.{part}": f"{head}.{part}" for part in ("weight", "bias")}
        return {parts.get(name, name): value for name, value in weights.items()}
    if layers:
        shapes = ", ".join(f"{name} of {weights[f'{name}.weight'].shape[1]} features" for name in layers)
        raise UserError(
            f"its head is {len(layers)} linear layers ({shapes}); the network gives {width} features",
            where,
            "a head of one linear layer on the pooled features can be used",
        )
    others = ", ".join(left[:4]) or "none"
    raise UserError(
        f"the weights have no head {head!r}; names that the network does not know: {others}",
        where,
        "a classifier is needed, not a backbone without its head",
    )


def _one_logit(weights: dict[str, torch.Tensor], head: str, output: int | None, where: str) -> dict[str, torch.Tensor]:
    """The weights with a head of one logit, the log-odds of pneumonia."""
    outputs = weights[f"{head}.weight"].shape[0]
    if outputs == 1:
        return weights
    if output is None and outputs == 2:
        output = 1
    if output is None or not 0 <= output < outputs:
        raise UserError(
            f"the head has {outputs} outputs", where, f"name the one that is pneumonia with --output 0 to {outputs - 1}"
        )
    parts = {name: value for name, value in weights.items() if name in (f"{head}.weight", f"{head}.bias")}
    if outputs == 2:
        return weights | {name: value[[output]] - value[[1 - output]] for name, value in parts.items()}
    return weights | {name: value[[output]] for name, value in parts.items()}
