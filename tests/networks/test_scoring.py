import copy

import numpy as np
import pytest
import torch

from nbhelpers.errors import UserError
from nbhelpers.networks import models, scoring
from nbhelpers.networks.preprocessing import Transform, to_tensor
from nbhelpers.runs.devices import Device

TRANSFORM = Transform(48)
FP32 = Device("cpu", None)
BF16 = Device("cpu", torch.bfloat16)


@pytest.fixture(scope="module")
def films():
    return np.random.default_rng(0).integers(0, 256, (21, 48, 48), dtype=np.uint8)


@pytest.fixture(scope="module", params=["test_resnet", "test_vit", "test_efficientnet"])
def model(request):
    network = models.build(request.param, image_size=48)
    # Batch norms that have seen something.
    network.train()
    with torch.no_grad():
        for seed in range(5):
            network(torch.randn(8, 1, 48, 48, generator=torch.Generator().manual_seed(seed)))
    return network.eval()


@pytest.fixture(scope="module")
def decided(model):
    """The same network with scores that lie apart: an untrained one gives all films nearly the same."""
    network = copy.deepcopy(model)
    films = np.random.default_rng(1).integers(0, 256, (32, 48, 48), dtype=np.uint8)
    with torch.no_grad():
        logits, head = network(to_tensor(films, TRANSFORM)), network.get_classifier()
        head.weight.div_(logits.std())
        head.bias.sub_(logits.mean()).div_(logits.std())
    return network


def test_scores_equal_the_plain_network_in_float32(model, films):
    with torch.inference_mode():
        expected = torch.sigmoid(model(to_tensor(films, TRANSFORM)))[:, 0].double().numpy()
    np.testing.assert_allclose(scoring.predict(model, films, TRANSFORM, FP32), expected, atol=1e-5)


def test_scores_in_bfloat16_are_near_and_in_the_same_order(model, films):
    exact = scoring.predict(model, films, TRANSFORM, FP32)
    rounded = scoring.predict(model, films, TRANSFORM, BF16)
    assert np.abs(exact - rounded).max() < 0.02
    assert len(np.unique(rounded)) == len(films)


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
def test_a_films_score_is_its_own_in_any_company_and_order(decided, films, device):
    many = np.concatenate([films, np.random.default_rng(2).integers(0, 256, (279, 48, 48), dtype=np.uint8)])
    whole = scoring.predict(decided, many, TRANSFORM, device)
    assert whole.std() > 0.1
    for count in (1, 31, 33, 255, 256):
        np.testing.assert_allclose(scoring.predict(decided, many[:count], TRANSFORM, device), whole[:count], atol=1e-12)
    for alone in (17, 299):
        found = scoring.predict(decided, many[alone : alone + 1], TRANSFORM, device)
        np.testing.assert_allclose(found, whole[alone : alone + 1], atol=1e-12)
    order = np.random.default_rng(3).permutation(len(many))
    np.testing.assert_allclose(scoring.predict(decided, many[order], TRANSFORM, device), whole[order], atol=1e-12)


@pytest.mark.parametrize("device", [FP32, BF16], ids=["fp32", "bf16"])
def test_scores_do_not_depend_on_the_batch_size_or_the_number_of_threads(decided, films, device):
    whole, threads = scoring.predict(decided, films, TRANSFORM, device), torch.get_num_threads()
    for size in (1, 4, 7, 256):
        np.testing.assert_array_equal(scoring.predict(decided, films, TRANSFORM, device, size), whole)
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            np.testing.assert_allclose(scoring.predict(decided, films, TRANSFORM, device), whole, atol=1e-6)
    finally:
        torch.set_num_threads(threads)


def test_a_second_call_gives_the_same_bits(model, films):
    first, second = (scoring.predict(model, films, TRANSFORM, "cpu", 8) for _ in range(2))
    assert np.array_equal(first, second)


def test_features_are_what_timm_gives_the_head(model, films):
    with torch.inference_mode():
        maps = model.forward_features(to_tensor(films, TRANSFORM))
        expected = model.forward_head(maps, pre_logits=True).numpy()
        logits = model.get_classifier()(torch.from_numpy(scoring.features(model, films, TRANSFORM, FP32)))[:, 0]
    found = scoring.features(model, films, TRANSFORM, FP32)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(torch.sigmoid(logits), scoring.predict(model, films, TRANSFORM, FP32), atol=1e-5)


def test_a_memory_map_is_scored_without_a_copy_of_it_all(films, tmp_path):
    np.save(tmp_path / "films.npy", films)
    mapped = np.load(tmp_path / "films.npy", mmap_mode="r")
    network = models.build("test_resnet")
    assert np.array_equal(
        scoring.predict(network, mapped, TRANSFORM, FP32), scoring.predict(network, films, TRANSFORM, FP32)
    )


def test_the_network_keeps_its_mode_and_its_weights(films):
    network = models.build("test_resnet").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scoring.predict(network, films, TRANSFORM, "cpu")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    # Still trainable: nothing made under inference mode has leaked into it.
    network(to_tensor(films, TRANSFORM)).sum().backward()


def test_no_images_give_no_scores():
    network = models.build("test_resnet")
    none = np.zeros((0, 48, 48), np.uint8)
    assert scoring.predict(network, none, TRANSFORM).shape == (0,)
    assert scoring.features(network, none, TRANSFORM).shape == (0, network.num_features)


def test_images_of_another_size_and_a_broken_network_are_one_clear_error(films):
    network = models.build("test_resnet")
    with pytest.raises(UserError, match="uint8"):
        scoring.predict(network, films[:, :40, :40], TRANSFORM)
    with torch.no_grad():
        network.fc.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        scoring.predict(network, films, TRANSFORM)


def test_a_network_of_several_branches_is_scored_too():
    network, transform = models.build("crossvit_9_240", image_size=240).eval(), Transform(240)
    films = np.random.default_rng(0).integers(0, 256, (2, 240, 240), dtype=np.uint8)
    with torch.inference_mode():
        expected = torch.sigmoid(network(to_tensor(films, transform)))[:, 0].double().numpy()
    np.testing.assert_allclose(scoring.predict(network, films, transform, FP32), expected, atol=1e-5)
    assert scoring.features(network, films, transform, FP32).shape == (2, sum(network.embed_dim))
