"""Where first weights come from: files and timm's own, never with code in them run."""

import pickle
import threading

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional

from nbhelpers.errors import UserError
from nbhelpers.networks import models, weights

BACKBONE = "test_resnet"


@pytest.fixture
def colour_weights(tmp_path):
    """A published-style weights file: three input channels, a thousand classes."""
    torch.manual_seed(7)
    network = timm.create_model(BACKBONE, num_classes=1000)
    path = tmp_path / "published.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    return path, network


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


def test_a_new_head_starts_undecided_and_one_that_fits_or_grows_with_its_network_does_not(colour_weights, tmp_path):
    model = models.build(BACKBONE, str(colour_weights[0]))
    assert not model.fc.weight.any() and not model.fc.bias.any()
    assert models.build(BACKBONE, "random").fc.weight.any()
    own = models.build(BACKBONE, "random", seed=5)
    safetensors.torch.save_file(own.state_dict(), tmp_path / "own.safetensors")
    assert torch.equal(models.build(BACKBONE, str(tmp_path / "own.safetensors")).fc.weight, own.fc.weight)


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
    lacking = models.build(BACKBONE).state_dict()
    del lacking["layer2.0.conv1.weight"]
    safetensors.torch.save_file(lacking, tmp_path / "part.safetensors")
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
        assert "did not answer" in weights._unreachable("http://127.0.0.1:9", 0.1)
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


# Places of ImageNet's classes among its thousand, in the order of the challenge.
DAISY, BEE = 985, 309
BELL_COTE, BUILDINGS = 442, {"boathouse": 449, "castle": 483, "monastery": 663, "palace": 698}


def packaged(backbone):
    found = weights.package_file(backbone)
    if found is None:
        pytest.skip(f"the package with the weights of {backbone} is not installed")
    return found


def most_likely(backbone, picture, n):
    """The n classes that the package's weights find most likely in one of scikit-learn's pictures, at 224 pixels."""
    network = weights.create_from_file(backbone, packaged(backbone), 0, {}).eval()
    pixels = torch.from_numpy(np.array(load_sample_image(picture))).permute(2, 0, 1)[None].float()
    small = functional.interpolate(pixels, size=(224, 224), mode="bilinear", antialias=True)
    with torch.inference_mode():
        return network((small - 127) / 128)[0].topk(n).indices.tolist()


def test_the_packages_weights_see_a_daisy_first():
    assert most_likely("tf_efficientnet_lite0", "flower.jpg", 1) == [DAISY]


def test_the_packages_weights_see_the_buildings_of_the_chinese_temple():
    first, *others = most_likely("tf_efficientnet_lite0", "china.jpg", 8)
    assert first == BELL_COTE
    assert set(others) >= set(BUILDINGS.values())


@pytest.mark.parametrize("backbone", list(weights.PACKAGES))
def test_a_network_of_one_logit_takes_the_packages_body_with_no_network(backbone, monkeypatch):
    path = packaged(backbone)
    monkeypatch.setattr(weights, "imagenet_file", lambda name: None)
    monkeypatch.setattr(models, "download", lambda *given: pytest.fail("a download was tried"))
    published = list(torch.load(path, weights_only=True).values())
    built = list(models.build(backbone, "imagenet", channels=3).state_dict().values())
    assert all(torch.equal(one, other) for one, other in zip(published[:-2], built[:-2], strict=True))
    assert built[-2].shape == (1, published[-2].shape[1])


def test_the_package_serves_a_name_with_the_tag_of_its_weights_and_no_other(monkeypatch):
    path = packaged("tf_efficientnet_lite0")
    monkeypatch.setattr(weights, "imagenet_file", lambda name: None)
    monkeypatch.setattr(models, "download", lambda *given: pytest.fail("a download was tried"))
    assert weights.package_file("tf_efficientnet_lite0.in1k") == path
    tagged, plain = (models.build(f"tf_efficientnet_lite0{tag}", "imagenet").state_dict() for tag in (".in1k", ""))
    assert all(torch.equal(one, other) for one, other in zip(tagged.values(), plain.values(), strict=True))
    assert weights.package_file("tf_efficientnet_lite0.of_someone_else") is None


def test_what_timm_downloaded_before_goes_before_the_package(monkeypatch, tmp_path):
    packaged("tf_efficientnet_lite0")
    monkeypatch.setattr(weights, "imagenet_file", lambda name: None)
    assert "package" in weights.find("tf_efficientnet_lite0", "imagenet")[0]
    monkeypatch.setattr(weights, "imagenet_file", lambda name: tmp_path)
    assert weights.find("tf_efficientnet_lite0", "imagenet")[0] == "ImageNet, timm's cache"
    own = tmp_path / "own.pth"
    own.write_bytes(b"")
    assert weights.find("tf_efficientnet_lite0", str(own))[0] == "local file own.pth"


def test_weights_that_were_changed_are_refused(monkeypatch):
    packaged("tf_efficientnet_lite0")
    changed = weights.PACKAGES["tf_efficientnet_lite0"][:8] + "0" * 56
    monkeypatch.setitem(weights.PACKAGES, "tf_efficientnet_lite0", changed)
    with pytest.raises(UserError, match="differ from the published"):
        weights.package_file("tf_efficientnet_lite0")


def test_a_packages_file_that_is_another_networks_is_refused(monkeypatch):
    path = packaged("tf_efficientnet_lite0")
    monkeypatch.setitem(weights.PACKAGES, "tf_efficientnet_lite1", path.stem[-8:])
    with pytest.raises(UserError, match="do not fit"):
        weights.create_from_file("tf_efficientnet_lite1", path, 0, {})


@pytest.mark.parametrize("backbone", ["resnet1", "resnet50.foo"])
def test_where_weights_of_an_unknown_network_are_is_told_as_when_it_is_built(backbone):
    with pytest.raises(UserError) as asked:
        weights.find(backbone, "imagenet")
    with pytest.raises(UserError) as built:
        models.build(backbone, "imagenet")
    assert str(asked.value) == str(built.value) and "did you mean" in str(asked.value)
