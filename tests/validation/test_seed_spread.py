"""Further seeds of an arm: trained once, scored on the same films, their spread beside the sampling interval."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
from reporting import run_fixture
from sklearn.metrics import average_precision_score, roc_auc_score
from training.training_fixture import BACKBONE, SIZE, disc_arm

from nbhelpers import style
from nbhelpers.errors import UserError
from nbhelpers.films import film_set
from nbhelpers.images.files import write_png
from nbhelpers.networks import checkpoints, models
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.trained import load_arms
from nbhelpers.reporting import report
from nbhelpers.runs import Stage
from nbhelpers.runs.tables import read_table
from nbhelpers.training import repeats, splits
from nbhelpers.training import train as training
from nbhelpers.training.resume import RESUME_FILE
from nbhelpers.training.schedule import Settings
from nbhelpers.training.train import _train_epoch, train_arm
from nbhelpers.validation import evaluation, figures, scores, seed_spread, tables

mpl.use("Agg")
QUICK = Settings(epochs=2, batch_size=8)
ARM = {"name": "cropped", "source": "simulator", "crop": "content"}


class _KilledError(Exception):
    pass


def train(folder, split, images, extra_seeds, settings=QUICK):
    """What notebook 03 does."""
    first = train_arm(
        folder,
        split,
        images,
        **{"arm": ARM, "backbone": BACKBONE, "init": "random", "transform": Transform(SIZE), "settings": settings},
        **{"seed": 3, "device": "cpu", "simulated": True, "keep_resume": extra_seeds > 0},
    )
    return repeats.train_seeds(folder, split, images, first.description, settings, extra_seeds, "cpu")


def weights(folder):
    return safetensors.torch.load_file(folder / "checkpoint.safetensors")


def same(first, second):
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


@pytest.fixture(scope="module")
def arm():
    table, images = disc_arm(10)
    return splits.split_groups(table, 0.2, 3), images


@pytest.fixture(scope="module")
def run(arm, tmp_path_factory):
    """A run with one arm of three seeds, and films of which most discs are pneumonia; do not change it."""
    folder = tmp_path_factory.mktemp("run")
    table = train(folder / "03_training/cropped", *arm, extra_seeds=2)
    films, images = disc_arm(12, seed=5)
    for name, image in zip(films["image_id"], images, strict=True):
        write_png(folder / "films" / f"{name}.png", image)
    rows = films.assign(path=films["image_id"] + ".png", label=(films["label"] == "pneumonia").astype(int))
    rows.loc[::5, "label"] = 1 - rows.loc[::5, "label"]  # so that no seed is right about all
    own = film_set.FilmSet("own", "Own", False, folder / "films", rows[["image_id", "path", "label"]])
    return folder, table, {"own": own}


def scored(run, extra_seeds):
    folder, _, sets = run
    trained = load_arms(["cropped"], Stage("04", folder / "04", folder, {"seed": 3}, "cpu"))
    films = scores.decode(sets, trained, cache=folder / "cache")
    predictions = scores.predict(trained, films, folder, "cpu", 8)
    others = seed_spread.predict(["cropped"], trained, films, folder, extra_seeds, "cpu", 8)
    return trained, films, predictions, others


def test_a_further_seed_has_the_weights_of_a_training_with_that_seed_alone(run, arm, tmp_path):
    folder, table, _ = run
    alone = train_arm(
        tmp_path,
        *arm,
        **{"arm": ARM, "backbone": BACKBONE, "init": "random", "transform": Transform(SIZE), "settings": QUICK},
        **{"seed": 4, "device": "cpu", "simulated": True},
    )
    place = folder / "03_training/cropped/seed_4"
    assert same(weights(tmp_path), weights(place))
    assert models.load_checkpoint(place)[1] == alone.description
    assert not same(weights(place), weights(folder / "03_training/cropped"))
    assert table["seed"].tolist() == [3, 4, 5]
    assert table["val_auroc"][1] == alone.description.val_auroc
    pd.testing.assert_frame_equal(read_table(place / "split.csv"), read_table(place.parent / "split.csv"))


def test_a_finished_seed_is_not_trained_again_and_no_resume_file_is_left(run, arm, monkeypatch):
    folder, table, _ = run
    first = models.load_checkpoint(folder / "03_training/cropped")[1]
    monkeypatch.setattr(training, "train_arm", None)
    again = repeats.train_seeds(folder / "03_training/cropped", *arm, first, QUICK, 2, "cpu")
    pd.testing.assert_frame_equal(again, table)
    assert list(folder.rglob(RESUME_FILE)) == []


@pytest.mark.parametrize("change", ["settings", "images", "weights"])
def test_a_seed_of_other_settings_images_or_weights_is_trained_again(arm, tmp_path, monkeypatch, change):
    split, images = arm
    settings = Settings(epochs=1, batch_size=8)
    train(tmp_path, split, images, 1, settings)
    first = models.load_checkpoint(tmp_path)[1]
    if change == "settings":
        settings = Settings(epochs=1, batch_size=8, learning_rate=2e-3)
    elif change == "images":
        images = images ^ 1
    else:
        (tmp_path / "seed_4/checkpoint.safetensors").write_bytes(b"half a file")
    seen, original = [], train_arm
    monkeypatch.setattr(training, "train_arm", lambda *a, **k: seen.append(k["seed"]) or original(*a, **k))
    repeats.train_seeds(tmp_path, split, images, first, settings, 1, "cpu")
    assert seen == [4]


def test_a_kill_in_a_further_seed_costs_neither_it_nor_the_first_their_epochs(run, arm, tmp_path, monkeypatch, capsys):
    original = _train_epoch

    def interrupted(state, *rest):
        if rest[-3] == 4 and len(state.history) == 1:  # second epoch of the second seed
            raise _KilledError
        return original(state, *rest)

    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        patch.setattr(training, "_train_epoch", interrupted)
        train(tmp_path, *arm, extra_seeds=1)
    assert not (tmp_path / "seeds.csv").exists()
    capsys.readouterr()
    train(tmp_path, *arm, extra_seeds=1)
    told = capsys.readouterr().out
    assert "goes on after epoch 2" in told and "goes on after epoch 1" in told
    assert same(weights(tmp_path / "seed_4"), weights(run[0] / "03_training/cropped/seed_4"))


def test_without_further_seeds_the_table_holds_the_first_alone_and_no_network_is_looked_for(arm, tmp_path):
    assert train(tmp_path, *arm, extra_seeds=0)["seed"].tolist() == [3]
    assert not list(tmp_path.glob("seed_*"))
    assert checkpoints.seed_folders(tmp_path, "any", 0) == {}


def test_a_negative_number_of_seeds_is_named(run, arm):
    folder, _, _ = run
    first = models.load_checkpoint(folder / "03_training/cropped")[1]
    with pytest.raises(UserError, match="extra_seeds"):
        repeats.train_seeds(folder / "03_training/cropped", *arm, first, QUICK, -1, "cpu")


def test_seeds_that_are_too_few_or_of_another_training_are_one_clear_error(run):
    place = run[0] / "03_training/cropped"
    own = models.load_checkpoint(place)[1].weights_sha256
    assert list(checkpoints.seed_folders(place, own, 1)) == [4]
    with pytest.raises(UserError, match="2 further seeds of 3"):
        checkpoints.seed_folders(place, own, 3)
    with pytest.raises(UserError, match="no further seeds of this network"):
        checkpoints.seed_folders(place, "0" * 64, 2)


def test_each_seed_has_scikit_learns_values_on_the_same_films_and_is_scored_once(run, monkeypatch):
    trained, _, predictions, others = scored(run, 2)
    assert set(others["seed"]) == {4, 5}
    for _, part in others.groupby("seed"):
        np.testing.assert_array_equal(part["image_id"], predictions["image_id"])
    table = seed_spread.table(["cropped"], trained, predictions, others)
    assert len(table) == 3 * 2
    everything = pd.concat([predictions.assign(seed=3), others])
    for row in table.to_dict("records"):
        part = everything[everything["seed"] == row["seed"]]
        oracle = {"auroc": roc_auc_score, "aupr": average_precision_score}[row["metric"]]
        assert row["value"] == pytest.approx(oracle(part["label"].astype(int), part["score"]), abs=1e-12)
    monkeypatch.setattr(scores.scoring, "predict", None)  # a second call must not score again
    pd.testing.assert_frame_equal(scored(run, 2)[3], others)


def test_the_first_seeds_predictions_are_the_same_with_and_without_others(run):
    pd.testing.assert_frame_equal(scored(run, 0)[2], scored(run, 2)[2])
    assert scored(run, 0)[3].empty


def made(values, arm="cropped"):
    """One set and metric whose seeds have these values; the first seed's interval is 0.1 wide on each side."""
    row = {"arm": arm, "dataset": "own", "metric": "auroc"}
    by_seed = pd.DataFrame([{**row, "seed": seed, "value": value} for seed, value in enumerate(values)])
    interval = {"ci_low": values[0] - 0.1, "ci_high": values[0] + 0.1, "subgroup": "all"}
    primary = pd.DataFrame([{**row, **interval, "value": values[0], "primary": True}])
    return by_seed, pd.concat([primary, primary.assign(ci_low=0.0, primary=False)])


def test_the_summary_equals_a_hand_made_case():
    row = seed_spread.summary(*made([0.8, 0.9, 0.7])).iloc[0]
    assert (row["n_seeds"], row["min"], row["max"], row["first"]) == (3, 0.7, 0.9, 0.8)
    assert row["mean"] == pytest.approx(0.8) and row["sd"] == pytest.approx(0.1)
    assert row["interval_width"] == pytest.approx(0.2)


def test_one_seed_has_no_spread_and_no_figure(run, capsys):
    by_seed, results = made([0.8])
    spread = seed_spread.summary(by_seed, results)
    assert spread["n_seeds"].tolist() == [1] and spread["sd"].isna().all()
    shown = tables.seeds(spread, run[2])
    assert not [name for name in shown if "over seeds" in name or "lowest" in name]
    figures.save_spread(by_seed, spread, run[2], {}, None)  # would fail on the stage if it saved
    assert capsys.readouterr().out == "one training seed: no spread to show\n"


def test_no_arm_of_the_run_gives_empty_tables(run):
    trained, films, predictions, _ = scored(run, 0)
    others = seed_spread.predict([], trained, films, run[0], 2)
    by_seed = seed_spread.table([], trained, predictions, others)
    spread = seed_spread.summary(by_seed, evaluation.metrics_table(predictions, 20))
    assert by_seed.empty and spread.empty and tables.seeds(spread, run[2]).empty


def test_the_figure_has_a_panel_a_metric_and_a_dot_a_seed(run):
    style.use()
    trained, _, predictions, others = scored(run, 2)
    by_seed = seed_spread.table(["cropped"], trained, predictions, others)
    spread = seed_spread.summary(by_seed, evaluation.metrics_table(predictions, 50))
    figure = figures.draw_spread(by_seed, spread, run[2], {"cropped": "cropped (simulated)"})
    assert [axis.get_xlabel() for axis in figure.axes] == ["AUROC", "AUPR"]
    for axis, metric in zip(figure.axes, ("auroc", "aupr"), strict=True):
        drawn = np.asarray(axis.collections[0].get_offsets())[:, 0]
        np.testing.assert_allclose(drawn, by_seed.loc[by_seed["metric"] == metric, "value"])


def test_the_report_shows_the_spread_only_when_there_are_several_seeds(tmp_path):
    folder = run_fixture.write(tmp_path / "demo")
    missing = "One training seed"
    assert missing in report.write(folder).read_text("utf-8")
    for values, several in (([0.8], False), ([0.8, 0.9, 0.7], True)):
        by_seed, results = made(values)
        spread = seed_spread.summary(by_seed, results)
        spread.to_csv(folder / "04_external_validation/seeds_summary.csv", index=False)
        page = report.write(folder).read_text("utf-8")
        assert ("Spread over training seeds" in page) == several
        assert (missing in page) != several
        assert ("0.700 to 0.900" in page) == several
