import json
import pickle
import threading

import pytest
import safetensors.torch
import timm
import torch
from torch.nn import functional

from nbhelpers.errors import UserError
from nbhelpers.networks import models, weights
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.weights import _unreachable

BACKBONE = "test_resnet"


@pytest.fixture
def colour_weights(tmp_path):
    """A published-style weights file: three input channels, a thousand classes."""
    torch.manual_seed(7)
    network = timm.create_model(BACKBONE, num_classes=1000)
    path = tmp_path / "published.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    return path, network


def test_an_unknown_backbone_names_near_ones():
    with pytest.raises(UserError, match=r"did you mean.*resnet50"):
        models.build("resnet5O")


@pytest.mark.parametrize("name", ["hf-hub:someone/something", "resnet50.no_such_tag", "", "../resnet50"])
def test_a_backbone_is_a_timm_name_and_nothing_else(name):
    with pytest.raises(UserError, match="backbone"):
        models.build(name)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_any_timm_network_gives_one_logit_of_a_gray_image(name):
    model = models.build(name, image_size=64)
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 1)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    state = torch.get_rng_state()
    first, second, other = (models.build(BACKBONE, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_local_weights_keep_their_body_sum_their_colours_and_lose_their_head(colour_weights):
    path, published = colour_weights
    model = models.build(BACKBONE, str(path))
    loaded, original = model.state_dict(), published.state_dict()
    stem = "conv1.0.weight"
    torch.testing.assert_close(loaded[stem], original[stem].sum(dim=1, keepdim=True))
    for name, value in original.items():
        if name != stem and not name.startswith("fc."):
            assert torch.equal(loaded[name], value), name
    assert loaded["fc.weight"].shape == (1, original["fc.weight"].shape[1])
    assert "state_dict" not in model.pretrained_cfg


def test_a_gray_image_gives_what_the_colour_network_gives_for_it_in_three_channels(colour_weights):
    path, published = colour_weights
    gray = torch.rand(2, 1, 64, 64)
    one = models.build(BACKBONE, str(path)).eval().forward_features(gray)
    three = published.eval().forward_features(gray.expand(-1, 3, -1, -1))
    torch.testing.assert_close(one, three, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("wrapped", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
def test_torch_files_are_read_as_tensors(tmp_path, wrapped):
    model = models.build(BACKBONE, seed=4)
    torch.save(wrapped(model.state_dict()), tmp_path / "mine.pth")
    again = models.build(BACKBONE, str(tmp_path / "mine.pth"), seed=9).state_dict()
    # A head of one logit is kept: such a file is a classifier of this kind already.
    assert all(torch.equal(again[name], value) for name, value in model.state_dict().items())


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("code in a weights file was run",))


def test_no_code_in_a_weights_file_is_run(tmp_path):
    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"state_dict": _Trap()}))
    torch.save({"state_dict": _Trap()}, tmp_path / "trap.pt")
    for name in ("trap.pth", "trap.pt"):
        with pytest.raises(UserError, match=name):
            models.build(BACKBONE, str(tmp_path / name))


@pytest.mark.parametrize("name", ["test_resnet", "resnet10t", "test_vit"])
def test_weights_of_another_network_are_refused(tmp_path, name):
    other = timm.create_model("test_convnext", num_classes=1000)
    safetensors.torch.save_file(other.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=f"do not fit {name}"):
        models.build(name, str(tmp_path / "other.safetensors"))


def test_a_file_that_lacks_a_layer_is_refused(tmp_path):
    weights = models.build(BACKBONE).state_dict()
    del weights["layer2.0.conv1.weight"]
    safetensors.torch.save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"layer2\.0\.conv1"):
        models.build(BACKBONE, str(tmp_path / "part.safetensors"))


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth", "empty.bin"])
def test_a_broken_weights_file_is_one_clear_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"" if "empty" in name else b"not weights at all" * 20)
    with pytest.raises(UserError, match=name):
        models.build(BACKBONE, str(tmp_path / name))


@pytest.mark.parametrize("init", ["imagnet", "/no/such/file.pth", "README.md"])
def test_an_init_that_is_none_names_the_choices(init):
    with pytest.raises(UserError, match="`imagenet`, `random`, or the path"):
        models.build(BACKBONE, init)


def test_imagenet_weights_offline_are_one_error_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(weights.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights.hub, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be reached.*`random`"):
        models.build("resnet18", "imagenet")


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    release = threading.Event()

    def never(*_, **__):
        release.wait(20)
        raise OSError

    monkeypatch.setattr(weights.urllib.request, "urlopen", never)
    try:
        assert "did not answer" in _unreachable("http://127.0.0.1:9", 0.1)
    finally:
        release.set()


def test_imagenet_weights_that_are_on_this_machine_need_no_network(monkeypatch, colour_weights):
    path, published = colour_weights
    monkeypatch.setattr(weights, "try_to_load_from_cache", lambda *_: str(path))
    monkeypatch.setattr(models, "download", lambda *_: pytest.fail("asked the network"))
    loaded = models.build(BACKBONE, "imagenet").state_dict()
    assert torch.equal(loaded["layer1.0.conv1.weight"], published.state_dict()["layer1.0.conv1.weight"])


def test_a_backbone_without_pretrained_weights_says_so():
    with pytest.raises(UserError, match="no pretrained weights"):
        models.build("selecsls84", "imagenet")


def test_a_size_that_the_network_cannot_take_is_refused():
    with pytest.raises(UserError, match=r"does not take 33 x 33|cannot build"):
        models.check_fits(models.build("swin_tiny_patch4_window7_224"), Transform(33), "swin_tiny_patch4_window7_224")


def described(**changes):
    return ModelDescription(BACKBONE, "random", Transform(48, 1, "imagenet"), seed=3, **changes)


def test_a_checkpoint_gives_back_the_network_and_its_description(tmp_path):
    model = models.build(BACKBONE, seed=3).eval()
    written = models.save_checkpoint(tmp_path, model, described(arm={"name": "raw"}, simulated=True, val_auroc=0.9))
    loaded, description = models.load_checkpoint(tmp_path)
    assert description == written
    assert (description.transform, description.simulated) == (Transform(48, 1, "imagenet"), True)
    image = torch.rand(2, 1, 48, 48)
    assert torch.equal(model(image), loaded(image))
    assert not loaded.training


def test_a_checkpoint_is_rebuilt_without_the_init_that_it_was_trained_from(tmp_path, colour_weights):
    path, _ = colour_weights
    models.save_checkpoint(
        tmp_path / "arm", models.build(BACKBONE, str(path)), ModelDescription(BACKBONE, str(path), Transform(48))
    )
    path.unlink()
    models.load_checkpoint(tmp_path / "arm")


def test_other_weights_than_described_are_refused(tmp_path):
    models.save_checkpoint(tmp_path, models.build(BACKBONE), described())
    safetensors.torch.save_file(models.build(BACKBONE, seed=8).state_dict(), tmp_path / "checkpoint.safetensors")
    with pytest.raises(UserError, match=r"not those that model\.json describes"):
        models.load_checkpoint(tmp_path)


@pytest.mark.parametrize("missing", ["model.json", "checkpoint.safetensors"])
def test_a_missing_file_of_a_checkpoint_is_named(tmp_path, missing):
    models.save_checkpoint(tmp_path, models.build(BACKBONE), described())
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=missing.replace(".", r"\.")):
        models.load_checkpoint(tmp_path)


def test_a_description_that_lacks_its_transform_is_refused(tmp_path):
    models.save_checkpoint(tmp_path, models.build(BACKBONE), described())
    values = json.loads((tmp_path / "model.json").read_text())
    del values["transform"]
    (tmp_path / "model.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="transform"):
        models.load_checkpoint(tmp_path)


def test_the_logit_is_the_log_odds_of_pneumonia():
    assert models.CLASSES[1] == "pneumonia"
    logit = torch.tensor([2.0])
    loss = functional.binary_cross_entropy_with_logits(logit, torch.tensor([1.0]))
    assert loss < functional.binary_cross_entropy_with_logits(-logit, torch.tensor([1.0]))
