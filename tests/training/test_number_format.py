import pytest
import torch
from torch import nn

from nbhelpers.networks import models
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs.devices import Device
from nbhelpers.training import number_format
from nbhelpers.training.number_format import faster_format

BF16, FP32 = Device("cpu", torch.bfloat16), Device("cpu", None)


class _Clock(nn.Module):
    """A network that takes a stated time in either format, and more in its first steps."""

    def __init__(self, lowered, whole):
        super().__init__()
        self.costs, self.weight, self.steps = (whole, lowered), nn.Parameter(torch.ones(1)), 0

    now = 0.0

    def forward(self, images):
        self.steps += 1
        _Clock.now += self.costs[torch.is_autocast_enabled("cpu")] + 100 * (self.steps < 3)
        return images.mean() * self.weight


@pytest.mark.parametrize(
    ("lowered", "whole", "chosen"), [(1.0, 2.0, BF16), (1.1, 1.0, BF16), (1.3, 1.0, FP32), (2.0, 1.0, FP32)]
)
def test_float32_is_taken_where_it_is_clearly_faster(monkeypatch, lowered, whole, chosen):
    monkeypatch.setattr(number_format.time, "process_time", lambda: _Clock.now)
    assert faster_format(_Clock(lowered, whole), Transform(32), BF16) == chosen


def test_the_network_and_the_random_state_are_left_alone():
    network = models.build("test_efficientnet").train()
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    faster_format(network, Transform(32), BF16)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", [FP32, Device("cuda", torch.bfloat16), Device("mps", None)])
def test_where_there_is_no_choice_nothing_is_measured(device):
    assert faster_format(None, Transform(32), device) == device


def test_the_trial_runs_in_the_memory_order_in_which_a_network_is_trained():
    """In another order a depthwise network takes other kernels, and bfloat16 seems no slower than float32."""
    network, in_order = models.build("test_efficientnet"), []

    def kept(module, inputs, output):
        in_order.append(output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous())

    next(module for module in network.modules() if isinstance(module, nn.Conv2d)).register_forward_hook(kept)
    faster_format(network, Transform(32), BF16)
    assert len(in_order) > 2 and all(in_order)
