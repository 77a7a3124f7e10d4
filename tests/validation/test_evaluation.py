from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from nbhelpers import style
from nbhelpers.errors import UserError
from nbhelpers.films import film_set
from nbhelpers.images.files import write_png
from nbhelpers.networks import models
from nbhelpers.networks.preprocessing import Transform
from nbhelpers.networks.trained import load_arms
from nbhelpers.runs.tables import check_table
from nbhelpers.validation import baselines, evaluation, figures, published, tables
from nbhelpers.validation.scores import checks, decode, predict

mpl.use("Agg")


def made_predictions(n=240, patients=True, seed=0):
    """Two arms on one set: `good` knows the label, `bad` does not."""
    generator = np.random.default_rng(seed)
    label = np.tile([0, 1], n // 2)
    films = pd.DataFrame(
        {
            "image_id": [f"f{i}" for i in range(n)],
            "patient_id": [f"p{i // 4}" for i in range(n)] if patients else pd.NA,
            "label": label,
            "view": np.where(label == 1, "AP", "PA"),
        }
    )
    films = films.assign(sex="female", age=4.0, dataset="kermany")
    scores = {"good": 1 / (1 + np.exp(-generator.normal(3 * label))), "bad": generator.random(n)}
    return pd.concat([films.assign(arm=arm, score=score) for arm, score in scores.items()], ignore_index=True)


SETS = {"kermany": SimpleNamespace(title="Chest X-Ray (Kermany)")}
TITLES = {"good": "good (simulated)", "bad": "bad", "cropped": "cropped (simulated)"}


def test_metrics_table_holds_scikit_learn_values_under_both_interval_methods():
    predictions = made_predictions()
    table = check_table(evaluation.metrics_table(predictions, n_resamples=200), "metrics")
    assert len(table) == 2 * 2 * 2 + 2  # two arms, metrics and methods; DeLong for AUROC
    for row in table.to_dict("records"):
        part = predictions[predictions["arm"] == row["arm"]]
        oracle = {"auroc": roc_auc_score, "aupr": average_precision_score}[row["metric"]]
        assert row["value"] == pytest.approx(oracle(part["label"], part["score"]), abs=1e-12)
        assert row["ci_low"] < row["value"] < row["ci_high"]
        assert (row["n"], row["n_patients"], row["prevalence"]) == (240, 60, 0.5)
        assert row["primary"] == (row["ci_method"] == "bootstrap_patient")


def test_without_patients_films_are_drawn_and_nothing_is_said_of_patients():
    table = evaluation.metrics_table(made_predictions(patients=False), n_resamples=50)
    assert set(table["ci_method"]) == {"bootstrap_image", "delong"}
    assert table.loc[table["ci_method"] == "bootstrap_image", "primary"].all()
    assert table["n_patients"].isna().all()


def test_intervals_do_not_depend_on_the_order_of_rows():
    predictions = made_predictions()
    turned = pd.concat([part for _, part in reversed(list(predictions.groupby("arm")))])
    columns = ["arm", "metric", "ci_method", "value", "ci_low", "ci_high"]
    first, second = (
        evaluation.metrics_table(table, n_resamples=50)[columns].sort_values(columns[:3], ignore_index=True)
        for table in (predictions, turned)
    )
    pd.testing.assert_frame_equal(first, second)


def made_baselines(predictions):
    films = predictions[predictions["arm"] == "good"]
    scores = {"view": (films["view"] == "AP").astype(float), "noise": np.random.default_rng(9).random(len(films))}
    facts = pd.DataFrame({"baseline": list(scores), "title": list(scores), "kind": ["fixed", "best way"]})
    facts["uses_labels"] = facts["kind"] != "fixed"
    return baselines.Baselines(pd.DataFrame({k: np.asarray(v) for k, v in scores.items()}), facts)


def test_verdict_is_beats_falls_below_or_not_told_apart_as_it_should_be():
    predictions = made_predictions()
    # The view tells the label exactly; noise tells nothing.
    compared = evaluation.compare_with_baselines(predictions, {"kermany": made_baselines(predictions)}, 300)
    verdicts = compared.set_index(["arm", "baseline"])["verdict"]
    assert verdicts["good", "view"] == "falls below" and verdicts["good", "noise"] == "beats"
    assert verdicts["bad", "view"] == "falls below" and verdicts["bad", "noise"] == "is not distinguishable from"


def test_an_arm_is_compared_with_a_model_trained_on_the_set_too():
    predictions = made_predictions()
    found = made_baselines(predictions)
    found.facts["kind"] = ["trained", "fixed"]  # `view` tells the label exactly, noise nothing
    compared = evaluation.compare_with_baselines(predictions, {"kermany": found}, 200)
    trained = compared[compared["kind"] == "trained"]
    assert list(trained["arm"]) == ["good", "bad"] and set(trained["verdict"]) == {"falls below"}


def test_a_score_that_misses_films_is_an_error():
    predictions = made_predictions().iloc[:-1]
    with pytest.raises(UserError, match="has not scored every film"):
        evaluation.metrics_table(predictions, n_resamples=10)


@pytest.fixture
def run(tmp_path):
    """A run with one untrained arm and a set of 12 small films of which one is broken."""
    model = models.build("resnet18", "random", 1, seed=0)
    description = models.ModelDescription(
        "resnet18", "random", Transform(32), arm={"name": "cropped", "source": "simulator", "crop": "content"}
    )
    models.save_checkpoint(tmp_path / "03_training/cropped", model, description)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(12):
        image = generator.integers(0, 256, (40, 40), dtype=np.uint8)
        write_png(tmp_path / "films" / f"{number}.png", image)
        rows.append({"image_id": f"f{number}", "path": f"{number}.png", "label": number % 2})
    (tmp_path / "films/3.png").write_bytes(b"broken")
    return tmp_path, {"own": film_set.FilmSet("own", "Own", False, tmp_path / "films", pd.DataFrame(rows))}


def test_scores_cover_every_readable_film_and_are_kept(run, monkeypatch):
    folder, sets = run
    noted = []
    arms = load_arms(["cropped"], folder, note=lambda path: noted.append(path.name) or path)
    assert noted == ["model.json", "checkpoint.safetensors"]
    films = decode(sets, arms, cache=folder / "cache")
    predictions = check_table(predict(arms, films, folder, "cpu", 4), "predictions")
    assert len(predictions) == 11 and "f3" not in set(predictions["image_id"])
    assert checks(predictions, films, arms) == ["Own: every readable film scored by every arm: ok"]
    monkeypatch.setattr(evaluation.scoring, "predict", None)  # a second call must not score again
    again = predict(arms, films, folder, "cpu", 4)
    pd.testing.assert_frame_equal(again, predictions[list(again)])


def test_scores_equal_those_of_the_plain_network_on_the_same_films(run):
    import torch

    from nbhelpers.images.files import read_gray, resize_gray

    folder, sets = run
    arms = load_arms(["cropped"], folder)
    films = decode(sets, arms, cache=folder / "cache")
    scores = predict(arms, films, folder, "cpu", 4).set_index("image_id")["score"]
    image = resize_gray(read_gray(folder / "films/7.png"), 32).astype(np.float32) / 255
    tensor = torch.from_numpy((image - image.mean()) / image.std())[None, None]
    with torch.inference_mode():
        expected = torch.sigmoid(arms["cropped"].model.float()(tensor)).item()
    assert scores["f7"] == pytest.approx(expected, abs=0.03)  # bfloat16 where the processor has it


def test_checks_stop_on_constant_scores_and_missing_films(run):
    folder, sets = run
    arms = load_arms(["cropped"], folder)
    films = decode(sets, arms, cache=folder / "cache")
    predictions = predict(arms, films, folder, "cpu", 4)
    with pytest.raises(UserError, match="the same score"):
        checks(predictions.assign(score=0.5), films, arms)
    with pytest.raises(UserError, match="has not scored every film"):
        checks(predictions.iloc[1:], films, arms)


def test_an_arm_that_is_not_trained_names_the_stage_to_run(tmp_path):
    with pytest.raises(UserError, match=r"'raw' is not trained.*03_training"):
        load_arms(["raw"], tmp_path)


def test_published_values_mark_the_matching_films_alone():
    assert published.reference("rsna", 14_863).auroc == (0.923, 0.919, 0.927)
    assert published.reference("kermany", 5_840).aupr == (0.913, 0.904, 0.922)
    assert published.reference("rsna", 26_684) is None
    assert published.reference("simulated_hospital", 5_856) is None


def panels(figure):
    return [axis for axis in figure.axes if axis.get_visible()]


def test_figure_2_has_two_panels_a_set_with_bars_intervals_and_floors():
    style.style()
    predictions = made_predictions()
    other = predictions.assign(dataset="hospital", label=1 - predictions["label"])
    table = evaluation.metrics_table(pd.concat([predictions, other]), n_resamples=50)
    sets = {**SETS, "hospital": SimpleNamespace(title="Other hospital (simulated)")}
    figure = figures.figure_2(table, sets, TITLES)
    assert len(panels(figure)) == 4
    titles = [axis.get_title(loc="left") for axis in panels(figure)]
    assert [title[0] for title in titles] == list("ABCD") and all("(simulated)" in title for title in titles[2:])
    for axis in panels(figure):
        assert len(axis.patches) == 2  # one bar an arm
        assert [tick.get_text() for tick in axis.get_xticklabels()] == ["good\n(simulated)", "bad"]
    heights = [bar.get_height() for bar in panels(figure)[1].patches]
    mine = table[(table["dataset"] == "kermany") & (table["metric"] == "aupr") & table["primary"]]
    assert heights == pytest.approx(list(mine["value"]))


def test_published_mark_is_drawn_on_the_matching_set_alone():
    style.style()
    predictions = made_predictions().replace({"arm": {"good": "cropped"}})
    table = evaluation.metrics_table(predictions, n_resamples=20)
    marks = lambda figure: sum(len(axis.containers) > 1 + 1 for axis in panels(figure))  # noqa: E731
    assert marks(figures.figure_2(table, SETS, TITLES)) == 0
    assert marks(figures.figure_2(table.assign(n=5840), SETS, TITLES)) == 2


def test_curves_and_distributions_draw_every_arm_and_set():
    style.style()
    predictions = made_predictions()
    figure = figures.curves(predictions, SETS, TITLES)
    assert len(panels(figure)) == 2 and all(len(axis.lines) == 3 for axis in panels(figure))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["good (simulated)", "bad"]
    figure = figures.score_distributions(predictions, SETS, TITLES)
    assert len(panels(figure)) == 2


def test_readable_table_shows_value_and_interval():
    table = evaluation.metrics_table(made_predictions(), n_resamples=20)
    found = tables.metrics_shown(table, SETS)
    assert set(found["interval by"]) == {"films", "patients", "DeLong"} and len(found) == 6
    assert found["AUROC (95 %)"].str.fullmatch(r"\d\.\d{3} \(\d\.\d{3}-\d\.\d{3}\)").all()


def test_films_of_one_patient_give_no_primary_interval():
    predictions = made_predictions().assign(patient_id="one")
    table = evaluation.metrics_table(predictions, n_resamples=20)
    primary = table[table["primary"]]
    assert set(primary["ci_method"]) == {"too_few"} and len(primary) == 4
    assert primary["value"].notna().all() and primary[["ci_low", "ci_high"]].isna().all(axis=None)
    assert not table.loc[table["ci_method"] == "bootstrap_image", "primary"].any()
    compared = evaluation.compare_with_baselines(predictions, {"kermany": made_baselines(predictions)}, 20)
    assert set(compared["verdict"]) == {"is not distinguishable from"} and compared["ci_low"].isna().all()
    assert "too few patients" in set(tables.metrics_shown(table, SETS)["interval by"])
