import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from training.training_fixture import BACKBONE, CPU, SIZE, disc_arm, disc_masks

from nbhelpers import runs
from nbhelpers.errors import UserError
from nbhelpers.metrics.overlap import dice
from nbhelpers.networks import features, lesions, models, scoring, trained, weights
from nbhelpers.networks.preprocessing import Transform, to_tensor
from nbhelpers.runs.tables import read_table
from nbhelpers.training import methods, schedule, splits
from nbhelpers.training.arm_images import Stored

PROBE = methods.ProbeSettings(["layer1", "layer2"], [SIZE], ["mean", "spread"])


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
    assert {path.name for path in tmp_path.iterdir()} - {".features"} == {
        "checkpoint.safetensors", "model.json", "history.csv", "split.csv", "validation.csv",
    }  # fmt: skip


def test_a_network_learns_to_draw_the_lesion_and_its_score_follows(tmp_path, arm):
    split, images = arm
    settings = schedule.Settings(epochs=8, batch_size=8, learning_rate=5e-3)
    made = learn(tmp_path, split, images, "lesions", settings=settings, masks=disc_masks(40))
    model, description = models.load_checkpoint(tmp_path)
    assert (description.backbone, description.init) == (lesions.NAME, "random")
    unseen = np.flatnonzero(split["split"] == "validation")
    scores = scoring.predict(model, images[unseen], description.transform, "cpu")
    np.testing.assert_allclose(scores, made.validation["score"], atol=1e-6)
    assert roc_auc_score(split["label"].iloc[unseen], scores) > 0.95
    ill = unseen[split["label"].to_numpy()[unseen] == 1]
    with torch.no_grad():
        drawn = model.forward_features(to_tensor(images[ill], description.transform))[0][:, 0] > 0
    assert np.mean([dice(a.numpy(), b > 0) for a, b in zip(drawn, disc_masks(40)[ill, 0], strict=True)]) > 0.6


@pytest.mark.parametrize("method", ["finetune", "lesions", "probe", "pairs"])
def test_an_arm_named_as_a_checkpoint_scores_there_as_here(tmp_path, arm, method):
    split, images = arm
    made = learn(tmp_path / "elsewhere", split, images, method, masks=disc_masks(40))
    unseen = images[(split["split"] == "validation").to_numpy()]
    folder = tmp_path / "run" / "04_external_validation"
    folder.mkdir(parents=True)
    parameters = {"device": "cpu", "checkpoints": {"mine": str(tmp_path / "elsewhere")}}
    stage = runs.Stage("04_external_validation", folder, folder.parent, parameters, "cpu")
    network = trained.load_arms([], stage)["mine"]
    found = features.predict(network.model, unseen, network.description.transform, "cpu")
    np.testing.assert_allclose(found, made.validation["score"], atol=1e-6)


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


def test_weights_over_the_spread_are_others_read_discs_too_and_are_told(tmp_path, arm):
    probe = methods.ProbeSettings(*(getattr(PROBE, name) for name in ("blocks", "sizes", "pooling")), "spread")
    usual, spread = (learn(tmp_path / str(n), *arm, "pairs", probe=one) for n, one in enumerate((PROBE, probe)))
    assert not np.allclose(usual.model.head.weight, spread.model.head.weight)
    assert roc_auc_score(spread.validation["label"], spread.validation["score"]) > 0.9
    assert "spread" in set(methods.summary(spread.description)["value"])


def test_the_ridge_that_is_best_on_validation_images_is_kept_and_the_strongest_of_equals(tmp_path, arm):
    history = learn(tmp_path, *arm, "probe").history
    kept = history[history["best"]].iloc[0]
    assert len(history[history["best"]]) == 1
    assert kept["val_auroc"] == history["val_auroc"].max()
    assert (history.loc[history["strength"] > kept["strength"], "val_auroc"] < kept["val_auroc"]).all()


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


@pytest.mark.parametrize("sizes", [(1, 1), (3, 3), (10, 1)], ids=["films alone", "patients of three", "of ten or one"])
def test_few_images_that_come_in_no_pairs_are_still_of_both_classes(sizes):
    groups = [(label, f"{label}_{number}") for label, size in enumerate(sizes) for number in range(12)]
    alone = pd.DataFrame(
        [(label, group) for label, group in groups for _ in range(sizes[label])], columns=["label", "group"]
    ).assign(split="train")
    whole = alone.groupby("group").size()
    for seed in range(40):
        for wanted in (2, 8, 30):
            rows = methods.training_rows(alone, {"images": str(wanted)}, seed)
            assert set(alone["label"].iloc[rows]) == {0, 1} and len(set(rows)) == len(rows)
            seen = alone.iloc[rows].groupby("group").size()
            assert seen.equals(whole[seen.index])
            assert len(rows) <= max(wanted, sum(sizes))
        again = methods.training_rows(alone, {"method": "probe"}, seed, resample=True)
        drawn = alone.iloc[again].groupby("label").size()
        assert drawn.tolist() == [12 * size for size in sizes] and len(set(again)) < len(again)


@pytest.mark.parametrize("method", list(methods.METHODS))
def test_two_images_are_trained_on_or_refused_in_words(tmp_path, arm, method):
    few = {"name": "discs", "source": "folder", "crop": "none", "method": method, "images": "2"}
    if method == "pairs":
        with pytest.raises(UserError, match="one pair is too few"):
            learn(tmp_path, *arm, method, arm=few)
        return
    made = learn(tmp_path, *arm, method, arm=few, masks=disc_masks(40))
    assert made.description.training["images"]["train"] == 2


@pytest.mark.parametrize("method", ["finetune", "probe"])
def test_weights_that_are_downloaded_now_are_told_so_though_they_lie_in_the_cache_afterwards(
    tmp_path, arm, method, monkeypatch
):
    build = models.build

    def downloading(*given, **named):
        monkeypatch.setattr(weights, "find", lambda *_: ("ImageNet, timm's cache", None))
        return build(*given, **named)

    monkeypatch.setattr(weights, "find", lambda *_: ("ImageNet, timm's download", None))
    monkeypatch.setattr(models, "build", downloading)
    assert learn(tmp_path, *arm, method).description.init_origin == "ImageNet, timm's download"


def test_an_arm_without_a_method_is_fine_tuned(tmp_path, arm):
    split, images = arm
    made = learn(tmp_path, split, images, "finetune", arm={"name": "discs", "source": "folder", "crop": "none"})
    assert made.description.arm["method"] == "finetune"
    assert made.description.training["epochs"] == 1


def test_an_arm_of_few_images_sees_as_many_in_whole_pairs_and_each_seed_others(tmp_path, arm):
    seen = []
    for seed in (0, 1):
        few = {"name": "discs", "source": "folder", "crop": "none", "method": "pairs", "images": "20"}
        made = learn(tmp_path / str(seed), *arm, "pairs", arm=few, seed=seed, resample=seed > 0)
        split = read_table(tmp_path / str(seed) / "split.csv")
        training = split[split["split"] == "train"]
        assert made.description.training["images"]["train"] == len(training) == 20
        assert (training.groupby("group").size() == 2).all()
        assert len(split) - len(training) == made.description.training["images"]["validation"] == 20
        seen.append(set(training["group"]))
    assert seen[0] != seen[1]


def test_of_images_on_disk_none_but_those_that_an_arm_sees_are_read(tmp_path, arm):
    split, images = arm
    few = {"name": "discs", "source": "folder", "crop": "none", "images": "20"}
    settings = schedule.Settings(epochs=1, batch_size=8)
    for method in methods.METHODS:
        masks, asked = disc_masks(40), []

        def reader(array, asked=asked):
            return Stored(len(array), lambda rows: asked.append(len(rows)) or array[rows])

        how = {"arm": few | {"method": method}, "settings": settings, "device": CPU}
        stored = learn(tmp_path / method, split, reader(images), method, masks=reader(masks), **how)
        plain = learn(tmp_path / f"{method}_plain", split, images, method, masks=masks, **how)
        assert set(asked) == {40} and len(asked) == (2 if method == "lesions" else 1)
        np.testing.assert_array_equal(stored.validation["score"], plain.validation["score"])
        assert stored.description.training["data_sha256"] == plain.description.training["data_sha256"]


def test_an_arm_of_more_images_than_there_are_sees_all_and_its_further_seeds_draw_from_them(tmp_path, arm):
    many = {"name": "discs", "source": "folder", "crop": "none", "method": "probe", "images": "5000"}
    made = [learn(tmp_path / str(seed), *arm, "probe", arm=many, seed=seed, resample=seed > 0) for seed in (0, 1)]
    everything = (arm[0]["split"] == "train").sum()
    assert made[0].description.training["images"]["train"] == everything
    assert 0.4 * everything < made[1].description.training["images"]["train"] < 0.9 * everything


def test_sources_that_drew_one_design_are_paired_each_within_itself(tmp_path, arm):
    table, images = disc_arm(20)
    both = pd.concat(
        [table.assign(source=name, image_id=name + "/" + table["image_id"]) for name in ("one", "two")],
        ignore_index=True,
    )
    split = splits.split_groups(both, 0.25, 0)
    assert (split.groupby("group").size() == 4).all()
    # The second source's films are twice as bright: a difference across sources would drown the discs.
    mixed = np.concatenate([images // 2, 255 - (255 - images) // 2])
    made = learn(tmp_path, split, mixed, "pairs")
    alone = learn(tmp_path / "alone", splits.split_groups(table, 0.25, 0), images // 2, "pairs")
    assert made.description.val_auroc > alone.description.val_auroc - 0.1
    paired = split.iloc[splits.pairs(split).ravel()]
    assert (paired["source"].to_numpy()[::2] == paired["source"].to_numpy()[1::2]).all()
