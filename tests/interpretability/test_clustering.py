import itertools
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from nbhelpers.errors import UserError
from nbhelpers.interpretability import clustering


def two_clouds(n=60, distance=8.0, d=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return rng.normal(size=(n, d)) + distance * labels[:, None], labels


def best_by_trying_all(labels, assignments):
    names, classes = np.unique(assignments), np.unique(labels)
    wide = list(classes) + [-1] * max(0, len(names) - len(classes))
    tried = (dict(zip(names, order, strict=True)) for order in itertools.permutations(wide, len(names)))
    return max(np.mean([m[a] == y for a, y in zip(assignments, labels, strict=True)]) for m in tried)


@pytest.mark.parametrize("seed", range(20))
def test_best_matching_equals_trying_every_matching(seed):
    rng = np.random.default_rng(seed)
    labels, assignments = rng.integers(0, 2, 31), rng.integers(0, 2 + seed % 3, 31)
    assert clustering.best_matching(labels, assignments)[1] == pytest.approx(best_by_trying_all(labels, assignments))


def test_best_matching_names_clusters_by_the_label_they_hold():
    matching, accuracy = clustering.best_matching([0, 0, 0, 1, 1], [7, 7, 3, 3, 3])
    assert matching == {7: 0, 3: 1} and accuracy == pytest.approx(0.8)


def test_two_far_clouds_are_found_whole_and_named_as_the_labels():
    features, labels = two_clouds()
    found = clustering.cluster(features, labels, seed=3)
    assert found.accuracy == 1 and found.ari == 1
    np.testing.assert_array_equal(found.assignments, labels)


def test_ari_and_accuracy_agree_with_the_assignments_that_are_given():
    features, labels = two_clouds(distance=1.0)
    found = clustering.cluster(features, labels, seed=0)
    assert found.ari == pytest.approx(adjusted_rand_score(labels, found.assignments))
    assert found.accuracy == pytest.approx(np.mean(found.assignments == labels))
    assert 0.5 <= found.accuracy < 1


def test_labels_unrelated_to_the_features_have_ari_near_zero():
    features, _ = two_clouds(n=400)
    labels = np.random.default_rng(1).integers(0, 2, 400)
    assert abs(clustering.cluster(features, labels).ari) < 0.03


def test_one_class_only_is_clustered_and_not_an_error():
    features, _ = two_clouds()
    found = clustering.cluster(features, np.ones(60), seed=0)
    assert found.ari == 0 and found.accuracy == pytest.approx(0.5)


def test_umap_is_the_same_for_the_same_seed_and_says_nothing():
    features, labels = two_clouds()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again = (clustering.embed_umap(features, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (60, 2) and first.dtype == np.float32
    assert not np.array_equal(first, clustering.embed_umap(features, seed=6))
    assert clustering.cluster(first, labels).accuracy == 1


def test_given_neighbours_change_nothing():
    features, _ = two_clouds()
    given = clustering.nearest_neighbours(features)
    np.testing.assert_array_equal(
        clustering.embed_umap(features, seed=1), clustering.embed_umap(features, seed=1, neighbours=given)
    )


def test_neighbours_are_the_nearest_by_brute_force():
    features, _ = two_clouds(n=12)
    indices, distances = clustering.nearest_neighbours(features, 4)
    apart = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.testing.assert_array_equal(indices, np.argsort(apart, axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(apart, axis=1)[:, :4], atol=1e-3)


@pytest.mark.parametrize("n", [4, 6, 19, 21])
def test_few_films_are_embedded_too(n):
    features, _ = two_clouds(n=n)
    assert np.isfinite(clustering.embed_umap(features, seed=0)).all()


def test_seeds_are_summarised_by_mean_and_spread():
    table = pd.DataFrame(
        {"arm": "a", "dataset": "d", "n": 10, "prevalence": 0.3, "space": ["umap", "umap", "features"]}
        | {"seed": [0, 1, 0], "accuracy": [0.6, 0.8, 0.1], "ari": [0.0, 0.5, 0.9]}
    )
    row = clustering.summarise_seeds(table, "umap").iloc[0]
    assert row["accuracy"] == pytest.approx(0.7) and row["accuracy_sd"] == pytest.approx(np.sqrt(0.02))
    assert (row["ari"], row["ari_low"], row["ari_high"]) == pytest.approx((0.25, 0.0, 0.5))
    assert row["seeds"] == 2 and row["majority"] == pytest.approx(0.7)


def test_several_seeds_give_a_row_for_each_space_and_seed():
    features, labels = two_clouds(n=40)
    table, shown = clustering.cluster_seeds(features, labels, seeds=[4, 9])
    assert sorted(zip(table["space"], table["seed"], strict=True)) == sorted(
        itertools.product(clustering.SPACES, [4, 9])
    )
    np.testing.assert_array_equal(shown["coordinates"], clustering.embed_umap(features, seed=4))
    np.testing.assert_array_equal(shown["features"], labels)


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), np.zeros(8), np.full((8, 2), np.nan)])
def test_features_that_cannot_be_clustered_are_one_clear_error(bad):
    with pytest.raises(UserError):
        clustering.cluster(bad, np.zeros(len(bad)))


def test_labels_that_do_not_fit_are_one_clear_error():
    with pytest.raises(UserError):
        clustering.cluster(np.zeros((8, 2)), np.arange(8))
    with pytest.raises(UserError):
        clustering.summarise_seeds(pd.DataFrame({"space": []}), "pixels")


def test_importing_clustering_does_not_import_umap():
    code = (
        "import sys, nbhelpers.interpretability.clustering; sys.exit('umap' in sys.modules or 'numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_spaces_stand_side_by_side():
    table = pd.DataFrame(
        {"arm": "a", "dataset": "d", "space": ["umap", "umap", "features"], "accuracy": [0.6, 0.8, 0.9]}
        | {"seed": [0, 1, 0], "ari": [0.2, 0.4, 0.5]}
    )
    row = clustering.compare_spaces(table).iloc[0]
    assert row["accuracy_umap"] == pytest.approx(0.7) and row["ari_features"] == pytest.approx(0.5)
