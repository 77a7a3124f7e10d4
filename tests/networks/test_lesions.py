import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from nbhelpers.errors import UserError
from nbhelpers.networks import lesions, models, scoring
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform


def network(seed=3):
    return models.build(lesions.NAME, seed=seed).eval()


def films(n=3, size=64):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("lungs", [0.6, 0.031, 0.019, 0.0])
def test_the_score_is_read_from_the_highest_hundredth_of_lesion_pixels_in_the_lungs(lungs):
    rng = np.random.default_rng(0)
    lesion, shown = rng.normal(size=(40, 50)), rng.normal(size=(40, 50))
    shown -= np.quantile(shown, 1 - lungs) if lungs else shown.max() + 1
    inside = lesion[shown > 0] if (shown > 0).mean() >= 0.02 else lesion.ravel()  # hardly any lung: the whole film
    wanted = np.sort(inside)[::-1][: int(np.ceil(len(inside) / 100))].mean()
    found = lesions.read(torch.from_numpy(np.stack([lesion, shown]))[None])
    np.testing.assert_allclose(found, [wanted], rtol=1e-6)


def test_the_logit_is_a_line_of_what_is_read_and_no_place_outside_the_lungs_is_on_the_map():
    model = network()
    with torch.no_grad():
        model.head.weight.fill_(1.7)
        model.head.bias.fill_(-0.4)
        drawn = model.forward_features(films())[0]
        np.testing.assert_allclose(model(films())[:, 0], 1.7 * lesions.read(drawn) - 0.4, rtol=1e-5)
        shown, inside = model.activation_map(films()), drawn[:, 1] > 0
        assert 0.1 < inside.float().mean() < 0.9
        assert (shown[~inside] == 0).all() and torch.equal(shown[inside], drawn[:, 0][inside])
        features = model.forward_head(model.forward_features(films()), pre_logits=True)
    assert features.shape == (3, model.num_features)


def test_the_soft_dice_of_the_loss_is_the_package_s():
    drawn, masks = torch.randn(4, 2, 9, 9), (torch.rand(4, 2, 9, 9) > 0.6).float()
    # The package counts in halves: (overlap + smooth) / ((drawn + mask) / 2 + smooth).
    dice = smp.losses.DiceLoss(mode="multilabel", smooth=0.5)(drawn, masks)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(drawn, masks)
    torch.testing.assert_close(lesions.drawing_loss(drawn, masks), entropy + lesions.DICE * dice)


def test_its_weights_are_of_the_seed_and_come_back_from_a_checkpoint(tmp_path):
    model, transform = network(), Transform(64)
    assert torch.equal(model.body.last.weight, network().body.last.weight)
    assert not torch.equal(model.body.last.weight, network(4).body.last.weight)
    models.save_checkpoint(tmp_path, model, ModelDescription(lesions.NAME, "random", transform, 3))
    back, _ = models.load_checkpoint(tmp_path)
    images = np.random.default_rng(1).integers(0, 255, (5, 64, 64), dtype=np.uint8)
    scores = [scoring.predict(one, images, transform, "cpu") for one in (model, back)]
    np.testing.assert_array_equal(*scores)


def test_a_size_that_it_does_not_take_is_told():
    with pytest.raises(UserError, match="does not take 97 x 97 pixels"):
        models.check_fits(network(), Transform(97), lesions.NAME)


def test_it_is_no_backbone_that_a_user_may_name():
    with pytest.raises(UserError, match="unknown backbone 'small_unet'"):
        models.check_backbone(lesions.NAME)
