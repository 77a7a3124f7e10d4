"""Networks from their folders: arms, further seeds, checkpoints of the user's own, and what training started from."""

import json

import pytest
import torch
from interpretability.interpretability_fixture import save_arm

from nbhelpers import runs
from nbhelpers.errors import UserError
from nbhelpers.networks import models, trained


@pytest.fixture
def stage(tmp_path):
    run = tmp_path / "toy"
    for arm in ("one", "two"):
        save_arm(run, arm, seed=4)
    folder = run / "05_interpretability"
    folder.mkdir()
    return runs.Stage("05_interpretability", folder, run, {"seed": 0, "device": "cpu"}, "cpu")


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
    with pytest.raises(UserError, match="reserved for"):
        trained.load_networks([trained.NOT_FINE_TUNED], stage)


def test_the_table_tells_what_each_network_was_trained_on_and_started_from(stage):
    table = trained.network_table(trained.load_networks(["one"], stage)).set_index("network")
    assert table["trained_on"].tolist() == ["simulator", "nothing but its start"]
    assert set(table["started_from"]) == {"random weights"} and set(table["size"]) == {64}


def save_seed(stage, seed, **changes):
    """A further training of arm `one`, or of something a little different."""
    save_arm(stage.run_folder, f"one/seed_{seed}", seed)
    path = stage.run_folder / "03_training/one" / f"seed_{seed}" / "model.json"
    made = json.loads(path.read_text())
    made["arm"]["name"] = "one"
    path.write_text(json.dumps(made | changes))


def test_further_seeds_are_the_networks_that_follow_the_arms_own(stage):
    for seed in (5, 6, 9):
        save_seed(stage, seed, training={"best_epoch": seed}, val_auroc=seed / 10)
    network = trained.load_arms(["one"], stage)["one"]
    found = trained.load_seeds(network, 2, stage)
    assert {seed: (other.name, other.description.seed) for seed, other in found.items()} == {
        5: ("one", 5),
        6: ("one", 6),
    }
    assert not torch.equal(found[5].model.conv1[0].weight, network.model.conv1[0].weight)
    assert trained.load_seeds(network, 0, stage) == {}
    stage.close()
    assert "03_training/one/seed_6/checkpoint.safetensors" in (stage.folder / "run.json").read_text()


def test_a_further_seed_that_is_not_trained_is_named_with_what_trains_it(stage):
    save_seed(stage, 5)
    with pytest.raises(UserError, match=r"seed 6 of arm 'one' is not trained.*training_seed = 6"):
        trained.load_seeds(trained.load_arms(["one"], stage)["one"], 2, stage)


@pytest.mark.parametrize(
    "change", [{"training": {"epochs": 9}}, {"simulated": True}, {"init": "imagenet"}, {"arm": {"name": "two"}}]
)
def test_a_further_seed_that_differs_in_more_than_its_seed_is_refused(stage, change):
    save_seed(stage, 5, **change)
    with pytest.raises(UserError, match="to another training"):
        trained.load_seeds(trained.load_arms(["one"], stage)["one"], 1, stage)


def test_all_networks_that_are_missing_are_told_at_once(stage):
    wanted = {"arms": {"one": {}, "three": {}}, "checkpoints": {"mine": "nowhere"}, "seed": 4}
    with pytest.raises(UserError, match=r"(?s)^2 faults.*arm 'three' is not trained.*checkpoint 'mine' lacks"):
        trained.check(wanted, stage.run_folder)
    with pytest.raises(UserError, match=r"seed 5 of arm 'one' is not trained"):
        trained.check({"arms": {"one": {}}, "seed": 4, "extra_seeds": 1}, stage.run_folder)
    trained.check({"arms": {"one": {}, "two": {}}, "seed": 4}, stage.run_folder)
