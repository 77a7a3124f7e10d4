import numpy as np
import pandas as pd
import pytest
import safetensors.torch
from training.training_fixture import BACKBONE, SIZE, disc_arm

from nbhelpers.errors import UserError
from nbhelpers.images.files import write_png
from nbhelpers.networks import models, scoring
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.runs.tables import read_table, write_table
from nbhelpers.training import splits
from nbhelpers.training import train as training
from nbhelpers.training.resume import RESUME_FILE
from nbhelpers.training.schedule import Settings, epoch_batches, learning_rate_at
from nbhelpers.training.train import _train_epoch, balanced_log_loss, best_epoch, load_arm, roc_auc_score, train_arm

ARM = {"name": "cropped", "source": "simulator", "crop": "content"}
ARMS = {"cropped": {"source": "simulator", "crop": "content"}}
QUICK = Settings(epochs=3, batch_size=8)


def train(folder, table, images, settings=QUICK, **changes):
    arguments = {
        "arm": ARM,
        "backbone": BACKBONE,
        "init": "random",
        "transform": Transform(SIZE),
        "settings": settings,
        "device": "cpu",
        "simulated": True,
    }
    arguments |= changes
    split = splits.split_groups(table, 0.2, arguments.get("seed", 0))
    return train_arm(folder, split, images, **arguments)


def weights(folder):
    return safetensors.torch.load_file(folder / "checkpoint.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


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
    scores = scoring.predict(model, images[rows], description.transform, "cpu", QUICK.batch_size)
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


class _KilledError(Exception):
    pass


def interrupt_in_epoch(monkeypatch, number):
    original = _train_epoch

    def interrupted(state, *rest):
        if len(state.history) + 1 == number:
            raise _KilledError
        return original(state, *rest)

    monkeypatch.setattr(training, "_train_epoch", interrupted)


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(trained, arm, tmp_path, monkeypatch, epoch):
    folder, whole = trained
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        interrupt_in_epoch(patch, epoch)
        train(tmp_path, *arm)
    assert (tmp_path / RESUME_FILE).is_file()
    resumed = train(tmp_path, *arm)
    assert resumed.resumed_from == epoch - 1
    assert same(weights(folder), weights(tmp_path))
    pd.testing.assert_frame_equal(resumed.history, whole.history)
    assert not (tmp_path / RESUME_FILE).exists()


def test_a_kill_before_the_checkpoint_is_written_costs_no_epoch(trained, arm, tmp_path, monkeypatch):
    folder, _ = trained
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        patch.setattr(models, "save_checkpoint", lambda *_: (_ for _ in ()).throw(_KilledError))
        train(tmp_path, *arm)
    assert train(tmp_path, *arm).resumed_from == 3
    assert same(weights(folder), weights(tmp_path))


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"settings": Settings(epochs=3, batch_size=8, learning_rate=2e-3)}, {"images": 1}]
)
def test_a_changed_training_starts_afresh(arm, tmp_path, monkeypatch, changes):
    table, images = arm
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        interrupt_in_epoch(patch, 2)
        train(tmp_path, table, images)
    if changes.pop("images", None):
        images = images ^ 1
    assert train(tmp_path, table, images, **changes).resumed_from == 0


def test_a_broken_resume_file_starts_afresh(arm, tmp_path):
    (tmp_path / RESUME_FILE).write_bytes(b"half a file")
    assert train(tmp_path, *arm, Settings(epochs=1, batch_size=8)).resumed_from == 0


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


def test_the_best_epoch_is_the_highest_auroc_and_then_the_lowest_loss():
    rows = [(1, 0.8, 0.5), (2, 0.9, 0.4), (3, 0.90001, 0.3), (4, 0.85, 0.1)]
    history = [{"epoch": e, "val_auroc": a, "val_loss": v} for e, a, v in rows]
    assert best_epoch(history) == 3


def test_the_learning_rate_rises_then_falls_to_a_hundredth():
    settings = Settings(epochs=10, warmup_epochs=2, learning_rate=1.0)
    rates = [learning_rate_at(t / 10, settings) for t in range(101)]
    assert np.all(np.diff(rates[:21]) > 0)
    assert np.all(np.diff(rates[20:]) < 0)
    assert rates[20] == pytest.approx(1)
    assert rates[60] == pytest.approx(0.505)
    assert rates[100] == pytest.approx(0.01)


def test_an_epoch_shows_every_couple_once_in_whole_pairs():
    pairs = np.arange(46).reshape(-1, 2)
    batches = epoch_batches(pairs, 8, seed=0, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(46))
    assert {len(batch) for batch in batches} <= {6, 8}
    assert all((batch[::2] + 1 == batch[1::2]).all() for batch in batches)
    assert not np.array_equal(np.concatenate(batches), np.concatenate(epoch_batches(pairs, 8, 0, 2)))


def test_the_balanced_loss_equals_scikit_learn_with_class_weights():
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(0)
    labels, scores = (rng.random(50) < 0.2).astype(np.int64), rng.uniform(0.01, 0.99, 50)
    share = np.where(labels == 1, 1 / labels.sum(), 1 / (1 - labels).sum())
    assert balanced_log_loss(labels, scores) == pytest.approx(log_loss(labels, scores, sample_weight=share))


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


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0}, {"augmentation": "film"}, {"patience": -1}]
)
def test_settings_that_cannot_be_are_named(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Settings(**wrong)


def cropped_run(folder, table, images, status="ok"):
    stage = folder / "02_cropping" / "simulator"
    for name, image in zip(table["image_id"], images, strict=True):
        write_png(stage / "content" / f"{name}.png", image)
    rows = table.assign(
        path="content/" + table["image_id"] + ".png",
        source="simulator",
        simulated=True,
        prompt="",
        model="",
        sha256="",
        width=SIZE,
        height=SIZE,
        status=status,
        reason="" if status == "ok" else "too_small",
        crop="content",
        left=0,
        top=0,
        right=SIZE,
        bottom=SIZE,
    )
    write_table(pd.concat([rows, rows.assign(crop="none", path="none/x.png")]), stage / "images.csv", "cropped")


def test_an_arm_is_read_by_its_crop_and_in_the_order_of_its_table(arm, tmp_path):
    table, images = arm
    cropped_run(tmp_path, table, images)
    kept, read = load_arm(tmp_path, ARMS, "cropped", SIZE)
    assert kept["image_id"].tolist() == table["image_id"].tolist()
    assert np.array_equal(read, images)


def test_an_arm_of_which_all_is_excluded_says_why(arm, tmp_path):
    cropped_run(tmp_path, *arm, status="excluded")
    with pytest.raises(UserError, match=r"all 24 images were left out: too_small \(24\)"):
        load_arm(tmp_path, ARMS, "cropped", SIZE)


@pytest.mark.parametrize(
    ("arms", "name", "message"),
    [
        (ARMS, "croped", "did you mean 'cropped'"),
        ({"a": {"source": "simulator", "crop": "margins"}}, "a", "cropped as 'margins'"),
        ({"a": {"source": "folder", "crop": "none"}}, "a", "not found"),
    ],
)
def test_an_arm_that_is_not_there_is_one_clear_error(arm, tmp_path, arms, name, message):
    cropped_run(tmp_path, *arm)
    with pytest.raises(UserError, match=message):
        load_arm(tmp_path, arms, name, SIZE)
