"""Pipelines of the diffusers library on this machine: loaded from a folder or the hub, called with what they take."""

from __future__ import annotations

import inspect
from typing import Any

from nbhelpers.errors import UserError
from nbhelpers.runs.stage import user_path

INSTALL = 'pip install -e ".[roentgen]"'


def load_pipeline(model: str, device: str, parameter: str, edits: bool = False) -> Any:
    """A pipeline on its device, from a folder (counted from the project's root) or a model id on the hub.

    Only safetensors are read, and no code of the repository is run. With `edits` it takes a picture: its own class if
    that does, else the one that diffusers has for changing pictures with these weights. A `UserError` when it is not
    found or not granted, or cannot take a picture.
    """
    import torch
    from diffusers import AutoPipelineForImage2Image, DiffusionPipeline

    from nbhelpers.runs.devices import pick_device

    place = pick_device(device).torch
    local = user_path(model)
    try:
        pipeline = DiffusionPipeline.from_pretrained(str(local) if local.is_dir() else model, use_safetensors=True)
        if edits and "image" not in taken(pipeline):
            pipeline = AutoPipelineForImage2Image.from_pipe(pipeline)
    except (OSError, ValueError) as error:
        raise UserError(
            f"the model cannot be loaded: {' '.join(str(error).split())[:300]}",
            f"{parameter} = {model}",
            "name a folder that holds it, or accept its terms on huggingface.co and log in with `hf auth login`",
        ) from None
    pipeline.set_progress_bar_config(disable=True)
    if place.type != "cuda":
        return pipeline.to(place)
    # Editors are newer: their text encoders overflow in float16.
    return pipeline.to(place, torch.bfloat16 if edits and torch.cuda.is_bf16_supported() else torch.float16)


def taken(pipeline: Any) -> set[str]:
    """The names of what a pipeline can be called with."""
    return set(inspect.signature(pipeline.__call__).parameters)


def draw(pipeline: Any, seeds: list[int], **wanted: Any) -> list[Any]:
    """Pictures (PIL), one a seed; of `wanted`, what is None or what the pipeline does not take is left out."""
    import torch

    # Drawn on the CPU, noise is the same on every device.
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    known = taken(pipeline)
    given = {name: value for name, value in wanted.items() if value is not None and name in known}
    with torch.inference_mode():
        drawn: list[Any] = pipeline(generator=noise, **given).images
    return drawn
