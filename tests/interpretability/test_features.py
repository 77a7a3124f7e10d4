import numpy as np
import pytest
import torch
from interpretability.interpretability_fixture import film_set

from nbhelpers.errors import UserError
from nbhelpers.interpretability import features
from nbhelpers.networks import trained
from nbhelpers.networks.preprocessing import to_tensor


def test_features_are_what_the_classifier_is_given(stage, tmp_path):
    networks = trained.load_networks(["one"], stage)
    sample = features.take_films({"toy": film_set(tmp_path / "films")}, networks, 0)["toy"]
    network = networks["one"]
    found = features.extract(network, sample, "cpu")
    given = []
    handle = network.model.get_classifier().register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    with torch.no_grad():
        network.model(to_tensor(sample.images[64], network.description.transform))
    handle.remove()
    # The body may run in bfloat16: 8 significant bits.
    np.testing.assert_allclose(found, given[0].numpy(), atol=0.03 * float(given[0].abs().max()))


def test_every_network_is_clustered_on_every_set_with_every_seed(stage, tmp_path):
    networks = trained.load_networks(["one"], stage)
    samples = features.take_films({"toy": film_set(tmp_path / "films", n=16)}, networks, 0)
    found = features.cluster_all(networks, samples, [3, 5], "umap", "cpu")
    assert len(found.seeds) == 2 * 2 * 2 and len(found.embedding) == 2 * 16
    assert list(found.summary["arm"]) == ["one", trained.NOT_FINE_TUNED]
    assert set(found.summary["seeds"]) == {2} and set(found.summary["space"]) == {"umap"}
    umap = found.seeds[(found.seeds["space"] == "umap") & (found.seeds["arm"] == "one")]
    assert found.summary.set_index("arm").loc["one", "ari"] == pytest.approx(umap["ari"].mean())
    shown = found.embedding[found.embedding["arm"] == "one"]
    first = umap[umap["seed"] == 3].iloc[0]
    assert (shown["cluster"] == shown["label"]).mean() == pytest.approx(first["accuracy"])


@pytest.mark.parametrize(("seeds", "space"), [([], "umap"), ([0], "pixels")])
def test_no_seed_and_unknown_space_are_one_clear_error(seeds, space):
    with pytest.raises(UserError):
        features.cluster_all({}, {}, seeds, space)
