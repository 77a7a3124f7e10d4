import numpy as np
import torch
from sklearn.metrics import log_loss
from training.training_fixture import CPU, SIZE, disc_masks

from nbhelpers.networks import lesions, models
from nbhelpers.training import losses


def test_labels_move_slope_and_intercept_and_nothing_that_is_drawn():
    images = torch.randn(8, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    masks, labels = torch.from_numpy(disc_masks(4)).float() / 255, torch.tensor([0.0, 1.0, 1.0, 1.0] * 2)
    gradients = []
    for target in (labels, 1 - labels):
        model = models.build(lesions.NAME, seed=1)
        logits, loss, _ = losses.training_loss(model, images, target, masks, CPU)
        loss.backward()
        torch.testing.assert_close(logits, model(images)[:, 0], atol=0.05, rtol=0)
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    for name, one in gradients[0].items():
        assert torch.equal(one, gradients[1][name]) != name.startswith("head"), name
        assert one.abs().max() > 0, name


def test_the_balanced_log_loss_is_the_package_s_with_balanced_weights():
    rng = np.random.default_rng(0)
    labels, scores = np.repeat([0, 1], [70, 30]), rng.uniform(0.01, 0.99, 100)
    weights = np.where(labels == 1, 1 / 30, 1 / 70)
    np.testing.assert_allclose(
        losses.balanced_log_loss(labels, scores), log_loss(labels, scores, sample_weight=weights)
    )
