import importlib.util

import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional

from nbhelpers.errors import UserError
from nbhelpers.networks import models, weights

# Places of ImageNet's classes among its thousand, in the order of the challenge.
DAISY, BEE = 985, 309
BELL_COTE, BUILDINGS = 442, {"boathouse": 449, "castle": 483, "monastery": 663, "palace": 698}


def packaged(backbone):
    if importlib.util.find_spec(weights.PACKAGES[backbone][0]) is None:
        pytest.skip(f"the package with the weights of {backbone} is not installed")
    return weights.package_file(backbone)


def most_likely(backbone, picture, n):
    """The n classes that the package's weights find most likely in one of scikit-learn's pictures, at 224 pixels."""
    network = timm.create_model(backbone).eval()
    network.load_state_dict(weights.package_weights(backbone, packaged(backbone)))
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
    monkeypatch.setattr("nbhelpers.networks.models.imagenet_file", lambda name: None)
    monkeypatch.setattr("nbhelpers.networks.models.download", lambda *given: pytest.fail("a download was tried"))
    published = list(torch.load(path, weights_only=True).values())
    built = list(models.build(backbone, "imagenet", channels=3).state_dict().values())
    assert all(torch.equal(one, other) for one, other in zip(published[:-2], built[:-2], strict=True))
    assert built[-2].shape == (1, published[-2].shape[1])


def test_what_timm_downloaded_before_goes_before_the_package(monkeypatch, tmp_path):
    packaged("tf_efficientnet_lite0")
    monkeypatch.setattr(weights, "imagenet_file", lambda name: None)
    assert "package" in weights.origin("tf_efficientnet_lite0", "imagenet")
    monkeypatch.setattr(weights, "imagenet_file", lambda name: tmp_path)
    assert weights.origin("tf_efficientnet_lite0", "imagenet") == "ImageNet, timm's cache"
    own = tmp_path / "own.pth"
    own.write_bytes(b"")
    assert weights.origin("tf_efficientnet_lite0", str(own)) == "local file own.pth"


def test_weights_that_were_changed_are_refused(monkeypatch):
    packaged("tf_efficientnet_lite0")
    module, name, _ = weights.PACKAGES["tf_efficientnet_lite0"]
    monkeypatch.setitem(weights.PACKAGES, "tf_efficientnet_lite0", (module, name, "0" * 64))
    with pytest.raises(UserError, match="not those that were published"):
        weights.package_file("tf_efficientnet_lite0")


def test_a_file_whose_shapes_are_another_networks_is_refused():
    path = packaged("tf_efficientnet_lite0")
    with pytest.raises(UserError, match="do not fit"):
        weights.package_weights("tf_efficientnet_lite1", path)
