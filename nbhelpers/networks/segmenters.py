"""Networks that draw masks: two small U-Nets and any of segmentation-models-pytorch, trained, kept and loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from nbhelpers.errors import UserError
from nbhelpers.runs.devices import Device, pick_device
from nbhelpers.runs.files import read_json, write_bytes, write_json
from nbhelpers.runs.parameters import suggest
from nbhelpers.runs.progress import progress

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Own: pixels a side that the first layer takes as one, channels of it, channels below.
OWN: dict[str, tuple[int, tuple[int, ...]]] = {"small_unet": (2, (24, 48, 72, 96)), "fine_unet": (1, (16, 32, 48))}
COLOURS = {"rgb": 3, "gray": 1, "green": 1}  # how an image becomes input channels; green is for retinal vessels
MULTIPLE = 32  # a network halves its input up to five times
BACKGROUND = ("background", "unlabel", "void", "ignore")  # in the name of a label that is nothing to draw
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class FitSettings:
    """How a segmenter is trained: epochs, images a step, peak learning rate; with `crop`, squares of that side cut from
    images in their own resolution, `crops_per_image` of each an epoch. `upright` forbids upside-down images."""

    epochs: int = 20
    batch_size: int = 8
    learning_rate: float = 3e-3
    crop: int = 0
    crops_per_image: int = 16
    upright: bool = False


@dataclass
class Segmenter:
    """A network and how it is fed."""

    model: nn.Module  # one logit a pixel
    # `architecture` and, of segmentation-models-pytorch, `encoder`; `colour` (a key of `COLOURS`), `size` (pixels a
    # side that an image is squeezed to; 0: its own), `normalise` (`image`: by its own mean and spread; `imagenet`).
    description: dict[str, Any] = field(default_factory=dict)

    def predict(self, images: Iterable[Pixels], device: Device | str = "auto") -> Iterator[Pixels]:
        """The probability of foreground of each uint8 RGB image `(h, w, 3)`, as uint8 `(h, w)` in its own size."""
        chosen = pick_device(device) if isinstance(device, str) else device
        model = self.model.to(chosen.torch).to(memory_format=torch.channels_last).eval()
        for image in images:
            height, width = image.shape[:2]
            batch = torch.from_numpy(prepared(image, self.description["colour"], self.description["size"]))[None]
            batch = self._normalised(batch.to(chosen.torch).float() / 255)
            rows, columns = batch.shape[2:]
            padded = functional.pad(batch, (0, -columns % MULTIPLE, 0, -rows % MULTIPLE), mode="replicate")
            with torch.inference_mode(), chosen.mixed_precision():
                logits = model(padded.contiguous(memory_format=torch.channels_last))[:, :1, :rows, :columns]
            shares = torch.sigmoid(logits.float())[0, 0].cpu().numpy()
            if shares.shape != (height, width):
                shares = cv2.resize(shares, (width, height), interpolation=cv2.INTER_LINEAR)
            yield np.asarray((shares * 255).round(), dtype=np.uint8)

    def _normalised(self, batch: torch.Tensor) -> torch.Tensor:
        if self.description.get("normalise") == "imagenet" and batch.shape[1] == 3:
            mean, spread = batch.new_tensor([0.485, 0.456, 0.406]), batch.new_tensor([0.229, 0.224, 0.225])
            return (batch - mean[:, None, None]) / spread[:, None, None]
        return own_scale(batch)

    def save(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors`, from which `load` gives the same network."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.model.state_dict().items()}
        write_bytes(folder / WEIGHTS, safetensors.torch.save(tensors))
        write_json(folder / CONFIG, self.description)


class SmallUnet(nn.Module):
    """A U-Net for a CPU: `block` by `block` pixels are the first layer's channels; widths double the usual way down."""

    def __init__(self, channels: int, block: int, widths: Sequence[int], outputs: int = 1) -> None:
        super().__init__()
        self.block = block
        self.first = _double(channels * block * block, widths[0])
        self.down = nn.ModuleList(_double(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_double(a + b, a) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[0], outputs * block * block, 1)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The maps on the way down, of images `(n, channels, h, w)`, the coarsest last."""
        kept = [self.first(functional.pixel_unshuffle(x, self.block) if self.block > 1 else x)]
        for layer in self.down:
            kept.append(layer(functional.max_pool2d(kept[-1], 2)))
        return kept

    def decode(self, kept: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits `(n, outputs, h, w)` of what `encode` gives."""
        x = kept[-1]
        for layer, skip in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            grown = functional.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = layer(torch.cat([grown, skip], 1))
        x = self.last(x)
        return functional.pixel_shuffle(x, self.block) if self.block > 1 else x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(n, outputs, h, w)` of images `(n, channels, h, w)`."""
        return self.decode(self.encode(x))


def _double(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in (inputs, outputs):
        layers += [nn.Conv2d(number, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def build(name: str, colour: str = "rgb", size: int = 128, seed: int = 0) -> Segmenter:
    """An untrained segmenter: `small_unet`, `fine_unet`, or `<architecture>/<encoder>` of segmentation-models-pytorch.

    An encoder is any that the package knows, timm's as `tu-<name>`; weights are random, the same seed gives the same.
    An unknown architecture or encoder is a `UserError`.
    """
    architecture, _, encoder = name.partition("/")
    description = {"architecture": architecture, "encoder": encoder, "colour": colour, "size": size}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if architecture in OWN:
            model: nn.Module = SmallUnet(COLOURS[colour], *OWN[architecture])
        else:
            model = _from_package(architecture, encoder or "tu-lcnet_050", COLOURS[colour])
    return Segmenter(model, description | {"normalise": "image"})


def _from_package(architecture: str, encoder: str, channels: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    known = sorted(kind.__name__.lower() for kind in smp.MODEL_ARCHITECTURES_MAPPING.values())
    if architecture not in known:
        do = suggest(architecture, [*OWN, *known])
        raise UserError(f"unknown segmentation architecture {architecture!r}", "specialist", do)
    try:
        return smp.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, in_channels=channels, classes=1
        )
    except (KeyError, ValueError, RuntimeError) as error:
        what = f"{architecture} with encoder {encoder!r}: {' '.join(str(error).split())[:200]}"
        raise UserError(
            what, "specialist", "give an encoder of segmentation-models-pytorch, or tu-<timm name>"
        ) from None


def load(folder: Path, size: int = 352) -> Segmenter:
    """The segmenter of a folder that `Segmenter.save` wrote, or that smp's `save_pretrained` did.

    A network of the latter kind is fed at `size` pixels a side with ImageNet's mean and spread, as the package's
    encoders are. A missing file, or weights that do not fit, are a `UserError`.
    """
    if not (folder / CONFIG).is_file():
        do = "give a folder with config.json and model.safetensors"
        raise UserError("no segmentation network found", str(folder), do)
    config: Mapping[str, Any] = read_json(folder / CONFIG)
    try:
        if "colour" in config:
            name = "/".join(filter(None, (config["architecture"], config["encoder"])))
            found = build(name, config["colour"], config["size"])
            found.model.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
            return Segmenter(found.model, dict(config))
        import segmentation_models_pytorch as smp

        model = smp.from_pretrained(str(folder))
    except Exception as error:  # broken files make it raise nearly anything
        why = " ".join(str(error).split())[:200]
        raise UserError(f"the network cannot be loaded: {why}", str(folder), "save it again") from None
    classes, channels, ending = config.get("classes", 1), config.get("in_channels", 3), config.get("activation")
    if classes != 1 or channels not in (1, 3) or ending not in (None, "identity", "sigmoid"):
        what = f"the network draws {classes} classes from {channels} channels, activation {ending}"
        raise UserError(what, str(folder), "bring one of 1 class and of 1 or 3 channels, or its maps as masks:<folder>")
    if ending == "sigmoid":
        model.segmentation_head[-1] = nn.Identity()  # `predict` has it
    colour = "gray" if channels == 1 else "rgb"
    description = {"architecture": config.get("_model_class", ""), "encoder": config.get("encoder_name", "")}
    return Segmenter(model, description | {"colour": colour, "size": size, "normalise": "imagenet"})


def mask2former(folder: Path, images: Iterable[Pixels], target: str, device: Device | str = "auto") -> Iterator[Pixels]:
    """Maps, uint8 `(h, w)`, of RGB images by a Mask2Former of transformers, from a local folder.

    The label `target` is drawn, or the only one that is no background. Above 127 lies what transformers' own
    semantic post-processing gives that label; of a network without a background, what one of its masks covers.
    A `UserError`: no such network or image processor in the folder, several labels of which none is `target`.
    """
    try:
        from transformers import AutoConfig, AutoImageProcessor, Mask2FormerForUniversalSegmentation

        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if kind != "mask2former":
            raise ValueError(f"it is of the kind {kind}")
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        read: Any = Mask2FormerForUniversalSegmentation.from_pretrained  # its types know one of its two answers
        model, told = read(folder, local_files_only=True, output_loading_info=True)
        if told["missing_keys"]:
            raise ValueError(f"it has no weights for {min(told['missing_keys'])}")
    except Exception as error:  # broken files make it raise nearly anything
        why = " ".join(str(error).split())[:200]
        do = "pip install transformers, and give a folder into which save_pretrained wrote network and image processor"
        raise UserError(f"Mask2Former cannot be loaded: {why}", str(folder), do) from None
    chosen = pick_device(device) if isinstance(device, str) else device
    model.to(chosen.torch).eval()
    drawn, others = _labels(model.config.id2label, target, str(folder))
    return (_queried(model, processor, image, drawn, others, chosen) for image in images)


def _labels(names: Mapping[Any, str], target: str, where: str) -> tuple[list[int], list[int]]:
    """The labels of a network that are drawn, and the others."""
    told = {int(number): str(name).lower() for number, name in names.items()}
    named = [number for number, name in told.items() if target.rstrip("s") in name]
    objects = [number for number, name in told.items() if not any(word in name for word in BACKGROUND)]
    if len(told) == 2 and all(name.startswith("label_") for name in told.values()):
        objects = [max(told)]  # nobody named them: background comes first
    if not named and len(objects) != 1:
        some = ", ".join(map(repr, list(told.values())[:5]))
        raise UserError(f"which of its {len(told)} labels is the {target}? {some}", where, "name it in id2label")
    drawn = named or objects
    return drawn, [number for number in told if number not in drawn]


def _queried(model: Any, processor: Any, image: Pixels, drawn: list[int], others: list[int], device: Device) -> Pixels:
    with torch.inference_mode():
        inputs = processor(images=np.array(image), return_tensors="pt").to(device.torch)
        values, valid = inputs["pixel_values"], inputs.get("pixel_mask")
        out = model(pixel_values=values, pixel_mask=valid)
        classes, masks = out.class_queries_logits.softmax(-1)[..., :-1], out.masks_queries_logits.sigmoid()
        if others:
            labels = torch.einsum("bqc,bqhw->bchw", classes, masks)
            ours, rest = labels[:, drawn].amax(1), labels[:, others].amax(1)
            shares = ours / (ours + rest).clamp_min(1e-6)
        else:
            shares = (classes[..., drawn].sum(-1)[..., None, None] * masks).amax(1)
        grown = functional.interpolate(shares[:, None], values.shape[-2:], mode="bilinear", align_corners=False)
        if valid is not None:  # what is padding lies right and below
            grown = grown[..., : int(valid[0].amax(1).sum()), : int(valid[0].amax(0).sum())]
        grown = functional.interpolate(grown, image.shape[:2], mode="bilinear", align_corners=False)
    return np.asarray((grown[0, 0].clamp(0, 1) * 255).round().byte().cpu().numpy())


def prepared(image: Pixels, colour: str, size: int) -> Pixels:
    """An RGB image as input channels, uint8 `(channels, h, w)`, squeezed to `size` pixels a side unless that is 0."""
    if size:
        shrinking = min(image.shape[:2]) >= size
        way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (size, size), interpolation=way))
    if colour == "rgb":
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    if colour == "gray":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)[None]
    levelled = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(image[..., 1]))
    return np.asarray(levelled, dtype=np.uint8)[None]


def own_scale(batch: torch.Tensor) -> torch.Tensor:
    """Each image of a float batch `(n, c, h, w)` at mean 0 and spread 1: other machines expose otherwise."""
    mean, spread = batch.mean((1, 2, 3), keepdim=True), batch.std((1, 2, 3), keepdim=True)
    return (batch - mean) / spread.clamp_min(1e-3)


def fit(
    segmenter: Segmenter,
    images: Sequence[Pixels],
    masks: Sequence[Mask],
    settings: FitSettings,
    seed: int = 0,
    device: Device | str = "auto",
    desc: str = "training",
) -> float:
    """Train a segmenter on RGB images `(h, w, 3)` and bool masks `(h, w)`; gives the mean loss of the last epoch.

    Cross-entropy plus soft Dice, AdamW, one learning-rate cycle; images are flipped, turned, scaled and re-exposed.
    No image, or a loss that is no longer finite, is a `UserError`.
    """
    if not images:
        raise UserError(
            "there is no training image", "segmentation_data", "bring masks:<folder>, or lower the test share"
        )
    chosen = pick_device(device) if isinstance(device, str) else device
    colour, size = segmenter.description["colour"], segmenter.description["size"]
    inputs = [prepared(image, colour, size) for image in images]
    targets = [_squeezed(mask, size) for mask in masks]
    model = segmenter.model.to(chosen.torch).to(memory_format=torch.channels_last).train()
    repeats = settings.crops_per_image if settings.crop else 1
    steps = max(len(inputs) * repeats // settings.batch_size, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=1e-2)
    total = steps * settings.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, max(total, 2), pct_start=0.15)
    rng = np.random.default_rng([seed, 71])
    generator = torch.Generator().manual_seed(seed)
    loss = float("nan")
    with progress(desc=desc, total=total, unit="step") as bar:
        for _ in range(settings.epochs):
            order, losses = rng.permutation(np.repeat(np.arange(len(inputs)), repeats)), []
            for step in range(steps):
                rows = order[step * settings.batch_size : (step + 1) * settings.batch_size]
                pairs = [_cut(inputs[row], targets[row], settings.crop, rng) for row in rows]
                x = torch.from_numpy(np.stack([pair[0] for pair in pairs])).to(chosen.torch).float() / 255
                y = torch.from_numpy(np.stack([pair[1] for pair in pairs])).to(chosen.torch).float()[:, None]
                x, y = _augmented(own_scale(x), y, settings.upright, generator)
                with chosen.mixed_precision():
                    logits = model(x.contiguous(memory_format=torch.channels_last))
                value = _loss(logits.float(), y)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(float(value.detach()))
                bar.update()
            loss = float(np.mean(losses))
            if not np.isfinite(loss):
                raise UserError(f"the loss is {loss}", "specialist_learning_rate", "use a lower one")
            bar.set_postfix(loss=f"{loss:.3f}")
    return loss


def _squeezed(mask: Mask, size: int) -> NDArray[np.float32]:
    values = mask.astype(np.float32)
    return np.asarray(cv2.resize(values, (size, size), interpolation=cv2.INTER_AREA)) if size else values


def _cut(image: Pixels, mask: NDArray[np.float32], crop: int, rng: np.random.Generator) -> tuple[Any, Any]:
    if not crop:
        return image, mask
    top, left = (int(rng.integers(max(side - crop, 0) + 1)) for side in mask.shape)
    return image[:, top : top + crop, left : left + crop], mask[top : top + crop, left : left + crop]


def _augmented(
    x: torch.Tensor, y: torch.Tensor, upright: bool, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    n = len(x)
    draw = torch.rand(n, 7, generator=generator)
    angle, scale = (draw[:, 0] - 0.5) * 0.6, 1 + (draw[:, 1] - 0.5) * 0.4
    flip_x = torch.where(draw[:, 2] < 0.5, -1.0, 1.0)
    flip_y = torch.ones(n) if upright else torch.where(draw[:, 3] < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift = (draw[:, 4:6] - 0.5) * 0.2
    theta = torch.stack(
        [torch.stack([cosine * flip_x, -sine, shift[:, 0]], 1), torch.stack([sine, cosine * flip_y, shift[:, 1]], 1)], 1
    )
    grid = functional.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    y = functional.grid_sample(y, grid, padding_mode="reflection", align_corners=False)
    gain = (0.75 + 0.5 * draw[:, 6]).to(x.device)[:, None, None, None]
    offset = ((torch.rand(n, generator=generator) - 0.5) * 0.5).to(x.device)[:, None, None, None]
    return x * gain + offset, y


def _loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    shares = torch.sigmoid(logits)
    shared = (shares * target).sum((1, 2, 3))
    # With a smaller term, an image without an object teaches nothing once much of it is taken for one.
    smooth = 0.005 * target[0].numel()
    overlap = (2 * shared + smooth) / (shares.sum((1, 2, 3)) + target.sum((1, 2, 3)) + smooth)
    return functional.binary_cross_entropy_with_logits(logits, target) + 1 - overlap.mean()
