"""Where on a film does the network look? Grad-CAM at the last convolutional layer, kept on its own scale."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
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

Maps = NDArray[np.float32]


def convolutional_layer(model: nn.Module, channels: int, size: int) -> str:
    """Name of the module that gives the last convolutional map: the last one `(n, c, h, w)` before pooling.

    It is found by running the network once, so that it holds for any backbone that ends in such a map.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier of square images.
    channels, size : int
        Of the images it takes.

    Raises
    ------
    UserError
        When the network goes on in tokens (a vision transformer, an MLP mixer) or in another layout, or when the map
        is one single position at this image size: Grad-CAM has no place to point at there.
    """
    seen: list[tuple[str, tuple[int, ...]]] = []
    convolving: list[int] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                seen.append((name, tuple(output.shape)))
                looks_around = isinstance(module, nn.Conv2d) and (max(module.stride) > 1 or _padded(module))
                convolving.extend([len(seen) - 1] if looks_around else [])

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    probe = torch.zeros(1, channels, size, size, device=next(model.parameters()).device)
    try:
        with _evaluation(model), torch.no_grad():
            model(probe)
    finally:
        for handle in handles:
            handle.remove()
    last = max((i for i, (_, shape) in enumerate(seen) if _is_map(shape)), default=-1)
    tokens = any(len(shape) == 3 or (len(shape) == 4 and shape[2] != shape[3]) for _, shape in seen[last + 1 :])
    # A convolution that looks around itself after the last map: the map has shrunk to a point, not been pooled.
    if last < 0 or tokens or any(number > last for number in convolving):
        raise UserError(
            f"{type(model).__name__} has no convolutional map before its classifier at {size} pixels",
            "backbone",
            "Grad-CAM needs a convolutional backbone (resnet50, densenet121, convnext_tiny) and 64 pixels or more",
        )
    return seen[last][0]


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
    layer: str | None = None,
    batch_size: int = 16,
    upsample: bool = True,
    scaled: bool = False,
) -> Maps:
    """Grad-CAM of the pneumonia logit for many films at once, not rescaled.

    The maps are those of the grad-cam package before it stretches each one to 0..1, so that one colour scale holds for
    all of them. For a network that ends in average pooling and one linear layer, a grid position is what that position
    adds to the logit, negative sums cut to zero. The graph is kept from the layer to the logit only, which is why this
    is faster than a whole backward pass.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier with one logit; left as it was, mode and gradients included.
    tensors : torch.Tensor
        `(n, c, s, s)` float, prepared for the network.
    layer : str, optional
        Name of the module to look at; found by `convolutional_layer` when not given.
    batch_size : int
        Films at a time; 16 keeps the maps of a 2-core CPU within its cache.
    upsample : bool
        Bring the maps to the films' size; else the layer's own grid is given.
    scaled : bool
        Stretch each map to 0..1 as the grad-cam package does, to compare with it: then no two maps share a scale.

    Returns
    -------
    array float32
        `(n, s, s)`, or `(n, h, w)` of the layer; zero or more, in units of the logit.

    Raises
    ------
    UserError
        From `convolutional_layer`.

    References
    ----------
    Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2.
    """
    channels, size = tensors.shape[1], tensors.shape[-1]
    name = layer or convolutional_layer(model, channels, size)
    device = next(model.parameters()).device
    kept: dict[str, torch.Tensor] = {}

    def cut(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept["map"] = output.detach().requires_grad_()
        return kept["map"].clone()  # what follows may work in place, and must not change the map that is read

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handle = model.get_submodule(name).register_forward_hook(cut)
    grids = []
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with _evaluation(model), torch.enable_grad():
            for batch in tensors.split(batch_size):
                logits = model(batch.to(device, memory_format=torch.channels_last))
                (gradient,) = torch.autograd.grad(logits[:, 0].sum(), kept["map"])
                weights = gradient.mean(dim=(2, 3))
                grid = torch.einsum("nc,nchw->nhw", weights, kept["map"].detach()).relu_()
                grids.append(grid.float().cpu().numpy())
    finally:
        handle.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
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
    model: nn.Module, tensors: torch.Tensor, layer: str | None = None, scaled: bool = False
) -> Maps:
    """Grad-CAM of the pneumonia logit by the grad-cam package, one film at a time.

    Parameters
    ----------
    model, tensors, layer
        As for `grad_cam`.
    scaled : bool
        As the package gives them, each map stretched to 0..1; else on the scale of the logit, as `grad_cam`.

    Returns
    -------
    array (n, s, s) float32
    """
    size = tensors.shape[-1]
    name = layer or convolutional_layer(model, tensors.shape[1], size)
    maps = np.empty((len(tensors), size, size), dtype=np.float32)
    kind = GradCAM if scaled else _UnscaledGradCam
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    with _evaluation(model), kind(model, [model.get_submodule(name)]) as package:
        for number in range(len(tensors)):
            found = package(tensors[number : number + 1], [ClassifierOutputTarget(0)])
            maps[number] = found[0] if scaled else resize_maps(found, size)[0]
    for parameter, gradient in gradients:
        parameter.grad = gradient  # the package's backward pass filled them
    return maps
