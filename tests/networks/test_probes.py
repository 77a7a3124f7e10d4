import numpy as np
import pytest
import timm
import torch
from scipy import stats
from sklearn.linear_model import Ridge

from nbhelpers.errors import UserError
from nbhelpers.networks import models, probes, scoring
from nbhelpers.networks.models import ModelDescription
from nbhelpers.networks.preprocessing import Transform

MADE = {"names": ["layer2", "layer3"], "pooling": list(probes.POOLING), "sizes": [64, 96]}


def probe(**changes):
    return models.build_probe("test_resnet", "random", 1, {**MADE, **changes}, 96, seed=3).eval()


def fitted(**changes):
    """A probe whose every number is drawn, so that none can be left out unseen."""
    model, rng = probe(**changes), np.random.default_rng(1)
    d = model.num_features
    model.set_weights(rng.normal(size=d), rng.uniform(0.5, 2, d), rng.normal(size=d), 0.7)
    return model


def films(n=3, size=96):
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(2))


def test_the_features_are_the_blocks_own_maps_pooled_over_their_places():
    whole = models.build("test_resnet", "random", 1, seed=3).eval()
    model, images = probe(sizes=[96], names=["layer2"]), films()
    kept = {}
    whole.layer2.register_forward_hook(lambda module, inputs, output: kept.update(map=output))
    with torch.no_grad():
        whole(images)
        found = model.forward_head(model.forward_features(images), pre_logits=True)
    places = kept["map"].flatten(2)
    wanted = torch.cat([places.mean(2), places.std(2, correction=0)], dim=1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_what_runs_after_the_last_block_is_not_kept():
    model = probe(names=["layer1"])
    assert not any("layer3" in name or name.endswith("fc.weight") for name in model.state_dict())
    assert sum(v.numel() for v in model.backbone.parameters()) < sum(
        v.numel() for v in timm.create_model("test_resnet", in_chans=1).parameters()
    )


@pytest.mark.parametrize("pooling", [["mean"], ["spread"], list(probes.POOLING)])
def test_the_activation_map_sums_to_the_logit(pooling):
    model, images = fitted(pooling=pooling), films()
    with torch.no_grad():
        torch.testing.assert_close(model.activation_map(images).sum((1, 2)), model(images)[:, 0], atol=1e-3, rtol=1e-4)


def test_a_place_that_alone_differs_has_all_of_the_difference():
    # On the maps themselves: a mean moves by what the changed place adds, and no other place's share does.
    maps = torch.rand(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    changed = maps.clone()
    changed[0, :, 2, 3] += 2
    moved = probes._shares(changed, "mean") - probes._shares(maps, "mean")
    assert (moved[0, :, 2, 3] > 0).all()
    assert moved.abs().sum() == moved[0, :, 2, 3].sum()


def test_a_probe_is_a_checkpoint_like_any_other(tmp_path):
    model = fitted()
    transform = Transform(96)
    written = models.save_checkpoint(
        tmp_path, model, ModelDescription("test_resnet", "random", transform, seed=3, probe=MADE)
    )
    loaded, description = models.load_checkpoint(tmp_path)
    assert description == written
    pictures = np.random.default_rng(0).integers(0, 256, (5, 96, 96), dtype=np.uint8)
    np.testing.assert_array_equal(
        scoring.predict(model, pictures, transform, "cpu"), scoring.predict(loaded, pictures, transform, "cpu")
    )


def test_training_mode_leaves_the_frozen_network_as_it_was():
    model, images = fitted(), films()
    with torch.no_grad():
        before = model(images)
        model.train()
        torch.testing.assert_close(model(images), before)


def test_the_ridge_is_scikit_learns_with_weighted_classes():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(60, 7)), np.r_[np.zeros(40, int), np.ones(20, int)]
    values[labels == 1] += 0.5
    share = np.where(labels == 1, 0.5 / 20, 0.5 / 40)
    for strength, found in zip(probes.STRENGTHS, probes.ridge_weights(values, labels), strict=True):
        wanted = Ridge(alpha=strength, solver="cholesky").fit(values, 2 * labels - 1, sample_weight=share)
        np.testing.assert_allclose(found, wanted.coef_, rtol=1e-6)


def test_pair_weights_are_fishers_direction_within_pairs_and_zero_where_nothing_varies():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(2000, 3))
    mix = np.array([[0, 0, 0], [0, 1.0, 0.6], [0, 0.0, 0.8]])
    pneumonia = normal + [0.0, 0.4, -0.5] + rng.normal(size=(2000, 3)) @ mix
    found = probes.pair_weights(normal, pneumonia)
    # Covariance of the last two: 1, 1 and 0.6 between, of which half is kept.
    wanted = np.linalg.inv([[1, 0.3], [0.3, 1]]) @ [0.4, -0.5]
    assert found[0] == 0
    np.testing.assert_allclose(found[1:], wanted, atol=0.07)


def test_pair_weights_over_their_spread_are_the_paired_t_statistic_and_zero_where_nothing_varies():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(50, 4))
    pneumonia = normal + rng.normal([0.5, -1, 0, 0], [1, 2, 3, 0], size=(50, 4))
    found = probes.pair_weights(normal, pneumonia, "spread")
    wanted = stats.ttest_rel(pneumonia[:, :3], normal[:, :3]).statistic / np.sqrt(49)
    np.testing.assert_allclose(found, [*wanted, 0], rtol=1e-4)


def test_pair_weights_can_be_had_from_fewer_pairs_than_features():
    rng = np.random.default_rng(0)
    normal, away = rng.normal(size=(4, 30)), np.eye(30)[3] * 20
    found = probes.pair_weights(normal, normal + away + rng.normal(size=(4, 30)))
    assert np.isfinite(found).all()
    assert found @ away > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["layer9"]}, "layer9: not all are blocks.*layer3"),
        ({"names": []}, "at least one"),
        ({"pooling": ["median"]}, "pooling is of mean, spread"),
        ({"sizes": []}, "at least one"),
    ],
)
def test_a_probe_that_cannot_be_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        probe(**changes)


def test_a_network_of_tokens_has_no_map_to_probe():
    with pytest.raises(UserError, match="no square feature map"):
        models.build_probe("test_vit", "random", 1, {**MADE, "names": ["blocks.0"], "sizes": [160]}, 160)
