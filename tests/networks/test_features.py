import numpy as np
import pytest

from nbhelpers.networks import features, models, scoring
from nbhelpers.networks.preprocessing import Transform

TRANSFORM = Transform(48)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 48, 48), dtype=np.uint8)


@pytest.fixture
def seen(monkeypatch):
    """How many images each call of the network saw."""
    counts, real = [], scoring.features
    monkeypatch.setattr(
        scoring, "features", lambda model, images, *rest: counts.append(len(images)) or real(model, images, *rest)
    )
    return counts


def test_features_are_the_networks_own_and_each_image_is_seen_once(tmp_path, pictures, seen):
    model = models.build("test_resnet", seed=1)
    wanted = scoring.features(model, pictures, TRANSFORM, "cpu")
    seen.clear()
    first = features.embed(model, pictures[:4], TRANSFORM, "cpu", cache=tmp_path)
    again = features.embed(model, pictures[::-1], TRANSFORM, "cpu", cache=tmp_path)
    assert seen == [4, 2]
    np.testing.assert_allclose(first, wanted[:4], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(again, wanted[::-1], rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(again[2:][::-1], first)


def test_another_network_transform_or_image_is_not_taken_for_this_one(tmp_path, pictures, seen):
    features.embed(models.build("test_resnet", seed=1), pictures, TRANSFORM, "cpu", cache=tmp_path)
    features.embed(models.build("test_resnet", seed=2), pictures, TRANSFORM, "cpu", cache=tmp_path)
    features.embed(models.build("test_resnet", seed=1), pictures, Transform(48, 1, "imagenet"), "cpu", cache=tmp_path)
    features.embed(models.build("test_resnet", seed=1), 255 - pictures, TRANSFORM, "cpu", cache=tmp_path)
    assert seen == [6] * 4


def test_probes_of_one_body_differ_by_what_they_pool_and_not_by_their_head(tmp_path, pictures, seen):
    def probe(pooling, seed):
        made = {"names": ["layer2"], "pooling": pooling, "sizes": [48]}
        model = models.build_probe("test_resnet", "random", 1, made, 48)
        model.head.weight.fill_(seed)
        return model

    for pooling, head in ((["mean"], 1), (["mean"], 2), (["spread"], 1)):
        features.embed(probe(pooling, head), pictures, TRANSFORM, "cpu", cache=tmp_path)
    assert seen == [6, 6]


def test_a_fitted_probe_scores_from_disk_as_the_network_itself_does(pictures, seen):
    made = {"names": ["layer2"], "pooling": ["mean", "spread"], "sizes": [48]}
    for slope in (1.0, -2.0):
        model = models.build_probe("test_resnet", "random", 1, made, 48).eval()
        d = model.num_features
        model.set_weights(np.full(d, 0.1), np.full(d, 2.0), np.linspace(-slope, slope, d), 0.3)
        found = features.predict(model, pictures, TRANSFORM, "cpu")
        np.testing.assert_allclose(found, scoring.predict(model, pictures, TRANSFORM, "cpu"), atol=1e-6)
    assert seen == [6]


def test_no_image_gives_no_row(tmp_path, pictures):
    found = features.embed(models.build("test_resnet"), pictures[:0], TRANSFORM, "cpu", cache=tmp_path)
    assert found.shape[0] == 0
