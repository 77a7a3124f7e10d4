"""Images as numbers: the features that a network's head is given, kept on disk for each image and network.

The one embedding of the project: diversity (01), probes (03), clusters (05) and edits (06) all take theirs from here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nbhelpers.networks import scoring
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.probes import Probe
from nbhelpers.networks.weights import head_layers
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.files import atomic_path
from nbhelpers.runs.stage import outputs_root


def default_cache() -> Path:
    """Folder of the features, shared by all runs: `.cache/features/` beside them. It may be deleted at any time."""
    return outputs_root() / ".cache" / "features"


def embed(
    model: nn.Module,
    images: NDArray[np.uint8],
    transform: Transform,
    device: Device | str = "auto",
    batch_size: int = 64,
    desc: str = "",
    cache: Path | None = None,
) -> NDArray[np.float32]:
    """Features of images, from disk for those that this network saw before.

    Parameters are those of `scoring.predict`; a `Probe` gives its standardised features, any other network its
    penultimate ones. `cache` is the folder of the features, `default_cache()` when None. Returns float32 `(n, d)`.
    """
    chosen = pick_device(device) if isinstance(device, str) else device
    folder = (cache or default_cache()) / network_key(model, transform, chosen)
    names = [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()[:32] for image in images]
    known: dict[str, NDArray[np.float32]] = {}
    for part in folder.glob("*.npz"):
        with np.load(part) as held:
            known |= dict(zip(held["names"].tolist(), held["features"], strict=True))
    missing = [index for index, name in enumerate(names) if name not in known]
    if missing or not names:
        found = scoring.features(model, images[missing], transform, chosen, batch_size, desc)
        if not names:
            return found
        fresh = [names[index] for index in missing]
        known |= dict(zip(fresh, found, strict=True))
        # A part of its own: two runs that write at once never share a file.
        digest = hashlib.sha256("".join(fresh).encode()).hexdigest()[:16]
        with atomic_path(folder / f"{digest}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, names=np.array(fresh), features=found)
    whole = np.stack([known[name] for name in names])
    return model.standardise(whole) if isinstance(model, Probe) else whole


def predict(
    model: nn.Module,
    images: NDArray[np.uint8],
    transform: Transform,
    device: Device | str = "auto",
    batch_size: int = 64,
    desc: str = "",
) -> NDArray[np.float64]:
    """What `scoring.predict` gives; all probes on the same blocks look at an image once and share what they see."""
    if not isinstance(model, Probe):
        return scoring.predict(model, images, transform, device, batch_size, desc)
    logits = model.log_odds(embed(model, images, transform, device, batch_size, desc))
    return np.exp(-np.logaddexp(0, -logits))


def network_key(model: nn.Module, transform: Transform, device: Device) -> str:
    """Digest of what decides pooled features: weights but the head's, blocks, transform, and number format."""
    shape = [type(model).__name__, *(getattr(model, name, ()) for name in ("names", "pooling", "sizes"))]
    facts = [shape, transform.to_dict(), str(device.autocast)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    head = {id(value) for layer in head_layers(model) for value in layer.parameters()}
    unused = {name for name, value in model.named_parameters() if id(value) in head} | {"centre", "scale"}
    for name, value in model.state_dict().items():
        if name not in unused:
            digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:24]
