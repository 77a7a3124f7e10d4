"""A network's body for inference: batch norms, ReLUs and residual additions folded into their convolutions.

The same numbers with fewer passes over memory, which is what a CPU waits for. Folding is exact up to rounding; it is
checked on the spot, and left out wherever it does not apply.
"""

from __future__ import annotations

import copy
import operator
import warnings
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.optimization import fuse

_ADDITIONS = {operator.add, operator.iadd, torch.add}
_TOLERANCE = 1e-3  # of the largest value, in float32: rounding is a hundred times less, a wrong graph far more


class _Body(nn.Module):
    """A timm network without its head, in the one-argument form that can be traced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.forward_features(images)


class _Convolution(nn.Module):
    """A convolution, what is added to it, and a ReLU, as one call of oneDNN (what torch's own compiler emits)."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, convolution: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.register_buffer("weight", convolution.weight.data)
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.data)
        self.where = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self.relu = relu

    def forward(self, images: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        images = images.to(self.weight.dtype)
        if added is None:
            return torch.ops.mkldnn._convolution_pointwise(
                images, self.weight, self.bias, *self.where, "relu" if self.relu else "none", [], ""
            )
        return torch.ops.mkldnn._convolution_pointwise.binary(
            images, added.to(images), self.weight, self.bias, *self.where, "add", 1.0, "relu", [], ""
        )


def inference_body(model: nn.Module, image_shape: tuple[int, int, int], dtype: torch.dtype | None) -> nn.Module:
    """`model.forward_features` for inference, as a module of its own.

    Parameters
    ----------
    model : torch.nn.Module
        A timm network, in evaluation mode; it is not changed.
    image_shape : (channels, height, width)
        Of the images to come; a random one of them is tried.
    dtype : torch.dtype or None
        What autocast will use, None for float32; folded convolutions on the CPU keep their weights in it.

    Returns
    -------
    torch.nn.Module on the model's device, channels last. Not every timm network can be traced: one that cannot, or
    whose folded form gives something else than it does in float32, is given back as a plain copy.
    """
    device = next(model.parameters()).device
    plain = _Body(copy.deepcopy(model).float().eval()).requires_grad_(False).to(memory_format=torch.channels_last)
    probe = torch.rand(1, *image_shape, generator=torch.Generator().manual_seed(0))
    probe = probe.to(device).contiguous(memory_format=torch.channels_last)
    expected = plain(probe)
    if not isinstance(expected, torch.Tensor):
        return plain  # several branches, as in CrossViT: nothing to fold
    # Tracing runs a model's own Python on stand-ins for tensors: it can fail in any way, and none matters here.
    try:
        with torch.inference_mode(False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            folded = fuse(plain).to(memory_format=torch.channels_last)
    except Exception:
        return plain
    if device.type == "cpu":
        try:
            joined = _join_convolutions(copy.deepcopy(folded)).to(memory_format=torch.channels_last)
            if _agree(joined(probe), expected):
                return _lower(joined, dtype)
        # An operation of another torch release, or a shape that it does not take.
        except Exception:
            pass
    return folded if _agree(folded(probe), expected) else plain


def _agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    scale = expected.abs().max().clamp_min(1e-6)
    return found.shape == expected.shape and bool(((found - expected).abs().max() / scale) < _TOLERANCE)


def _lower(body: GraphModule, dtype: torch.dtype | None) -> GraphModule:
    for module in body.modules():
        if isinstance(module, _Convolution) and dtype is not None:
            module.to(dtype)
    return body


def _join_convolutions(body: Any) -> GraphModule:
    """Put every plain convolution, with the addition and the ReLU right after it, into one `_Convolution`."""
    modules = dict(body.named_modules())

    def convolution(node: Any) -> nn.Conv2d | None:
        if not isinstance(node, Node) or node.op != "call_module" or len(node.args) != 1:
            return None
        module = modules.get(str(node.target))
        plain = type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return module if plain else None  # type: ignore[return-value]

    def alone(node: Any) -> bool:
        return isinstance(node, Node) and len(node.users) == 1

    def replace(last: Node, first: Node, relu: bool, *more: Node) -> None:
        found = convolution(first)
        assert found is not None
        name = f"joined_{last.name}"
        body.add_submodule(name, _Convolution(found, relu))
        with body.graph.inserting_before(last):
            joined = body.graph.call_module(name, (first.args[0], *more))
        last.replace_all_uses_with(joined)

    for node in list(body.graph.nodes):
        # timm leaves one wherever an option is off.
        if node.op == "call_module" and type(modules.get(str(node.target))) is nn.Identity:
            node.replace_all_uses_with(node.args[0])
    _drop_unused(body)
    for node in list(body.graph.nodes):
        if node.op != "call_module" or type(modules.get(str(node.target))) is not nn.ReLU:
            continue
        before = node.args[0]
        if convolution(before) and alone(before):
            replace(node, before, True)
        elif alone(before) and before.target in _ADDITIONS and len(before.args) == 2 and not before.kwargs:
            one, other = before.args
            if not (convolution(one) and alone(one)):
                one, other = other, one
            if convolution(one) and alone(one) and isinstance(other, Node) and one is not other:
                replace(node, one, True, other)
    _drop_unused(body)
    for node in list(body.graph.nodes):
        if convolution(node):
            replace(node, node, False)
    _drop_unused(body)
    body.delete_all_unused_submodules()
    body.recompile()
    return body


def _drop_unused(body: GraphModule) -> None:
    # By hand: an in-place addition counts as impure, and would be kept by the graph's own clean-up.
    for node in reversed(list(body.graph.nodes)):
        if not node.users and node.op not in ("output", "placeholder"):
            body.graph.erase_node(node)
