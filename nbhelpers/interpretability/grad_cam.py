"""Where on a film does the network look? Grad-CAM at the last map that it keeps, on a scale of its own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.networks.lesions import LesionNetwork
from nbhelpers.networks.probes import Probe

Maps = NDArray[np.float32]
WITH_OWN_MAP = (Probe, LesionNetwork)  # networks that tell their map themselves, as `activation_map`


def kind_of_map(model: nn.Module) -> str:
    """What a network's saliency map is, in words: one of its own, or Grad-CAM."""
    if isinstance(model, LesionNetwork):
        return "lesion as drawn, in the drawn lungs"
    return "contribution of each place" if isinstance(model, Probe) else "Grad-CAM"


@dataclass(frozen=True)
class MapLayer:
    """Which layer is a network's last spatial feature map, and how to read it.

    Attributes
    ----------
    name : str
        Of the module.
    layout : str
        Of the module's output: `nchw`, `nhwc`, or `tokens` `(n, prefix + h * w, c)`.
    prefix : int
        Leading tokens that stand for no place: class, distillation, registers.
    """

    name: str
    layout: str = "nchw"
    prefix: int = 0

    def places(self, output: torch.Tensor) -> torch.Tensor:
        """The output as a map `(n, c, h, w)`, prefix tokens dropped; the grad-cam package's `reshape_transform`."""
        if self.layout == "nchw":
            return output
        if self.layout == "tokens":
            side = math.isqrt(output.shape[1] - self.prefix)
            output = output[:, self.prefix :].unflatten(1, (side, side))
        return output.permute(0, 3, 1, 2)


def find_layer(model: nn.Module, channels: int, size: int) -> MapLayer | None:
    """The layer that Grad-CAM looks at, or None when the network has no spatial feature map at this image size.

    It is the last convolutional map before pooling; else, in a network of tokens (vision transformer, Swin, MLP mixer),
    the norm that opens the last block, as the grad-cam package advises: behind it only the class token may still count.
    Both are found by running the network once on an image of these `channels` and `size`, so that they hold for any
    backbone of timm.
    """
    if isinstance(model, Probe):
        return MapLayer(f"backbone.{model.names[-1]}")
    if isinstance(model, LesionNetwork):
        return MapLayer("body.last")
    name = convolutional_layer(model, channels, size)
    return MapLayer(name) if name else _norm_of_last_block(model, channels, size)


def map_layer(model: nn.Module, channels: int, size: int) -> MapLayer:
    """`find_layer`, or a UserError when there is none."""
    found = find_layer(model, channels, size)
    if found is None:
        raise UserError(
            f"no spatial feature map is found before the classifier of {type(model).__name__} at {size} pixels",
            "backbone",
            "Grad-CAM needs a backbone with a map (resnet50, vit_small_patch16_224) and 64 pixels or more",
        )
    return found


def convolutional_layer(model: nn.Module, channels: int, size: int) -> str | None:
    """Name of the module that gives the last convolutional map: the last one `(n, c, h, w)` before pooling.

    None when the network goes on in tokens or in another layout, or when the map is one single position at this image
    size.
    """
    seen: list[tuple[str, tuple[int, ...]]] = []
    convolving: list[int] = []

    def note(name: str, module: nn.Module, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            seen.append((name, tuple(output.shape)))
            looks_around = isinstance(module, nn.Conv2d) and (max(module.stride) > 1 or _padded(module))
            convolving.extend([len(seen) - 1] if looks_around else [])

    with _watched(model, note), torch.no_grad():
        model(torch.zeros(1, channels, size, size, device=next(model.parameters()).device))
    last = max((i for i, (_, shape) in enumerate(seen) if _is_map(shape)), default=-1)
    tokens = any(len(shape) == 3 or (len(shape) == 4 and shape[2] != shape[3]) for _, shape in seen[last + 1 :])
    # A convolution that looks around itself after the last map: the map has shrunk to a point, not been pooled.
    if last < 0 or tokens or any(number > last for number in convolving):
        return None
    return seen[last][0]


def _norm_of_last_block(model: Any, channels: int, size: int) -> MapLayer | None:
    """The first norm of the last block, read as timm's `forward_intermediates` reads that block: any order is met."""
    if not getattr(model, "feature_info", None) or not hasattr(model, "forward_intermediates"):
        return None
    outputs: dict[str, torch.Tensor] = {}

    def note(name: str, module: nn.Module, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            outputs[name] = output.clone()

    probe = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(0))
    with _watched(model, note), torch.no_grad():
        probe = probe.to(next(model.parameters()).device)
        places = model.forward_intermediates(probe, indices=1, output_fmt="NCHW", intermediates_only=True)[-1]
    block = model.feature_info[-1]["module"]
    output = outputs.get(block, torch.empty(0))
    prefix = output.shape[1] - places.shape[2] * places.shape[3] if output.ndim == 3 else 0
    if output.ndim not in (3, 4) or prefix < 0 or not _is_map(tuple(places.shape)):
        return None
    for layout in ("tokens",) if output.ndim == 3 else ("nhwc", "nchw"):
        read = MapLayer(block, layout, prefix).places(output)
        if read.shape == places.shape and torch.allclose(read, places, atol=1e-5):
            same = [name for name, other in outputs.items() if other.shape == output.shape]
            norms = [name for name in same if name.startswith(f"{block}.") and name.endswith((".norm", ".norm1"))]
            opening = [name for name in norms if name.endswith(".norm1")] or norms or [block]
            return MapLayer(opening[-1], layout, prefix)
    return None


@contextlib.contextmanager
def _watched(model: nn.Module, note: Callable[[str, nn.Module, Any], None]) -> Iterator[None]:
    """The network in evaluation mode, `note(name, module, output)` called after each of its modules."""

    def hook(name: str) -> Any:
        return lambda module, inputs, output: note(name, module, output)

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if name]
    try:
        with _evaluation(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _padded(convolution: nn.Conv2d) -> bool:
    padding = convolution.padding
    return padding == "same" if isinstance(padding, str) else max(padding) > 0


def _is_map(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[2] == shape[3] and shape[2] > 1


@contextlib.contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """The network as it is used, not trained: afterwards every module is again in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def resize_maps(grids: NDArray[np.floating], size: int) -> Maps:
    """Maps `(n, h, w)` brought to `(n, size, size)` float32, bilinear as the grad-cam package does it."""
    resized = np.empty((len(grids), size, size), dtype=np.float32)
    for grid, target in zip(grids, resized, strict=True):
        cv2.resize(np.ascontiguousarray(grid, dtype=np.float32), (size, size), dst=target)
    return resized


def grad_cam(
    model: nn.Module,
    tensors: torch.Tensor,
    layer: MapLayer | None = None,
    batch_size: int = 16,
    upsample: bool = True,
    scaled: bool = False,
) -> Maps:
    """Grad-CAM of the pneumonia logit for many films at once, not rescaled.

    The maps are those of the grad-cam package before it stretches each one to 0..1, so that one colour scale holds for
    all of them. For a network that ends in average pooling and one linear layer, a grid position is what that position
    adds to the logit, negative sums cut to zero. The graph is kept from the layer to the logit only, which is why this
    is faster than a whole backward pass. A `Probe` tells exactly what each place adds to its logit
    (`Probe.activation_map`), a `LesionNetwork` what its score is read from (`LesionNetwork.activation_map`): that is
    given, negative values cut to zero.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier with one logit; left as it was, mode and gradients included.
    tensors : torch.Tensor
        `(n, c, s, s)` float, prepared for the network.
    layer : MapLayer, optional
        Where to look; `map_layer` finds it, or raises, when not given.
    batch_size : int
        Films at a time; 16 keeps the maps of a 2-core CPU within its cache.
    upsample : bool
        Bring the maps to the films' size `(n, s, s)`; else the layer's own grid `(n, h, w)` is given.
    scaled : bool
        Stretch each map to 0..1 as the grad-cam package does, to compare with it: then no two maps share a scale.

    Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2. Maps are float32, zero or more, in units of the logit.
    """
    channels, size = tensors.shape[1], tensors.shape[-1]
    layer = layer or map_layer(model, channels, size)
    device = next(model.parameters()).device
    if isinstance(model, WITH_OWN_MAP):
        with _evaluation(model), torch.inference_mode():
            parts = [model.activation_map(batch.to(device)).relu_().cpu() for batch in tensors.split(batch_size)]
        return _finished([part.numpy() for part in parts], size, upsample, scaled)
    kept: dict[str, torch.Tensor] = {}

    def cut(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept["map"] = output.detach().requires_grad_()
        return kept["map"].clone()  # what follows may work in place, and must not change the map that is read

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handle = model.get_submodule(layer.name).register_forward_hook(cut)
    grids = []
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with _evaluation(model), torch.enable_grad():
            for batch in tensors.split(batch_size):
                logits = model(batch.to(device, memory_format=torch.channels_last))
                (gradient,) = torch.autograd.grad(logits[:, 0].sum(), kept["map"])
                weights = layer.places(gradient).mean(dim=(2, 3))
                grid = torch.einsum("nc,nchw->nhw", weights, layer.places(kept["map"].detach())).relu_()
                grids.append(grid.float().cpu().numpy())
    finally:
        handle.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
    return _finished(grids, size, upsample, scaled)


def _finished(grids: list[Maps], size: int, upsample: bool, scaled: bool) -> Maps:
    maps = np.concatenate(grids) if grids else np.empty((0, 1, 1), dtype=np.float32)
    if scaled:
        maps = scale_cam_image(maps)
    if upsample:
        maps = resize_maps(maps, size)
    return scale_cam_image(maps) if scaled else maps


class _UnscaledGradCam(GradCAM):
    """The package's Grad-CAM without its two rescalings, which would make a faint map look like a strong one."""

    def compute_cam_per_layer(
        self, input_tensor: torch.Tensor, targets: list[Any], eigen_smooth: bool
    ) -> list[NDArray[np.float32]]:
        kept = self.activations_and_grads
        layers = zip(self.target_layers, kept.activations, kept.gradients, strict=True)
        return [
            np.maximum(
                self.get_cam_image(input_tensor, layer, targets, map_.numpy(), gradient.numpy(), eigen_smooth), 0
            )
            for layer, map_, gradient in layers
        ]

    def aggregate_multi_layers(self, cam_per_target_layer: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.mean(cam_per_target_layer, axis=0)


def grad_cam_by_package(
    model: nn.Module, tensors: torch.Tensor, layer: MapLayer | None = None, scaled: bool = False
) -> Maps:
    """Grad-CAM of the pneumonia logit by the grad-cam package, one film at a time: as `grad_cam`, `(n, s, s)`."""
    if isinstance(model, WITH_OWN_MAP):  # its map is its own, and needs no gradient
        return grad_cam(model, tensors, layer, scaled=scaled)
    size = tensors.shape[-1]
    layer = layer or map_layer(model, tensors.shape[1], size)
    target = model.get_submodule(layer.name)
    maps = np.empty((len(tensors), size, size), dtype=np.float32)
    kind = GradCAM if scaled else _UnscaledGradCam
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    with _evaluation(model), kind(model, [target], reshape_transform=layer.places) as package:
        for number in range(len(tensors)):
            found = package(tensors[number : number + 1], [ClassifierOutputTarget(0)])
            maps[number] = found[0] if scaled else resize_maps(found, size)[0]
    for parameter, gradient in gradients:
        parameter.grad = gradient  # the package's backward pass filled them
    return maps
