import numpy as np
import pytest
import torch
from interpretability.interpretability_fixture import film_set, save_arm

from nbhelpers.errors import UserError
from nbhelpers.interpretability import features
from nbhelpers.networks import models, trained
from nbhelpers.networks.preprocessing import to_tensor


def test_the_network_without_fine_tuning_is_the_one_that_training_started_from(stage):
    networks = trained.load_networks(["one", "two"], stage)
    assert list(networks) == ["one", "two", trained.NOT_FINE_TUNED]
    start = models.build("resnet10t", "random", 1, seed=4)
    found = networks[trained.NOT_FINE_TUNED]
    assert not found.fine_tuned and not found.model.training
    assert all(
        torch.equal(a, b) for a, b in zip(start.state_dict().values(), found.model.state_dict().values(), strict=True)
    )
    assert not torch.equal(found.model.conv1[0].weight, networks["one"].model.conv1[0].weight)
    assert "random weights" in found.title


def test_a_checkpoint_of_the_users_own_stands_beside_the_arms(stage, tmp_path):
    save_arm(tmp_path, "mine", seed=9)
    stage.parameters["checkpoints"] = {"mine": str(tmp_path / "03_training" / "mine")}
    assert list(trained.load_networks(["one"], stage)) == ["one", "mine", trained.NOT_FINE_TUNED]
    assert list(trained.load_networks([], stage)) == ["mine", trained.NOT_FINE_TUNED]


def test_arms_of_different_size_bring_a_start_each(stage):
    save_arm(stage.run_folder, "large", seed=4, size=96)
    networks = trained.load_networks(["one", "large"], stage)
    assert [network.fine_tuned for network in networks.values()] == [True, True, False, False]


def test_checkpoints_read_are_noted_in_run_json(stage):
    trained.load_networks(["one"], stage)
    stage.close()
    text = (stage.folder / "run.json").read_text()
    assert "03_training/one/checkpoint.safetensors" in text and "03_training/one/model.json" in text


def test_an_arm_that_is_not_trained_is_one_clear_error(stage):
    with pytest.raises(UserError, match="not trained"):
        trained.load_networks(["three"], stage)


def test_an_arm_cannot_take_the_name_of_the_untrained_network(stage):
    with pytest.raises(UserError, match="kept for"):
        trained.load_networks([trained.NOT_FINE_TUNED], stage)


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
