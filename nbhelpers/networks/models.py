"""Any timm network as a pneumonia classifier, and the checkpoint that holds all that is needed to rebuild it."""

from __future__ import annotations

import difflib
import http.client
import pickle
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import timm
import torch
from huggingface_hub import constants as hub
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs import parameters
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.files import read_json, sha256_file, write_bytes, write_json
from nbhelpers.runs.stage import user_path, versions

CLASSES = ("normal", "pneumonia")  # the network's one logit is for the second
WEIGHTS_FILE, DESCRIPTION_FILE = "checkpoint.safetensors", "model.json"
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
HUB_TIMEOUT = 10.0  # seconds to find out whether the weights' host answers
INIT_CHOICES = "init is `imagenet`, `random`, or the path of a local weights file (.safetensors, .pth, .pt, .bin)"


@dataclass(frozen=True)
class ModelDescription:
    """What `model.json` holds: how a trained network was made, and what to feed it.

    Attributes
    ----------
    backbone, init : str
        timm's name, and what its weights were before training.
    transform : Transform
        From gray image to network input; the same in training and in use.
    seed : int
        Of weights, split, order and augmentation.
    arm : dict
        `name`, `source` and `crop` of what it was trained on.
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


def check_backbone(backbone: str) -> None:
    """Refuse a name that timm does not know, with the nearest ones that it does."""
    if not backbone.startswith(("hf-hub:", "hf_hub:", "local-dir:")) and timm.is_model(backbone):
        architecture, _, tag = backbone.partition(".")
        if not tag or timm.models.is_model_pretrained(backbone):
            return
        tagged = [name for name in timm.list_pretrained(architecture + ".*")]
        raise UserError(
            f"{architecture} has no weights tagged {tag!r}", "backbone", parameters.suggest(backbone, tagged)
        )
    close = difflib.get_close_matches(backbone, timm.list_models(), n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(map(repr, close))}?" if close else "timm.list_models() names all that exist"
    raise UserError(f"unknown backbone {backbone!r}", "backbone", hint)


def build(
    backbone: str, init: str = "random", channels: int = 1, seed: int = 0, image_size: int | None = None
) -> nn.Module:
    """A timm network with one logit, the log-odds of pneumonia.

    Parameters
    ----------
    backbone : str
        Any timm name, with or without a pretrained tag (`resnet50`, `resnet50.a1_in1k`).
    init : str
        `imagenet`: timm's pretrained weights, downloaded once. `random`: timm's initialisation. Else the path of a
        local weights file for this backbone. Stem and head are adapted by timm to the channels and the one logit;
        a head of one logit in a local file is kept.
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
    check_backbone(backbone)
    config = get_pretrained_cfg(backbone)
    sized = {"img_size": image_size} if image_size and config is not None and config.fixed_input_size else {}
    arguments: dict[str, Any] = {"num_classes": len(CLASSES) - 1, "in_chans": channels, **sized}
    if init == "random":
        return _create(backbone, seed, arguments)
    path = _imagenet_file(backbone) if init == "imagenet" else _local_file(init)
    if path is None:
        return _download(backbone, seed, arguments)
    return _create_from_file(backbone, path, seed, arguments)


def _create(backbone: str, seed: int, arguments: Mapping[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return timm.create_model(backbone, **arguments)
        except (AssertionError, ValueError, TypeError) as error:
            # A patch or window size that does not divide the image, mostly.
            raise UserError(f"timm cannot build {backbone} so: {error}", "backbone, image_size", "change one") from None


def _local_file(init: str) -> Path:
    path = user_path(init)
    if not path.is_file():
        raise UserError(f"init = {init!r} is neither a choice nor a file", str(path), INIT_CHOICES)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise UserError(f"weights in a {path.suffix or 'nameless'} file", str(path), INIT_CHOICES)
    return path


def _imagenet_file(backbone: str) -> Path | None:
    """The pretrained weights of a backbone where an earlier download left them; None when there are none yet."""
    config = get_pretrained_cfg(backbone)
    if config is None or not config.has_weights:
        raise UserError(f"timm has no pretrained weights for {backbone!r}", "init, backbone", INIT_CHOICES)
    if not config.hf_hub_id:
        return None
    found = try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
    return Path(found) if isinstance(found, str) and found.endswith(".safetensors") else None


def _download(backbone: str, seed: int, arguments: Mapping[str, Any]) -> nn.Module:
    config: Any = get_pretrained_cfg(backbone)
    host = hub.ENDPOINT if config.hf_hub_id else config.url
    reason = "downloads are off (HF_HUB_OFFLINE)" if hub.HF_HUB_OFFLINE else _unreachable(host, HUB_TIMEOUT)
    if reason is None:
        try:
            return _create(backbone, seed, {**arguments, "pretrained": True})
        except (OSError, urllib.error.URLError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
    raise UserError(f"ImageNet weights of {backbone} are not on this machine: {reason}", "init", INIT_CHOICES)


def _unreachable(url: str, timeout: float) -> str | None:
    """Why a host does not answer within `timeout` seconds; None when it does, with whatever answer.

    The hub's client retries for most of a minute before it gives up, hence this question first. It is asked in a
    thread, since looking up a name can take longer than any time limit set on the connection.
    """
    outcome = [f"{url} did not answer within {timeout:.0f} s"]

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout).close()
            outcome[0] = ""
        except urllib.error.HTTPError:
            outcome[0] = ""
        except (OSError, ValueError, http.client.HTTPException) as error:
            outcome[0] = f"{url} cannot be reached ({getattr(error, 'reason', error)})"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return outcome[0] or None


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name; a pickled file is read as tensors only, so no code in it can run."""
    try:
        return timm.models.load_state_dict(str(path), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, safetensors.SafetensorError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"no named tensors in it ({error})"
    raise UserError(f"weights cannot be read: {reason}", str(path), INIT_CHOICES)


def _create_from_file(backbone: str, path: Path, seed: int, arguments: Mapping[str, Any]) -> nn.Module:
    weights = read_weights(path)
    if not weights or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError("the file holds no named tensors", str(path), INIT_CHOICES)
    fresh = _create(backbone, seed, arguments)
    config = dict(getattr(fresh, "pretrained_cfg", None) or {})
    overlay: dict[str, Any] = {"state_dict": weights, "source": ""}
    head = weights.get(f"{config.get('classifier')}.weight")
    if head is not None:
        # Told the file's own number of classes, timm keeps a head that fits and drops one that does not.
        overlay["num_classes"] = head.shape[0]
    stem = weights.get(f"{config.get('first_conv')}.weight")
    if stem is not None and stem.ndim == 4 and stem.shape[1] == 1:
        overlay["input_size"] = (1, *(config.get("input_size") or (3, 224, 224))[1:])
    try:
        model = _create(backbone, seed, {**arguments, "pretrained": True, "pretrained_cfg_overlay": overlay})
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"weights do not fit {backbone}: {reason}", str(path), "name their own backbone") from None
    # timm keeps what it was given, which would be a second copy of every weight.
    getattr(model, "pretrained_cfg", {}).pop("state_dict", None)
    _check_all_loaded(model, fresh, backbone, path)
    return model


def _check_all_loaded(model: nn.Module, fresh: nn.Module, backbone: str, path: Path) -> None:
    """Refuse weights that left part of the network as it was drawn: timm itself only logs that.

    Both networks were drawn from the same seed, so a weight that is equal in both was not in the file.
    """
    head = {id(parameter) for layer in _head_layers(model) for parameter in layer.parameters()}
    drawn = fresh.state_dict()
    untouched = [
        name
        for name, value in model.named_parameters()
        if value.ndim > 1 and id(value) not in head and value.std() > 0 and torch.equal(value, drawn[name])
    ]
    if untouched:
        raise UserError(
            f"weights do not fit {backbone}: {len(untouched)} of its weights are not in the file, e.g. {untouched[0]}",
            str(path),
            "name their own backbone",
        )


def _head_layers(model: Any) -> list[nn.Module]:
    classifier = model.get_classifier()
    layers = classifier if isinstance(classifier, (tuple, list)) else (classifier,)
    return [layer for layer in layers if isinstance(layer, nn.Module)]


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
            "use the size it was made for, often 224",
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
        raise UserError("the weights are not those that model.json describes", str(path), "train the arm again")
    transform = description.transform
    model = build(description.backbone, "random", transform.channels, image_size=transform.size)
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"the weights do not fit {description.backbone}: {reason}", str(path), "install the timm of model.json"
        ) from None
    chosen = pick_device(device) if isinstance(device, str) else device
    return model.to(chosen.torch).eval(), description
