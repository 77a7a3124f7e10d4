import shutil

import numpy as np
import pytest
from training.training_fixture import ARM, BACKBONE, CPU, QUICK, SIZE, disc_arm, same, train, weights

from nbhelpers.errors import UserError
from nbhelpers.networks import models, scoring
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs.tables import read_table
from nbhelpers.training import splits
from nbhelpers.training import train as training
from nbhelpers.training.schedule import Settings
from nbhelpers.training.train import best_epoch, place, roc_auc_score, train_arm


@pytest.fixture(scope="module")
def arm():
    return disc_arm(12)


@pytest.fixture(scope="module")
def trained(arm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(folder, *arm)


def test_a_trained_arm_tells_discs_from_noise_it_has_not_seen(tmp_path):
    table, images = disc_arm(32)
    result = train(tmp_path, table, images, Settings(epochs=8, batch_size=16))
    fresh_table, fresh = disc_arm(20, seed=99)
    scores = scoring.predict(result.model, fresh, Transform(SIZE), "cpu")
    diseased = (fresh_table["label"] == "pneumonia").to_numpy()
    # The chance that a diseased image scores above a normal one, counted pair by pair.
    assert (scores[diseased][:, None] > scores[~diseased][None]).mean() > 0.95


def test_all_files_of_an_arm_are_written_and_nothing_else(trained):
    folder, _ = trained
    expected = {"checkpoint.safetensors", "model.json", "history.csv", "split.csv", "validation.csv"}
    assert {path.name for path in folder.iterdir()} == expected
    history = read_table(folder / "history.csv", "history")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["val_auroc"].between(0, 1).all()


def test_the_validation_scores_are_those_of_the_saved_checkpoint_on_unseen_pairs(trained, arm):
    folder, _ = trained
    table, images = arm
    model, description = models.load_checkpoint(folder)
    validation, split = read_table(folder / "validation.csv"), read_table(folder / "split.csv")
    rows = table.index[table["image_id"].isin(validation["image_id"])]
    scores = scoring.predict(model, images[rows], description.transform, "cpu")
    np.testing.assert_array_equal(validation["image_id"], table["image_id"][rows])
    np.testing.assert_allclose(validation["score"], scores, atol=1e-12)
    assert set(split["pair_id"][split["split"] == "train"]).isdisjoint(validation["pair_id"])


def test_the_description_tells_how_it_was_made(trained):
    folder, result = trained
    _, description = models.load_checkpoint(folder)
    assert description == result.description
    assert (description.simulated, description.arm, description.backbone) == (True, ARM, BACKBONE)
    assert description.training["epochs"] == 3
    assert description.training["images"]["train"] + description.training["images"]["validation"] == 24


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(trained, arm, tmp_path):
    folder, _ = trained
    train(tmp_path / "again", *arm)
    assert same(weights(folder), weights(tmp_path / "again"))
    train(tmp_path / "other", *arm, seed=1)
    assert not same(weights(folder), weights(tmp_path / "other"))


def test_a_finished_arm_is_trained_again_when_asked(trained, arm):
    folder, _ = trained
    before = weights(folder)
    assert train(folder, *arm).resumed_from == 0
    assert same(before, weights(folder))


def test_training_stops_after_patience_and_keeps_the_best_epoch(arm, tmp_path, monkeypatch):
    aurocs = iter([0.6, 0.9, 0.8, 0.7, 0.95, 0.99])
    original = roc_auc_score

    def scripted(labels, scores):
        return next(aurocs) if len(labels) < 10 else original(labels, scores)

    monkeypatch.setattr(training, "roc_auc_score", scripted)
    result = train(tmp_path, *arm, Settings(epochs=6, batch_size=8, patience=2))
    assert result.history["epoch"].tolist() == [1, 2, 3, 4]
    assert result.description.training["best_epoch"] == 2


def test_an_epoch_of_few_images_repeats_them_and_counts_so_on_its_bar(arm, tmp_path, monkeypatch):
    shown, bars = [], []
    original, bar = training.training_loss, training.progress

    def counted(model, batch, *others):
        shown.append(len(batch))
        return original(model, batch, *others)

    def noted(**about):
        bars.append(about["total"])
        return bar(**about)

    monkeypatch.setattr(training, "training_loss", counted)
    monkeypatch.setattr(training, "progress", noted)
    settings = Settings(epochs=2, batch_size=8, images_per_epoch=50)
    made = train(tmp_path, *arm, settings).description.training
    trained_on = made["images"]["train"]
    assert trained_on < 25  # so that an epoch repeats them
    assert sum(shown) == 2 * 50 and bars == [len(shown)] == [2 * 6]
    assert made["images_per_epoch"] == 50


def test_the_best_epoch_is_the_highest_auroc_and_then_the_lowest_loss():
    rows = [(1, 0.8, 0.5), (2, 0.9, 0.4), (3, 0.90001, 0.3), (4, 0.85, 0.1)]
    history = [{"epoch": e, "val_auroc": a, "val_loss": v} for e, a, v in rows]
    assert best_epoch(history) == 3


def test_a_loss_that_is_not_finite_names_the_learning_rate(arm, tmp_path):
    with pytest.raises(UserError, match=r"learning_rate|not finite"):
        train(tmp_path, *arm, Settings(epochs=4, batch_size=8, learning_rate=1e30, warmup_epochs=0))


def test_a_split_with_a_pair_in_both_parts_is_not_trained_on(arm, tmp_path):
    table, images = arm
    split = splits.split_groups(table, 0.2, seed=0)
    first = split.index[split["split"] == "train"][0]
    split.loc[first, "split"] = "validation"
    with pytest.raises(UserError, match="both parts"):
        train_arm(
            tmp_path,
            split,
            images,
            arm=ARM,
            backbone=BACKBONE,
            init="random",
            transform=Transform(SIZE),
            settings=QUICK,
        )


def test_a_further_seed_has_a_folder_and_a_name_of_its_own_and_the_runs_seed_has_the_arms():
    assert place("raw", 3) == place("raw", 3, 3) == ("raw", 3, "raw")
    assert place("raw", 3, 4) == ("raw/seed_4", 4, "raw_seed_4")


def test_a_further_seed_sees_the_same_split_and_differs_in_nothing_but_its_seed(trained, arm, tmp_path):
    folder, first = trained
    table, images = arm
    split = splits.split_groups(table, 0.2, 0)
    arguments = {"arm": ARM, "backbone": BACKBONE, "init": "random", "transform": Transform(SIZE), "settings": QUICK}
    other = train_arm(tmp_path / "seed_4", split, images, **arguments, seed=4, device=CPU, simulated=True).description
    assert (tmp_path / "seed_4/split.csv").read_text() == (folder / "split.csv").read_text()
    assert not same(weights(folder), weights(tmp_path / "seed_4"))
    ours, theirs = ({k: v for k, v in d.training.items() if k != "best_epoch"} for d in (first.description, other))
    assert ours == theirs
    redrawn = train(tmp_path / "redrawn", table, images ^ 1)
    assert redrawn.description.training["data_sha256"] != ours["data_sha256"]


def test_a_network_is_not_trained_over_by_hand_with_another_seed(trained, arm, tmp_path):
    folder, _ = trained
    before = weights(folder)
    with pytest.raises(UserError, match=r"holds the network of seed 0.*training_seed = 4"):
        train(folder, *arm, seed=4)
    assert same(before, weights(folder))
    # What the pipeline does before it trains again.
    shutil.copytree(folder, tmp_path / "arm")
    (tmp_path / "arm/model.json").unlink()
    assert train(tmp_path / "arm", *arm, seed=4).description.seed == 4


def test_a_notebooks_parameters_name_their_folder_and_an_unknown_arm_is_told_first(tmp_path):
    given = {"arm": "raw", "seed": 3, "training_seed": None, "arms": {"raw": {}}}
    assert training.part(given) == "raw" and training.part(given | {"training_seed": 4}) == "raw/seed_4"
    training.check(given, tmp_path)
    with pytest.raises(UserError, match=r"unknown arm 'row'.*did you mean 'raw'"):
        training.check(given | {"arm": "row"}, tmp_path)
