"""A classifier that draws: a small U-Net's lungs and lesions, and a score that is read from the lesions in the lungs.

All pixels of an image were exposed and processed alike, so that how it was taken cannot tell its lesion from the rest
of it. Compare Hurt, Kligerman and Hsiao, "Deep learning localization of pneumonia" (J Thorac Imaging 2020), who read a
classification from a probability map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from nbhelpers.networks.segmenters import OWN, SmallUnet

NAME = "small_unet"  # as `backbone` in model.json
DRAWN = ("lesion", "lungs")  # the channels of masks and maps
SHARE = 0.01  # of the lungs: its highest places are what a score is read from
FEWEST = 0.02  # share of the image: where fewer places are lung, the whole image is read
DICE = 0.5  # weight of the soft Dice loss beside the cross-entropy


class LesionNetwork(nn.Module):
    """A U-Net with two maps of logits (`DRAWN`); the logit of pneumonia is a line of the read lesion map.

    What is read is the mean of the lesion map's highest hundredth within the drawn lungs, in logits. Slope and bias
    are the classifier. Images are `(n, channels, h, w)` with an even number of pixels along a side.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        block, widths = OWN[NAME]
        self.body = SmallUnet(channels, block, widths, len(DRAWN))
        self.head = nn.Linear(1, 1)
        nn.init.ones_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.num_features = widths[-1]

    def get_classifier(self) -> nn.Module:
        """The line from what is read to the logit, as timm names it."""
        return self.head

    def forward_features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The maps of lesion and lungs `(n, 2, h, w)`, in logits, and the U-Net's coarsest map `(n, c, h', w')`."""
        kept = self.body.encode(images)
        return [self.body.decode(kept), kept[-1]]

    def forward_head(self, maps: Sequence[torch.Tensor], pre_logits: bool = False) -> torch.Tensor:
        """The logit `(n, 1)`, or with `pre_logits` the coarsest map, averaged over its places, `(n, c)`."""
        return maps[1].mean((2, 3)) if pre_logits else self.head(read(maps[0])[:, None])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logit of pneumonia, `(n, 1)`."""
        return self.forward_head(self.forward_features(images))

    def activation_map(self, images: torch.Tensor) -> torch.Tensor:
        """The lesion map in logits, `(n, h, w)`, from which the score is read; outside the drawn lungs 0."""
        lesion, lungs = self.forward_features(images)[0].float().unbind(1)
        return torch.where(inside_lungs(lungs), lesion, torch.zeros_like(lesion))


def read(drawn: torch.Tensor) -> torch.Tensor:
    """What a score is read from, `(n,)`: of maps `(n, 2, h, w)` the mean of the highest lesion logits in the lungs."""
    lesion, lungs = drawn.unbind(1)
    inside = inside_lungs(lungs).flatten(1)
    highest = lesion.flatten(1).masked_fill(~inside, -torch.inf).sort(dim=1, descending=True).values
    taken = (inside.sum(1, keepdim=True) * SHARE).ceil()
    ranks = torch.arange(highest.shape[1], device=drawn.device)
    return torch.where(ranks < taken, highest, torch.zeros_like(highest)).sum(1) / taken[:, 0]


def inside_lungs(lungs: torch.Tensor) -> torch.Tensor:
    """Where a score is read, bool `(n, h, w)`: in the lungs of a map `(n, h, w)` in logits, or everywhere."""
    inside = lungs > 0
    return inside | (inside.float().mean((1, 2), keepdim=True) < FEWEST)


def drawing_loss(drawn: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice over the batch, of maps `(n, 2, h, w)` in logits and masks in 0..1 alike."""
    shares = torch.sigmoid(drawn)
    overlap = (2 * (shares * masks).sum((0, 2, 3)) + 1) / ((shares + masks).sum((0, 2, 3)) + 1)
    return functional.binary_cross_entropy_with_logits(drawn, masks) + DICE * (1 - overlap.mean())
