"""Further seeds of an arm: scored on the same films, their spread beside the sampling interval."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from reporting import run_fixture
from sklearn.metrics import average_precision_score, roc_auc_score
from training.training_fixture import BACKBONE, SIZE, disc_arm

from nbhelpers import style
from nbhelpers.films import film_set
from nbhelpers.images.files import write_png
from nbhelpers.networks import models
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.trained import load_arms
from nbhelpers.reporting import report
from nbhelpers.runs import Stage
from nbhelpers.validation import evaluation, figures, scores, seed_spread, tables

mpl.use("Agg")
ARM = {"name": "cropped", "source": "simulator", "crop": "content"}


def save_seed(folder, seed):
    network = models.build(BACKBONE, seed=seed)
    with torch.no_grad():
        network.get_classifier().weight.mul_(1e3)
    models.save_checkpoint(folder, network, models.ModelDescription(BACKBONE, "random", Transform(SIZE), seed, ARM))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with one arm of three seeds, and films of which most discs are pneumonia; do not change it."""
    folder = tmp_path_factory.mktemp("run")
    for seed, name in ((3, "cropped"), (4, "cropped/seed_4"), (5, "cropped/seed_5")):
        save_seed(folder / "03_training" / name, seed)
    films, images = disc_arm(12, seed=5)
    for name, image in zip(films["image_id"], images, strict=True):
        write_png(folder / "films" / f"{name}.png", image)
    rows = films.assign(path=films["image_id"] + ".png", label=(films["label"] == "pneumonia").astype(int))
    rows.loc[::5, "label"] = 1 - rows.loc[::5, "label"]  # so that no seed is right about all
    own = film_set.FilmSet("own", "Own", False, folder / "films", rows[["image_id", "path", "label"]])
    return folder, {"own": own}


def scored(run, extra_seeds):
    folder, sets = run
    stage = Stage("04", folder / "04", folder, {"seed": 3}, "cpu")
    trained = load_arms(["cropped"], stage)
    films = scores.decode(sets, trained, cache=folder / "cache")
    predictions = scores.predict(trained, films, folder, "cpu", 8)
    others = seed_spread.predict(["cropped"], trained, films, stage, extra_seeds, 8)
    return trained, films, predictions, others


def test_each_seed_has_scikit_learns_values_on_the_same_films_and_is_scored_once(run, monkeypatch):
    trained, _, predictions, others = scored(run, 2)
    assert set(others["seed"]) == {4, 5}
    for _, part in others.groupby("seed"):
        np.testing.assert_array_equal(part["image_id"], predictions["image_id"])
    table = seed_spread.seeds_table(["cropped"], trained, predictions, others)
    assert len(table) == 3 * 2
    everything = pd.concat([predictions.assign(seed=3), others])
    for row in table.to_dict("records"):
        part = everything[everything["seed"] == row["seed"]]
        oracle = {"auroc": roc_auc_score, "aupr": average_precision_score}[row["metric"]]
        assert row["value"] == pytest.approx(oracle(part["label"].astype(int), part["score"]), abs=1e-12)
    monkeypatch.setattr(scores.features, "predict", None)  # a second call must not score again
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
    shown = tables.seeds(spread, run[1])
    assert not [name for name in shown if "over seeds" in name or "lowest" in name]
    figures.save_spread(by_seed, spread, run[1], {}, None)  # would fail on the stage if it saved
    assert capsys.readouterr().out == "one training seed: no spread to show\n"


def test_no_arm_of_the_run_gives_empty_tables(run):
    trained, films, predictions, _ = scored(run, 0)
    others = seed_spread.predict([], trained, films, None, 2)
    by_seed = seed_spread.seeds_table([], trained, predictions, others)
    spread = seed_spread.summary(by_seed, evaluation.metrics_table(predictions, 20))
    assert by_seed.empty and spread.empty and tables.seeds(spread, run[1]).empty


def test_the_figure_has_a_panel_a_metric_and_a_dot_a_seed(run):
    style.use()
    trained, _, predictions, others = scored(run, 2)
    by_seed = seed_spread.seeds_table(["cropped"], trained, predictions, others)
    spread = seed_spread.summary(by_seed, evaluation.metrics_table(predictions, 50))
    figure = figures.draw_spread(by_seed, spread, run[1], {"cropped": "cropped (simulated)"})
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
