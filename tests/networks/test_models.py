import json

import pytest
import safetensors.torch
import torch
from torch.nn import functional

from nbhelpers.errors import UserError
from nbhelpers.networks import models
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform

BACKBONE = "test_resnet"


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


def test_a_checkpoint_is_rebuilt_without_the_init_that_it_was_trained_from(tmp_path):
    path = tmp_path / "published.safetensors"
    safetensors.torch.save_file(models.build(BACKBONE, seed=7).state_dict(), path)
    models.save_checkpoint(
        tmp_path / "arm", models.build(BACKBONE, str(path)), ModelDescription(BACKBONE, str(path), Transform(48))
    )
    path.unlink()
    models.load_checkpoint(tmp_path / "arm")


def test_other_weights_than_described_are_refused(tmp_path):
    models.save_checkpoint(tmp_path, models.build(BACKBONE), described())
    safetensors.torch.save_file(models.build(BACKBONE, seed=8).state_dict(), tmp_path / "checkpoint.safetensors")
    with pytest.raises(UserError, match=r"do not match model\.json"):
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
