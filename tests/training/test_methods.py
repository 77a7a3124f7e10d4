import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from training.training_fixture import BACKBONE, SIZE, disc_arm

from nbhelpers.errors import UserError
from nbhelpers.networks import features, models, scoring
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.training import methods, schedule, splits

PROBE = methods.ProbeSettings(["layer1", "layer2"], [SIZE], ["mean", "max", "spread"])


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "default_cache", lambda: tmp_path / "features")


@pytest.fixture(scope="module")
def arm():
    table, images = disc_arm(40)
    return splits.split_groups(table, 0.25, 0), images


def learn(folder, split, images, method, **changes):
    given = {
        "arm": {"name": "discs", "source": "folder", "crop": "none", "method": method},
        "backbone": BACKBONE,
        "init": "random",
        "transform": Transform(SIZE),
        "settings": schedule.Settings(epochs=1, batch_size=8),
        "probe": PROBE,
        "device": "cpu",
    }
    return methods.learn(folder, split, images, **(given | changes))


@pytest.mark.parametrize("method", ["probe", "pairs"])
def test_a_probe_tells_discs_from_noise_and_is_saved_as_any_arm(tmp_path, arm, method):
    split, images = arm
    made = learn(tmp_path, split, images, method)
    model, description = models.load_checkpoint(tmp_path)
    unseen = (split["split"] == "validation").to_numpy()
    scores = scoring.predict(model, images[unseen], description.transform, "cpu")
    np.testing.assert_allclose(scores, made.validation["score"], atol=1e-6)
    assert roc_auc_score(split["label"][unseen], scores) > 0.9
    assert description.arm["method"] == method
    assert {path.name for path in tmp_path.iterdir()} - {"features"} == {
        "checkpoint.safetensors", "model.json", "history.csv", "split.csv", "validation.csv",
    }  # fmt: skip


@pytest.mark.parametrize("method", ["probe", "pairs"])
def test_the_network_under_a_probe_stays_as_it_was(tmp_path, arm, method):
    made = learn(tmp_path, *arm, method)
    start = models.rebuild(made.description).backbone.state_dict()
    for name, value in made.model.backbone.state_dict().items():
        np.testing.assert_array_equal(value, start[name], err_msg=name)


def test_validation_images_do_not_move_the_weights_of_pairs(tmp_path, arm):
    split, images = arm
    changed = images.copy()
    unseen = (split["split"] == "validation").to_numpy()
    changed[unseen] = changed[unseen][::-1]
    first, other = (learn(tmp_path / name, split, these, "pairs") for name, these in (("a", images), ("b", changed)))
    assert first.description.weights_sha256 == other.description.weights_sha256


def test_the_strongest_ridge_within_one_standard_error_of_the_best_is_kept(tmp_path, arm):
    history = learn(tmp_path, *arm, "probe").history
    kept = history[history["best"]].iloc[0]
    assert len(history[history["best"]]) == 1
    assert kept["strength"] >= history.loc[history["val_auroc"].idxmax(), "strength"]
    assert (history.loc[history["strength"] > kept["strength"], "val_auroc"] < history["val_auroc"].max()).all()


def test_a_further_seed_draws_its_pairs_anew_and_the_same_seed_the_same(tmp_path, arm):
    hashes = [
        learn(tmp_path / str(number), *arm, "pairs", seed=seed, resample=resample).model.head.weight.tolist()
        for number, (seed, resample) in enumerate([(0, False), (0, False), (1, True), (1, True), (2, True)])
    ]
    assert hashes[0] == hashes[1]
    assert hashes[2] == hashes[3]
    assert hashes[0] != hashes[2] != hashes[4]


def test_a_source_without_pairs_is_told_so(tmp_path, arm):
    split, images = arm
    alone = split.assign(group=[f"image {name}" for name in split["image_id"]], pair_id=None)
    with pytest.raises(UserError, match=r"no pairs.*use method: probe"):
        learn(tmp_path, alone, images, "pairs")


def test_an_arm_without_a_method_is_fine_tuned(tmp_path, arm):
    split, images = arm
    made = learn(tmp_path, split, images, "finetune", arm={"name": "discs", "source": "folder", "crop": "none"})
    assert made.description.arm["method"] == "finetune"
    assert made.description.training["epochs"] == 1
