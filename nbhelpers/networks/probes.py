"""A linear layer on a frozen network: pooled maps of named blocks, standardised, and how its weights are found.

Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models import create_feature_extractor
from torch import nn
from torch.nn import functional

from nbhelpers.errors import UserError

POOLING = ("mean", "spread")
STRENGTHS = (1e3, 1e2, 30.0, 1e1, 3.0, 1.0, 0.3, 0.1)  # of the ridge, in variances of a feature; the strongest first
_TINY = 1e-6


class Probe(nn.Module):
    """Named blocks of a frozen network, pooled over their places, standardised, and one linear layer.

    `backbone` is a timm network, `blocks` names modules of it whose output is a map `(n, c, h, h)`, such as `blocks.3`
    or `layer2`; timm takes off what they do not need. `pooling`, of `POOLING`, is what is taken of each channel over
    its places (`spread`: the standard deviation), `sizes` are pixels along a side at which each image is looked at.
    A block or pooling that is unknown, or a block without a square map, is a `UserError`.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        backbone: nn.Module,
        blocks: Sequence[str],
        pooling: Sequence[str],
        sizes: Sequence[int],
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.names, self.pooling, self.sizes = tuple(blocks), tuple(pooling), tuple(sizes)
        if not self.names or not self.sizes or not self.pooling or not set(self.pooling) <= set(POOLING):
            raise UserError(
                f"a probe of {self.names}, {self.pooling} and {self.sizes}",
                "probe_blocks, probe_pooling, probe_sizes",
                f"name at least one of each; pooling is of {', '.join(POOLING)}",
            )
        try:
            self.backbone: Any = create_feature_extractor(backbone.eval(), list(self.names))
        except ValueError:
            outer = [name for name, _ in backbone.named_modules() if name and name.count(".") < 2]
            what = f"{', '.join(self.names)}: not all are blocks of this network"
            raise UserError(what, "probe_blocks", f"it has {', '.join(outer)}") from None
        side = max(self.sizes)
        with torch.no_grad():
            maps = self.forward_features(torch.zeros(1, channels, side, side))
        if any(one.ndim != 4 or one.shape[2] != one.shape[3] for one in maps):
            raise UserError("a block has no square feature map", "probe_blocks", "use a convolutional network's")
        self.num_features = sum(one.shape[1] for one in maps) * len(self.pooling)
        self.register_buffer("centre", torch.zeros(self.num_features))
        self.register_buffer("scale", torch.ones(self.num_features))
        self.head = nn.Linear(self.num_features, 1)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Probe:
        """The backbone is frozen: its batch norms keep what they know, whatever the mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def get_classifier(self) -> nn.Module:
        """The linear layer, as timm names it."""
        return self.head

    def forward_features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The blocks' maps `(n, c, h, h)` at every size, in the order of `sizes` and, within, of `blocks`."""
        maps = []
        for size in self.sizes:
            seen = images
            if size != images.shape[-1]:
                seen = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
            maps += list(self.backbone(seen).values())
        return maps

    def pool(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """The maps as one row of numbers an image, before they are standardised."""
        parts = []
        for one in maps:
            taken = {"mean": one.mean(dim=(2, 3)), "spread": _spread(one)}
            parts += [taken[name] for name in self.pooling]
        return torch.cat(parts, dim=1)

    def forward_head(self, maps: Sequence[torch.Tensor], pre_logits: bool = False) -> torch.Tensor:
        """The logit `(n, 1)`, or with `pre_logits` the pooled features `(n, d)`, not standardised yet."""
        features = self.pool(maps)
        return features if pre_logits else self.head((features - self.centre) / self.scale)

    def standardise(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pooled features `(n, d)` as the linear layer takes them."""
        return np.asarray((features - self.centre.cpu().numpy()) / self.scale.cpu().numpy(), dtype=np.float32)

    def log_odds(self, standard: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits `(n,)` of standardised features: what `forward` gives for their images."""
        weights = self.head.weight[0].detach().cpu().numpy().astype(np.float64)
        return standard @ weights + float(self.head.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logit of pneumonia, `(n, 1)`."""
        return self.forward_head(self.forward_features(images))

    def activation_map(self, images: torch.Tensor) -> torch.Tensor:
        """What each place adds to the logit, `(n, h, h)` on the finest map's grid: exact, its sum is the logit.

        A mean is the sum of its places' shares, a standard deviation s that of squared deviations over n s. What no
        place adds (bias and centring) is dealt out evenly.
        """
        maps = self.forward_features(images)
        side = max(one.shape[-1] for one in maps)
        slope = self.head.weight[0] / self.scale
        rest = (self.head.bias[0] - (slope * self.centre).sum()) / side**2
        total = rest.expand(len(images), side, side)
        start = 0
        for one in maps:
            here = torch.zeros_like(one[:, 0])
            for name in self.pooling:
                weights = slope[start : start + one.shape[1]]
                here = here + torch.einsum("c,nchw->nhw", weights, _shares(one, name))
                start += one.shape[1]
            there = functional.interpolate(here[:, None], size=(side, side), mode="nearest")[:, 0]
            there = there * (one.shape[-1] / side) ** 2
            # Grids that do not nest lose a little on the way, which goes back to all places alike.
            total = total + there + (here.sum((1, 2)) - there.sum((1, 2)))[:, None, None] / side**2
        return total

    def set_weights(
        self, centre: NDArray[np.floating], scale: NDArray[np.floating], weights: NDArray[np.floating], bias: float
    ) -> None:
        """Take what was fitted on pooled features: `weights` and `bias` are for the standardised ones."""
        for target, values in ((self.centre, centre), (self.scale, scale), (self.head.weight[0], weights)):
            target.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
        self.head.bias.fill_(bias)


def _spread(maps: torch.Tensor) -> torch.Tensor:
    return (maps.var(dim=(2, 3), correction=0) + _TINY).sqrt()


def _shares(maps: torch.Tensor, pooling: str) -> torch.Tensor:
    """What each place has in a pooled value, like `maps`: over the places they sum to it."""
    places = maps.shape[-1] * maps.shape[-2]
    if pooling == "mean":
        return maps / places
    deviation = maps - maps.mean(dim=(2, 3), keepdim=True)
    return (deviation.square() + _TINY) / (places * _spread(maps)[:, :, None, None])


def standardisation(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each feature; one that never varies gets 1."""
    scale = features.std(axis=0, dtype=np.float64)
    return features.mean(axis=0, dtype=np.float64), np.where(scale > _TINY, scale, 1.0)


def pair_weights(
    normal: NDArray[np.floating], pneumonia: NDArray[np.floating], over: str = "covariance"
) -> NDArray[np.float64]:
    """Weights `(d,)` from pairs: the mean difference within pairs, over what else differs within them.

    Row i of both `(n, d)` arrays, of standardised features, is one pair. `over` is the difference's `covariance`, half
    shrunk to its diagonal (the direction that stands out most: Fisher), or each feature's own `spread` (its standard
    deviation, as in a t statistic).
    """
    difference = np.asarray(pneumonia, np.float64) - normal
    if over == "spread":
        return difference.mean(axis=0) / (difference.std(axis=0) + _TINY)
    within = np.cov(difference.T).reshape(difference.shape[1], -1)
    shrunk = (within + np.diag(np.diag(within))) / 2
    return np.linalg.solve(shrunk + _TINY * np.eye(len(shrunk)), difference.mean(axis=0))


def ridge_weights(features: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Ridge regression of the label (-1 or 1) on standardised features, both classes weighing alike: `(strengths, d)`.

    One eigendecomposition serves all of `STRENGTHS`.
    """
    features = np.asarray(features, np.float64)
    share = np.where(labels == 1, 0.5 / np.mean(labels == 1), 0.5 / np.mean(labels == 0)) / len(labels)
    centred = features - share @ features
    values, vectors = np.linalg.eigh((centred * share[:, None]).T @ centred)
    towards = vectors.T @ (centred.T @ (share * np.where(labels == 1, 1.0, -1.0)))
    return np.stack([vectors @ (towards / (np.maximum(values, 0) + strength)) for strength in STRENGTHS])
