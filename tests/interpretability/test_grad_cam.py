import numpy as np
import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from nbhelpers.errors import UserError
from nbhelpers.interpretability import grad_cam
from nbhelpers.networks import lesions, models

CONVOLUTIONAL = ["resnet10t", "convnext_atto", "efficientnet_b0", "mobilenetv3_small_050", "regnety_002"]
# With a class token and without one; channels last, by convolutions and in windows; no attention at all.
TOKENS = {
    "test_vit": (160, {}),
    "test_vit_relpos": (160, {}),
    "test_mambaout": (160, {}),
    "swin_tiny_patch4_window7_224": (64, {"embed_dim": 24, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4}),
    "mixer_s16_224": (64, {}),
}


def network(name="resnet10t", seed=0, gain=1e3):
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=1, in_chans=1).eval()
    with torch.no_grad():
        model.get_classifier().weight.mul_(gain)  # an untrained head gives maps too faint to compare
    return model


def token_network(name):
    size, options = TOKENS[name]
    torch.manual_seed(0)
    sized = {} if "mambaout" in name else {"img_size": size}
    model = timm.create_model(name, num_classes=1, in_chans=1, **options, **sized).eval()
    with torch.no_grad():
        model.get_classifier().weight.normal_()
    return model, films(3, size)


def films(n=5, size=128, seed=0):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


class ByHand(nn.Module):
    """Two channels, x and -x, averaged and summed with weights 3 and -2: its Grad-CAM can be worked out on paper."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.head = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
            self.head.weight.copy_(torch.tensor([[3.0, -2.0]]))

    def forward(self, x):
        return self.head(self.conv(x).mean(dim=(2, 3)))


def test_a_network_worked_out_by_hand_has_the_map_of_the_formula():
    # alpha = weight / positions; map = relu((3 / 16) x + (-2 / 16)(-x)) = relu(5 x / 16).
    film = torch.arange(-8.0, 8.0).reshape(1, 1, 4, 4)
    expected = np.maximum(5 * film[0, 0].numpy() / 16, 0)
    np.testing.assert_allclose(grad_cam.grad_cam(ByHand(), film)[0], expected, atol=1e-6)
    np.testing.assert_allclose(grad_cam.grad_cam_by_package(ByHand(), film)[0], expected, atol=1e-6)


def test_positive_evidence_sums_to_the_logit_where_pooling_and_one_linear_layer_end_the_network():
    film = torch.rand(3, 1, 4, 4)
    maps = grad_cam.grad_cam(ByHand(), film, upsample=False)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), ByHand()(film)[:, 0].detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_batched_maps_equal_those_of_the_grad_cam_package(name):
    model, x = network(name), films()
    layer = model.get_submodule(grad_cam.convolutional_layer(model, 1, 128))
    with GradCAM(model, [layer]) as package:
        expected = np.concatenate([package(x[i : i + 1], [ClassifierOutputTarget(0)]) for i in range(len(x))])
    assert np.abs(grad_cam.grad_cam(model, x, batch_size=2, scaled=True) - expected).max() <= 1e-5
    np.testing.assert_allclose(grad_cam.grad_cam_by_package(model, x, scaled=True), expected, atol=1e-6)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_unscaled_maps_are_the_same_batched_and_by_the_package(name):
    model, x = network(name), films()
    maps = grad_cam.grad_cam(model, x)
    assert maps.shape == (5, 128, 128) and maps.dtype == np.float32 and maps.min() >= 0 and maps.max() > 0
    np.testing.assert_allclose(maps, grad_cam.grad_cam_by_package(model, x), atol=1e-5 * max(1.0, float(maps.max())))


def test_a_map_keeps_its_own_strength():
    model, x = network(), films()
    once = grad_cam.grad_cam(model, x)
    with torch.no_grad():
        model.get_classifier().weight.mul_(3)
    np.testing.assert_allclose(grad_cam.grad_cam(model, x), 3 * once, rtol=1e-4, atol=1e-6)


def test_batch_size_changes_no_map():
    model, x = network(), films(7)
    one, many = (grad_cam.grad_cam(model, x, batch_size=size) for size in (1, 7))
    np.testing.assert_allclose(one, many, atol=1e-5)


def test_the_grid_is_that_of_the_last_layer_and_upsampling_is_bilinear():
    model, x = network(), films(2)
    grids = grad_cam.grad_cam(model, x, upsample=False)
    assert grids.shape == (2, 4, 4)
    full = torch.nn.functional.interpolate(torch.from_numpy(grids)[:, None], size=128, mode="bilinear")[:, 0]
    np.testing.assert_allclose(grad_cam.grad_cam(model, x), full.numpy(), atol=1e-5)


def test_the_network_is_left_as_it_was():
    model = network().train()
    model.conv1[0].weight.requires_grad_(False)
    mode = {name: module.training for name, module in model.named_modules()}
    trained = [p.requires_grad for p in model.parameters()]
    before = [p.clone() for p in model.state_dict().values()]
    for maps in (grad_cam.grad_cam, grad_cam.grad_cam_by_package):
        maps(model, films(2))
        assert {name: module.training for name, module in model.named_modules()} == mode
        assert [p.requires_grad for p in model.parameters()] == trained
        assert all(p.grad is None for p in model.parameters())
        assert all(not module._forward_hooks for module in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", TOKENS)
def test_maps_of_token_networks_equal_those_of_the_grad_cam_package(name):
    model, x = token_network(name)
    layer = grad_cam.map_layer(model, 1, x.shape[-1])
    assert ".norm" in layer.name
    kept = [model.get_submodule(layer.name)]
    side = model.forward_intermediates(x, indices=1, intermediates_only=True)[-1].shape[-1]

    def by_hand(output):  # as the package's documentation writes it
        if output.ndim == 3:
            output = output[:, output.shape[1] - side * side :].reshape(len(output), side, side, -1)
        return output.transpose(2, 3).transpose(1, 2)

    with GradCAM(model, kept, reshape_transform=by_hand) as package:
        expected = np.concatenate([package(x[i : i + 1], [ClassifierOutputTarget(0)]) for i in range(len(x))])
    assert expected.max() > 0.9
    assert np.abs(grad_cam.grad_cam(model, x, batch_size=2, scaled=True) - expected).max() <= 1e-5
    np.testing.assert_allclose(grad_cam.grad_cam_by_package(model, x, scaled=True), expected, atol=1e-6)
    maps = grad_cam.grad_cam(model, x)
    assert maps.max() > 0
    np.testing.assert_allclose(maps, grad_cam.grad_cam_by_package(model, x), atol=1e-5 * max(1.0, float(maps.max())))


@pytest.mark.parametrize("name", TOKENS)
def test_places_of_tokens_are_those_of_timm_and_only_prefix_tokens_are_dropped(name):
    model, x = token_network(name)
    layer = grad_cam.map_layer(model, 1, x.shape[-1])
    block = model.feature_info[-1]["module"]
    outputs = []
    model.get_submodule(block).register_forward_hook(lambda module, inputs, output: outputs.append(output))
    (places,) = model.forward_intermediates(x, indices=1, intermediates_only=True)
    torch.testing.assert_close(layer.places(outputs[0]), places)
    assert layer.prefix == (getattr(model, "num_prefix_tokens", 0) if layer.layout == "tokens" else 0)


def test_a_network_of_two_token_grids_has_no_map():
    sizes = {"img_scale": (1.0, 1.0), "embed_dim": (16, 24), "num_heads": (2, 2), "depth": ((1, 1, 0),)}
    model = timm.create_model("crossvit_tiny_240", num_classes=1, in_chans=1, **sizes)
    assert grad_cam.find_layer(model, 1, 240) is None


def test_films_too_small_for_a_map_are_one_clear_error():
    assert grad_cam.find_layer(network(), 1, 32) is None
    with pytest.raises(UserError, match="32 pixels"):
        grad_cam.grad_cam(network(), films(1, 32))


def test_no_films_give_no_maps():
    assert grad_cam.grad_cam(network(), films(0)).shape == (0, 128, 128)


def test_a_probe_gives_what_each_place_adds_to_its_logit_less_what_is_below_zero():
    made = {"names": ["layer2"], "pooling": ["mean"], "sizes": [128]}
    model = models.build_probe("test_resnet", "random", 1, made, 128).eval()
    model.head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    model.head.bias.data.zero_()
    found = grad_cam.grad_cam(model, films(), upsample=False)
    # A mean of places and one linear layer: map times gradient is exact there, and autograd the oracle.
    maps = [one.requires_grad_() for one in model.forward_features(films())]
    model.forward_head(maps).sum().backward()
    wanted = (maps[0] * maps[0].grad).sum(1).relu().detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())
    whole = grad_cam.grad_cam_by_package(model, films())  # what figure 4 asks for
    np.testing.assert_allclose(whole, grad_cam.resize_maps(found, 128), atol=1e-6)


def test_a_network_that_draws_shows_what_its_score_is_read_from_by_either_way():
    model = models.build(lesions.NAME, seed=3).eval()
    images = films(3, 64)
    layer = grad_cam.find_layer(model, 1, 64)
    assert model.get_submodule(layer.name) is model.body.last
    with torch.no_grad():
        wanted = model.activation_map(images).relu()
    assert wanted.amax((1, 2)).min() > 0
    for found in (grad_cam.grad_cam(model, images, layer), grad_cam.grad_cam_by_package(model, images, layer)):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
