"""Random changes that a film can suffer on its way to a network, on whole batches and blind to the label.

Vertical flips do not happen to a chest film. Horizontal ones do, but they move the heart to the right: a rare finding
(situs inversus) would become half of what the network sees, so they are left out too.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from nbhelpers.errors import UserError
from nbhelpers.runs.parameters import suggest

POLICIES = ("films", "none")

ROTATION = 8.0  # degrees to either side: a patient is never quite upright
SCALE = 0.10  # share larger or smaller, and the same again between height and width by half
SHIFT = 0.06  # share of the side
GAMMA = 0.35  # in log units: response curves differ that much between systems
CLIPPED = 0.08  # share of the range that a display window cuts at either end
SHADING = 0.08  # slow brightness change over the film: scatter, grid, heel effect
SHARPNESS = (-0.6, 0.8)  # unsharp masking to blur
NOISE = 0.03  # standard deviation, in shares of the range
BORDER = 0.08  # share of the side that a border covers, on a third of the films
ERASED = (0.08, 0.25)  # side of an erased box, on a quarter of the films


def step_seed(seed: int, epoch: int, step: int) -> int:
    """One number for a training step, so that a resumed training draws what an uninterrupted one would have."""
    mixed = (seed % 2**31) * 1_000_003 + epoch * 8_191 + step + 1
    return (mixed * 0x9E3779B97F4A7C15) % 2**63


def augment(images: torch.Tensor, seed: int, policy: str = "films") -> torch.Tensor:
    """Augment a batch, each image on its own.

    Parameters
    ----------
    images : float32 tensor, shape (n, 1, h, w)
        Values in 0..1, on any device.
    seed : int
        The same seed and device give the same result.
    policy : str
        `films`: rotation, scale and shift, shading, gamma and display window, blur or sharpening, noise, borders and
        an erased box. `none`: the images as they are.

    Returns
    -------
    float32 tensor, same shape, values in 0..1.
    """
    return augment_drawn(images, images[:, 1:], seed, policy)[0]


def augment_drawn(
    images: torch.Tensor, masks: torch.Tensor, seed: int, policy: str = "films"
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `augment` gives, and masks `(n, m, h, w)` in 0..1 that have moved with the images."""
    if policy not in POLICIES:
        raise UserError(f"unknown augmentation {policy!r}", "augmentation", suggest(policy, POLICIES))
    if policy == "none":
        return images, masks
    generator = torch.Generator().manual_seed(seed)
    images, masks = _move(torch.cat([images, masks], dim=1), generator).split([1, masks.shape[1]], dim=1)
    images = _tone(images, generator)
    images = _texture(images, generator)
    return _cover(images, generator), masks


def _uniform(n: int, low: float, high: float, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    # Drawn on the CPU whatever the device, so that a film gets the same change everywhere.
    return (torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low).to(like.device)


def _move(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rotation, scale, aspect and shift in one resampling, with edge pixels carried outward."""
    n = len(images)
    angle = torch.deg2rad(torch.empty(n).uniform_(-ROTATION, ROTATION, generator=generator))
    scale = torch.empty(n).uniform_(-SCALE, SCALE, generator=generator).exp()
    aspect = torch.empty(n).uniform_(-SCALE / 2, SCALE / 2, generator=generator).exp()
    shift = torch.empty(n, 2).uniform_(-2 * SHIFT, 2 * SHIFT, generator=generator)  # affine_grid spans -1..1
    matrix = torch.stack(
        (
            torch.stack((angle.cos() * scale * aspect, -angle.sin() * scale, shift[:, 0]), dim=1),
            torch.stack((angle.sin() * scale, angle.cos() * scale / aspect, shift[:, 1]), dim=1),
        ),
        dim=1,
    )
    grid = functional.affine_grid(matrix.to(images.device), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _tone(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Slow shading over the film, a gamma, and a display window that clips the two ends."""
    n, _, height, width = images.shape
    coarse = torch.randn(n, 1, 3, 3, generator=generator).to(images.device) * SHADING
    images = images + functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    low = _uniform(n, -CLIPPED, CLIPPED, generator, images)
    high = _uniform(n, 1 - CLIPPED, 1 + CLIPPED, generator, images)
    images = ((images - low) / (high - low)).clamp(1e-4, 1)
    return images ** _uniform(n, -GAMMA, GAMMA, generator, images).exp()


def _texture(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur or unsharp masking (a mixture with one blurred copy), then noise."""
    n, _, height, width = images.shape
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=images.device) / 16
    padded = functional.pad(images, (2, 2, 2, 2), mode="replicate")
    blurred = functional.conv2d(functional.conv2d(padded, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1))
    images = torch.lerp(images, blurred, _uniform(n, *SHARPNESS, generator, images))
    on_device = torch.Generator(images.device).manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
    grain = torch.randn((n, 1, height, width), generator=on_device, device=images.device)
    return (images + grain * _uniform(n, 0, NOISE, generator, images)).clamp_(0, 1)


def _cover(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Borders in black, gray or white on a third of the films, an erased box on a quarter."""
    n, _, height, width = images.shape
    row = torch.linspace(0, 1, height, device=images.device).view(1, 1, height, 1)
    column = torch.linspace(0, 1, width, device=images.device).view(1, 1, 1, width)
    has_border = _uniform(n, 0, 3, generator, images) < 1
    left, top, right, bottom = (_uniform(n, -BORDER, BORDER, generator, images) for _ in range(4))
    bordered = (column < left) | (row < top) | (column > 1 - right) | (row > 1 - bottom)
    tone = (_uniform(n, -1, 2, generator, images)).clamp(0, 1)
    images = torch.where(bordered & has_border, tone, images)
    erased = _uniform(n, 0, 4, generator, images) < 1
    tall, wide = (_uniform(n, *ERASED, generator, images) for _ in range(2))
    y, x = (_uniform(n, 0, 1, generator, images) for _ in range(2))
    box = ((row - y).abs() < tall / 2) & ((column - x).abs() < wide / 2)
    return torch.where(box & erased, _uniform(n, 0, 1, generator, images), images)
