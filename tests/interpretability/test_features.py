import numpy as np
import pandas as pd
import pytest
import torch
from interpretability.interpretability_fixture import film_set, save_arm

from nbhelpers import runs
from nbhelpers.errors import UserError
from nbhelpers.interpretability import features
from nbhelpers.networks import trained
from nbhelpers.networks.preprocessing import to_tensor


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    run = tmp_path / "outputs" / "toy"
    for arm, size in (("one", 64), ("two", 64)):
        save_arm(run, arm, seed=4, size=size)
    folder = run / "05_interpretability"
    folder.mkdir()
    return runs.Stage("05_interpretability", folder, run, {"seed": 0, "device": "cpu"}, "cpu")


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


def test_a_sample_is_drawn_blind_to_labels_and_alike_for_all_sizes(stage, tmp_path):
    save_arm(stage.run_folder, "large", seed=4, size=96)
    films = film_set(tmp_path / "films", n=30)
    one = features.take_films({"toy": films}, trained.load_networks(["one"], stage), 10, seed=2)["toy"]
    both = features.take_films({"toy": films}, trained.load_networks(["one", "large"], stage), 10, seed=2)["toy"]
    pd.testing.assert_frame_equal(one.films, both.films)
    assert one.images[64].shape == (10, 64, 64) and both.images[96].shape == (10, 96, 96)
    np.testing.assert_array_equal(one.images[64], both.images[64])
    assert list(one.films["image_id"]) == sorted(one.films["image_id"], key=lambda name: int(name[1:]))
