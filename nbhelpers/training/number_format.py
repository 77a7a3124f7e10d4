"""The number format in which a network trains faster here: bfloat16 halves the work of most, and slows some down."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import torch
from torch import nn

from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs.devices import Device

IMAGES, ROUNDS = 8, 3  # of a trial step, and steps in each format; the first of them warms up
CLEAR = 1.15  # times faster: what is less may be noise, and two trainings of one run would differ in format


def faster_format(model: nn.Module, transform: Transform, device: Device) -> Device:
    """The device with float32 where a CPU's training step is clearly faster in it, else the device as it is.

    bfloat16 wins with convolutions over all channels and with transformers, float32 with depthwise convolutions
    (EfficientNet, MobileNet), whose gradients have no fast bfloat16 kernel. What counts is the processor's time, not
    the clock's, so that other work on the machine matters less. The model is not changed.
    """
    if device.torch.type != "cpu" or device.autocast is None:
        return device
    plain = replace(device, autocast=None)
    trial = copy.deepcopy(model).train().to(memory_format=torch.channels_last)  # as it is trained
    shape = (IMAGES, transform.channels, transform.size, transform.size)
    times: dict[Device, list[float]] = {device: [], plain: []}
    with torch.random.fork_rng(devices=[]):
        images = torch.randn(shape).contiguous(memory_format=torch.channels_last)
        for _ in range(ROUNDS):
            for candidate, taken in times.items():
                start = time.process_time()
                with candidate.mixed_precision():
                    outputs = trial(images)
                outputs.float().sum().backward()
                taken.append(time.process_time() - start)
    lowered, whole = (min(taken[1:]) for taken in times.values())
    return plain if lowered > CLEAR * whole else device
