import pytest
import timm
import torch
from torch import nn

from nbhelpers.networks import fusion

SHAPE = (1, 64, 64)


def seasoned(name):
    """A network whose batch norms have seen something, so that folding them in is more than the identity."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=1, in_chans=1)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(4, *SHAPE))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def joined(body):
    return sum(isinstance(module, fusion._Convolution) for module in body.modules())


# Plain residual, bottleneck, squeeze-and-excite, norm first, grouped, and a transformer.
NAMES = ["resnet10t", "test_resnet", "resnetv2_18d", "seresnet18", "test_byobnet", "regnetx_002", "test_vit2"]


@pytest.mark.parametrize("name", NAMES)
def test_the_folded_body_equals_the_network_in_float32(name):
    network = seasoned(name) if "vit" not in name else timm.create_model(name, in_chans=1, img_size=64).eval()
    images = torch.randn(3, *SHAPE)
    with torch.inference_mode():
        expected = network.forward_features(images)
        found = fusion.inference_body(network, SHAPE, None)(images)
    torch.testing.assert_close(found, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)


def test_norms_relus_and_additions_of_a_residual_network_are_folded():
    with torch.inference_mode():
        body = fusion.inference_body(seasoned("resnet10t"), SHAPE, None)
    kinds = {type(module) for module in body.modules()}
    assert not kinds & {nn.BatchNorm2d, nn.Conv2d, nn.ReLU}
    assert joined(body) == sum(isinstance(m, nn.Conv2d) for m in seasoned("resnet10t").modules())


def test_weights_are_lowered_and_the_network_is_not_changed():
    network = seasoned("test_resnet")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        body = fusion.inference_body(network, SHAPE, torch.bfloat16)
        assert body(torch.randn(2, *SHAPE)).dtype == torch.bfloat16
    assert {m.weight.dtype for m in body.modules() if isinstance(m, fusion._Convolution)} == {torch.bfloat16}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class _InPlace(nn.Module):
    """What folding would get wrong: the convolution's input changes before the addition is made."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.ReLU()

    def forward_features(self, images):
        first = self.one(images)
        second = self.two(first)
        third = self.relu(first)
        return self.last(second + third)


def test_a_folding_that_changes_the_result_is_not_used():
    torch.manual_seed(0)
    network, images = _InPlace().eval(), torch.randn(2, *SHAPE)
    with torch.inference_mode():
        torch.testing.assert_close(
            fusion.inference_body(network, SHAPE, None)(images), network.forward_features(images)
        )


class _Branching(_InPlace):
    def forward_features(self, images):
        return self.one(images) if images.mean() > 0 else self.one(-images)


@pytest.mark.parametrize("failing", ["trace", "join"])
def test_a_network_that_cannot_be_folded_is_used_as_it_is(monkeypatch, failing):
    network = _Branching().eval() if failing == "trace" else seasoned("test_resnet")
    if failing == "join":
        monkeypatch.setattr(fusion, "_join_convolutions", lambda body: body.no_such_attribute)
    images = torch.randn(2, *SHAPE)
    with torch.inference_mode():
        body = fusion.inference_body(network, SHAPE, None)
        torch.testing.assert_close(body(images), network.forward_features(images), atol=1e-4, rtol=1e-4)
    assert joined(body) == 0
