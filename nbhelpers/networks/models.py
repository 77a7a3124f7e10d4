"""Any timm network as a pneumonia classifier, and the checkpoint that holds all that is needed to rebuild it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks import lesions
from nbhelpers.networks.checkpoints import FILES
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.probes import Probe
from nbhelpers.networks.weights import check_backbone, create, create_from_file, download, find, read_weights
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.files import read_json, sha256_file, write_bytes, write_json
from nbhelpers.runs.stage import versions

CLASSES = ("normal", "pneumonia")  # the network's one logit is for the second
DESCRIPTION_FILE, WEIGHTS_FILE = FILES


@dataclass(frozen=True)
class ModelDescription:
    """What `model.json` holds: how a trained network was made, and what to feed it.

    Attributes
    ----------
    backbone, init : str
        timm's name, and what its weights were before training.
    init_origin : str
        Where these were taken from, in words; see `weights.find`.
    probe : dict
        `names, pooling, sizes` of a `Probe`; empty for a network that was trained as a whole.
    transform : Transform
        From gray image to network input; the same in training and in use.
    seed : int
        Of weights, split, order and augmentation.
    arm : dict
        `name`, `source`, `crop` and `method` of what it was trained on.
    simulated : bool
        Whether the training images came from a simulator.
    training : dict
        Settings of the training, and counts of its images.
    val_auroc : float or None
        On the validation images of the same source; says nothing of real films.
    classes, versions, weights_sha256
        What the logit stands for, library versions, and the hash of the weights file.
    """

    backbone: str
    init: str
    transform: Transform
    seed: int = 0
    arm: dict[str, str] = field(default_factory=dict)
    simulated: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    val_auroc: float | None = None
    init_origin: str = ""
    probe: dict[str, list[Any]] = field(default_factory=dict)
    classes: tuple[str, ...] = CLASSES
    versions: dict[str, str] = field(default_factory=versions)
    weights_sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> ModelDescription:
        """The description that `to_dict` gave; what more a file holds is ignored, what it lacks is a `UserError`."""
        known = {entry.name for entry in fields(cls)}
        chosen = {name: value for name, value in values.items() if name in known}
        try:
            chosen["transform"] = Transform.from_dict(chosen["transform"])
            chosen["classes"] = tuple(chosen.get("classes", CLASSES))
            return cls(**chosen)
        except (KeyError, TypeError) as error:
            raise UserError(f"not a model description: {error}", where, "train the arm again") from None


def build(
    backbone: str, init: str = "random", channels: int = 1, seed: int = 0, image_size: int | None = None
) -> nn.Module:
    """A timm network with one logit, the log-odds of pneumonia.

    Parameters
    ----------
    backbone : str
        Any timm name, with or without a pretrained tag (`resnet50`, `resnet50.a1_in1k`); or `lesions.NAME`, for a
        `LesionNetwork` of random weights, whatever `init` says.
    init : str
        `imagenet`: pretrained weights, from where `weights.find` says. `random`: timm's initialisation. Else the path
        of a local weights file for this backbone. Stem and head are adapted by timm to the channels and the one logit;
        a head of one logit in a local file is kept, a new head on weights that were trained starts at zero.
    channels : int
        Of the input; a pretrained colour stem is summed over its colours for 1.
    seed : int
        Of everything that is not loaded: the same seed gives the same weights.
    image_size : int, optional
        Needed by networks that are built for one size, such as ViT.

    Returns
    -------
    torch.nn.Module on the CPU, float32, in training mode.

    Raises
    ------
    UserError
        For an unknown backbone or init, weights that cannot be had offline, or a file that does not fit.
    """
    if backbone == lesions.NAME:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return lesions.LesionNetwork(channels)
    check_backbone(backbone)
    config = get_pretrained_cfg(backbone)
    sized = {"img_size": image_size} if image_size and config is not None and config.fixed_input_size else {}
    arguments: dict[str, Any] = {"num_classes": len(CLASSES) - 1, "in_chans": channels, **sized}
    path = find(backbone, init)[1]
    if path is not None:
        return create_from_file(backbone, path, seed, arguments)
    return (create if init == "random" else download)(backbone, seed, arguments)


def build_probe(
    backbone: str, init: str, channels: int, probe: Mapping[str, Sequence[Any]], image_size: int, seed: int = 0
) -> Probe:
    """A `Probe` on a network from `build`, not fitted yet; `probe` has `names` (of blocks), `pooling` and `sizes`."""
    body = build(backbone, init, channels, seed, image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Probe(body, probe["names"], probe["pooling"], probe["sizes"], channels)


def rebuild(made: ModelDescription, init: str | None = None, seed: int | None = None) -> nn.Module:
    """A network of the kind that is described, before training; `init` and `seed` choose another start of it."""
    start, seed = init or made.init, made.seed if seed is None else seed
    size, channels = made.transform.size, made.transform.channels
    if made.probe:
        return build_probe(made.backbone, start, channels, made.probe, size, seed)
    return build(made.backbone, start, channels, seed, size)


def check_fits(model: nn.Module, transform: Transform, backbone: str) -> None:
    """Run one blank image through; a network that cannot take the transform's size is a `UserError`."""
    blank = torch.zeros(1, transform.channels, transform.size, transform.size)
    try:
        with evaluating(model), torch.inference_mode():
            shape = tuple(model(blank).shape)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{backbone} does not take {transform.size} x {transform.size} pixels: {reason}",
            "image_size",
            "use the size it was designed for, often 224",
        ) from None
    if shape != (1, 1):
        raise UserError(f"{backbone} gives {shape} for one image, not one logit", "backbone", "use a classifier")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block, and back to the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def save_checkpoint(folder: Path | str, model: nn.Module, description: ModelDescription) -> ModelDescription:
    """Write `checkpoint.safetensors` and `model.json` into `folder`, each atomically.

    Returns the description as written, with the hash of the weights.
    """
    folder = Path(folder)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    write_bytes(folder / WEIGHTS_FILE, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    values = description.to_dict() | {"weights_sha256": sha256_file(folder / WEIGHTS_FILE)}
    write_json(folder / DESCRIPTION_FILE, values)
    return ModelDescription.from_dict(values)


def load_checkpoint(folder: Path | str, device: Device | str = "cpu") -> tuple[nn.Module, ModelDescription]:
    """The trained network of a folder, in evaluation mode on `device`, and its description.

    Raises
    ------
    UserError
        When a file is missing or broken, or the weights are not those that `model.json` was written with.
    """
    folder = Path(folder)
    description = ModelDescription.from_dict(read_json(folder / DESCRIPTION_FILE), str(folder / DESCRIPTION_FILE))
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise UserError("the weights are missing", str(path), "train the arm again")
    if sha256_file(path) != description.weights_sha256:
        raise UserError("the weights do not match model.json", str(path), "train the arm again")
    model = rebuild(description, "random")
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"the weights do not fit {description.backbone}: {reason}", str(path), "install the timm of model.json"
        ) from None
    chosen = pick_device(device) if isinstance(device, str) else device
    return model.to(chosen.torch).eval(), description
