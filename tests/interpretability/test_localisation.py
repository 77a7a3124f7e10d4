import matplotlib
import numpy as np
import pandas as pd
import pytest
from interpretability.interpretability_fixture import LESION, SIDE, film_set, save_arm
from scipy.stats import binomtest, spearmanr
from scipy.stats import t as student_t

from nbhelpers import runs
from nbhelpers.cropping.methods import crop_box
from nbhelpers.errors import UserError
from nbhelpers.images.files import read_gray
from nbhelpers.images.masks import resize_mask
from nbhelpers.interpretability import chosen_films, figures, localisation, sampling
from nbhelpers.interpretability.tables import saliency, saliency_differences
from nbhelpers.metrics import bootstrap, overlap
from nbhelpers.networks import trained

matplotlib.use("Agg")


@pytest.fixture
def networks(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    run = tmp_path / "outputs" / "toy"
    save_arm(run, "one", seed=4)
    save_arm(run, "two", seed=5)
    return trained.load_networks(
        ["one", "two"], runs.Stage("05_interpretability", run, run, {"seed": 0, "device": "cpu"}, "cpu")
    )


def hand_made():
    """Three maps of 2 x 2 and one mask: the peak inside, the peak outside, nothing at all."""
    maps = np.array([[[4, 1], [0, 3]], [[1, 8], [1, 0]], [[0, 0], [0, 0]]], dtype=np.float32)
    masks = np.array([[[True, False], [True, False]]] * 3)
    return maps, masks


def test_the_pointing_game_asks_where_the_peak_is():
    np.testing.assert_array_equal(overlap.pointing_game(*hand_made()), [1, 0, 0])


def test_peaks_that_tie_count_by_their_share():
    maps = np.array([[[5, 5], [5, 1]]])
    masks = np.array([[[True, False], [True, False]]])
    assert overlap.pointing_game(maps, masks) == pytest.approx(2 / 3)


def test_energy_is_the_share_of_the_sum_inside():
    np.testing.assert_allclose(overlap.energy_inside(*hand_made()), [4 / 8, 2 / 10, np.nan])


def test_iou_is_cut_at_a_share_of_each_maps_own_maximum():
    # Cut at half the maximum: {4, 3}, {8}, nothing; the mask has two pixels.
    np.testing.assert_allclose(overlap.iou(*hand_made()), [1 / 3, 0, 0])
    np.testing.assert_allclose(overlap.iou(*hand_made(), threshold=1.0), [1 / 2, 0, 0])
    maps, masks = hand_made()
    np.testing.assert_allclose(overlap.iou(maps * 1000, masks), overlap.iou(maps, masks))


def test_a_map_equal_to_the_mask_scores_one_everywhere():
    _, masks = hand_made()
    for score in (overlap.pointing_game, overlap.energy_inside, overlap.iou):
        np.testing.assert_allclose(score(masks.astype(float), masks), 1)


def test_a_flat_map_has_the_energy_of_the_masks_area():
    masks = np.random.default_rng(0).random((4, 9, 9)) < 0.3
    np.testing.assert_allclose(overlap.energy_inside(np.ones((4, 9, 9)), masks), masks.mean(axis=(1, 2)))


@pytest.mark.parametrize("maps", [-np.ones((1, 2, 2)), np.full((1, 2, 2), np.nan), np.ones((1, 3, 3)), np.ones((2, 2))])
def test_maps_that_cannot_be_scored_are_one_clear_error(maps):
    with pytest.raises(UserError):
        overlap.energy_inside(maps, np.ones((1, 2, 2), bool))


def test_rank_similarity_equals_spearman_of_scipy_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (5, 4, 4)), rng.integers(0, 4, (5, 4, 4))
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(overlap.rank_similarity(a, b), expected)
    assert np.isnan(overlap.rank_similarity(np.zeros((1, 2, 2)), np.ones((1, 2, 2)))).all()


def test_the_centre_prior_peaks_at_the_centre_and_is_symmetric():
    prior = localisation.centre_prior(2, 8)
    assert prior.shape == (2, 8, 8) and prior[0].max() == prior[0, 3:5, 3:5].min()
    np.testing.assert_allclose(prior[0], prior[0, ::-1, ::-1])


def test_bootstrap_means_of_single_films_have_the_standard_error_of_the_mean():
    values = np.random.default_rng(0).normal(size=(400, 1))
    draws = bootstrap.bootstrap_means(values, None, 4000)
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.05)
    assert draws.mean() == pytest.approx(values.mean(), abs=0.005)


def test_bootstrap_draws_whole_patients():
    # Ten patients of 40 equal films each: the error is that of ten values, not of four hundred.
    patient = np.repeat(np.arange(10), 40)
    values = np.random.default_rng(0).normal(size=10)[patient][:, None]
    by_patient = bootstrap.bootstrap_means(values, patient, 4000).std()
    by_film = bootstrap.bootstrap_means(values, None, 4000).std()
    assert by_patient == pytest.approx(values.std() / np.sqrt(10), rel=0.06)
    assert by_film < by_patient / 5


def test_bootstrap_columns_share_resamples_and_leave_nan_out():
    values = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, np.nan]])
    draws = bootstrap.bootstrap_means(np.column_stack([values, values[:, 0] + 5]), None, 200)
    np.testing.assert_allclose(draws[:, 2] - draws[:, 0], 5)
    assert np.nanmax(draws[:, 1]) <= 2


def test_truth_is_resized_with_its_film(tmp_path):
    sample = sampling.sample_films(film_set(tmp_path), [48], 0)
    truth = sampling.truth_of(sample, 48)
    left, top, right, bottom = (edge // 2 for edge in LESION)
    expected = np.zeros((48, 48), bool)
    expected[top:bottom, left:right] = True
    np.testing.assert_array_equal(truth.lesion[1], expected)
    np.testing.assert_array_equal(truth.lesion_known, sample.labels == 1)
    assert truth.lungs_known.all() and truth.lungs[0].sum() == 36 * 36 and not truth.lesion[0].any()


def test_truth_goes_through_the_crop_that_its_film_went_through(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    films = film_set(tmp_path)
    sample = sampling.sample_films(films, [64], 0, crop="margins")
    box = crop_box(read_gray(tmp_path / "images/1.png"), "margins")
    truth = sampling.truth_of(sample, 64)
    rows, columns = np.nonzero(truth.lesion[1])
    scale = 64 / (box[2] - box[0]), 64 / (box[3] - box[1])
    assert columns.min() == pytest.approx((LESION[0] - box[0]) * scale[0], abs=1)
    assert rows.max() + 1 == pytest.approx((LESION[3] - box[1]) * scale[1], abs=1)
    # The lesion is the only bright part of the film, so film and mask must agree.
    bright = sample.images[64][1] > 180
    assert (bright & truth.lesion[1]).sum() / (bright | truth.lesion[1]).sum() > 0.85


def test_boxes_of_rsna_are_truth_too(tmp_path):
    films = film_set(tmp_path, truth=False)
    left, top, right, bottom = LESION
    box = f"[[{left}, {top}, {right - left}, {bottom - top}]]"
    films.films["boxes"] = ["[]", box] * 6
    films.films["width"] = films.films["height"] = SIDE
    assert set(localisation.films_with_truth(films)) == {f"f{n}" for n in range(1, 12, 2)}
    truth = sampling.truth_of(sampling.sample_films(films, [SIDE], 0), SIDE)
    assert truth.lesion[1].sum() == (right - left) * (bottom - top) and not truth.lungs_known.any()


def test_a_thin_structure_does_not_vanish_when_a_mask_shrinks():
    mask = np.zeros((64, 64), bool)
    mask[10, 5:40] = True
    small = resize_mask(mask, 16)
    assert small.any() and not small[4:].any()
    assert not resize_mask(np.zeros((64, 64), bool), 16).any()


def test_arms_and_baselines_are_scored_on_the_same_films(networks, tmp_path):
    films = localisation.localise_sets(networks, {"toy": film_set(tmp_path / "films")}, n=0)
    assert list(films["map"].unique()) == [*localisation.BASELINES, "one", "two"]
    draws = films[films["map"] == "randomised_weights"].groupby("draw").size()
    assert (films[films["draw"].isna()].groupby("map").size() == 12).all()
    assert len(draws) == localisation.RANDOM_NETWORKS and (draws == 12).all()
    sick = films["label"] == 1
    assert films.loc[sick, ["pointing", "energy", "iou"]].notna().all(axis=None)
    assert films.loc[~sick, ["pointing", "energy", "iou"]].isna().all(axis=None)
    assert films.loc[films["map"] == "one", localisation.SIMILARITY].notna().any()
    again = localisation.localise_sets(networks, {"toy": film_set(tmp_path / "films")}, n=0)
    pd.testing.assert_frame_equal(films, again)

    summary = localisation.summarise_scores(films, 200)
    row = summary[(summary["map"] == "one") & (summary["metric"] == "energy")].iloc[0]
    energy = films[sick].pivot_table(index="image_id", columns="map", values="energy")
    assert row["value"] == pytest.approx(energy["one"].mean()) and row["n"] == 6 and row["n_patients"] == 6
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert row["random_map_less"] == pytest.approx((energy["one"] - energy["random_map"]).mean())
    assert list(localisation.similarities(summary)["arm"]) == ["one", "two"]
    figure = figures.draw_scores(summary, {"toy": "Toy films (simulated)"}, {"one": "one (simulated)"})
    assert len(figure.axes) == len(localisation.SCORES) and all(axes.lines for axes in figure.axes)


def scored(**maps):
    """Rows as `localise` gives them: by map, its scores of each film (a list a draw for the randomised networks)."""
    rows = []
    for name, scores in maps.items():
        lists = scores if isinstance(scores[0], list) else [scores]
        for draw, values in enumerate(lists, start=1):
            for n, value in enumerate(values):
                row = {"dataset": "toy", "map": name, "controls": "_2" if name.endswith("_2") else "", "label": 1}
                row |= {"draw": draw if name.startswith("randomised") else None, "image_id": f"f{n}"}
                rows.append(row | {"patient_id": f"p{n // 2}", "pointing": value, "empty": False})
    return localisation._score_columns(pd.DataFrame(rows))


def summary_of(films, name, metric="pointing"):
    found = localisation.summarise_scores(films, 4000)
    return found[(found["map"] == name) & (found["metric"] == metric)].iloc[0]


def test_control_is_the_mean_of_several_random_networks_and_its_interval_holds_their_spread():
    rng = np.random.default_rng(0)
    films = rng.random(200)
    draws = [list(films / 2 + shift) for shift in (0.0, 0.1, 0.2, 0.3, 0.4)]
    row = summary_of(scored(arm=list(films), randomised_weights=draws), "randomised_weights")
    assert row["value"] == pytest.approx(films.mean() / 2 + 0.2)
    assert row["sd_networks"] == pytest.approx(np.std([0, 0.1, 0.2, 0.3, 0.4], ddof=1))
    # Networks alone, by Student's t with 4 degrees of freedom; the films add little.
    networks_alone = student_t.ppf(0.975, 4) * row["sd_networks"] / np.sqrt(5)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * networks_alone, rel=0.12)
    arm = summary_of(scored(arm=list(films), randomised_weights=draws), "arm")
    assert arm["ci_high"] - arm["ci_low"] < 0.15
    assert arm["randomised_weights_less_high"] - arm["randomised_weights_less_low"] > 1.8 * networks_alone


def test_interval_of_a_share_stays_a_share():
    draws = [[0.0] * 20] * 4 + [[0.4] * 20]
    row = summary_of(scored(arm=[0.5] * 20, randomised_weights=draws), "randomised_weights")
    assert row["ci_low"] == 0 and 0.08 < row["ci_high"] < 0.4


def test_equal_random_networks_add_nothing():
    films = list(np.random.default_rng(0).random(50))
    row = summary_of(scored(arm=films, randomised_weights=[films] * 5), "randomised_weights")
    same = summary_of(scored(arm=films), "arm")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((same["ci_low"], same["ci_high"]))


def test_each_arm_is_compared_with_the_controls_of_its_own_kind(tmp_path, monkeypatch):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    run = tmp_path / "outputs" / "toy"
    save_arm(run, "small", 4, size=64)
    save_arm(run, "large", 5, size=96)
    save_arm(run, "other", 6, size=64, standardise="imagenet")
    stage = runs.Stage("05_interpretability", run, run, {"seed": 0, "device": "cpu"}, "cpu")
    found = trained.load_networks(["small", "large", "other"], stage)
    films = localisation.localise_sets(found, {"toy": film_set(tmp_path / "films")}, n=0)
    endings = {"small": "", "large": "_2", "other": "_3"}
    assert films.drop_duplicates("map").set_index("map")["controls"][list(endings)].to_dict() == endings
    summary = localisation.summarise_scores(films, 100)
    means = films[films["label"] == 1].groupby("map")["energy"].mean()
    for arm, ending in endings.items():
        row = summary[(summary["map"] == arm) & (summary["metric"] == "energy")].iloc[0]
        for control in localisation.BASELINES:
            assert row[f"{control}_less"] == pytest.approx(means[arm] - means[control + ending]), (arm, control)
    assert means["centre_prior"] != means["centre_prior_2"]


def test_rates_of_0_and_1_have_wilsons_interval_by_patients():
    films = scored(arm=[1.0] * 12, centre_prior=[0.0] * 12)
    row, prior = summary_of(films, "arm"), summary_of(films, "centre_prior")
    wilson = binomtest(6, 6).proportion_ci(method="wilson")  # 12 films of 6 patients
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((wilson.low, wilson.high))
    assert (prior["ci_low"], prior["ci_high"]) == pytest.approx((1 - wilson.high, 1 - wilson.low))
    # Newcombe's square-and-add: the ends of both sides.
    expected = 1 - np.hypot(1 - wilson.low, 1 - wilson.low)
    assert (row["centre_prior_less_low"], row["centre_prior_less_high"]) == pytest.approx((expected, 1.0))
    alone = summary_of(films.assign(patient_id=None), "arm")
    assert alone["ci_low"] == pytest.approx(binomtest(12, 12).proportion_ci(method="wilson").low)


def test_differences_are_over_the_films_on_which_both_have_the_score():
    # The arm's map is empty on the films that are easy: its own mean is low though it is better wherever both speak.
    films = scored(arm=[0.3, 0.4, np.nan, np.nan], centre_prior=[0.2, 0.3, 0.9, 0.9]).rename(
        columns={"pointing": "in_lungs", "in_lungs": "pointing"}
    )
    row = summary_of(films, "arm", "in_lungs")
    assert row["value"] == pytest.approx(0.35) and row["centre_prior_less"] == pytest.approx(0.1)
    assert row["centre_prior_less_low"] == pytest.approx(0.1)


def test_tables_of_maps_name_arms_and_controls_in_words(networks, tmp_path):
    films = localisation.localise_sets(networks, {"toy": film_set(tmp_path / "films")}, n=0)
    summary = localisation.summarise_scores(films, 20)
    titles = {"one": "one (simulated)", "two": "two"}
    shown = saliency(summary, titles)
    assert list(shown["map"]) == ["centre prior", "random map", "randomised weights", "one (simulated)", "two"]
    assert set(shown["films_lesion"]) == {6} and set(shown["films_lungs"]) == {12}
    assert shown["energy"].str.fullmatch(r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)").all()
    apart = saliency_differences(summary, titles)
    assert list(apart.columns[3:]) == ["minus centre prior", "minus random map", "minus randomised weights"]
    assert len(apart) == 2 * len(localisation.SCORES)


def test_figure_4_classes_films_at_the_first_arms_frozen_threshold_and_says_so(networks, tmp_path):
    metrics = pd.DataFrame({"arm": ["two", "one", "one"], "threshold": [0.2, np.nan, 0.9]})
    sets = {"toy": film_set(tmp_path / "films")}
    shown = chosen_films.explain_sets(predictions(), sets, networks, metrics=metrics)[0]
    assert shown.rule.endswith("p >= 0.9, its frozen threshold") and shown.films["n_cell"].iloc[0] == 1
    assert shown.rule in figures.draw_examples([shown]).get_supxlabel()
    assert chosen_films.explain_sets(predictions(), sets, networks)[0].rule.endswith("p >= 0.5")


def test_sets_without_truth_give_empty_tables_and_no_figure(networks, tmp_path):
    films = localisation.localise_sets(networks, {"toy": film_set(tmp_path / "films", truth=False)}, n=0)
    summary = localisation.summarise_scores(films)
    assert films.empty and summary.empty and "value" in summary
    assert localisation.similarities(summary).empty
    assert figures.draw_scores(summary, {"toy": "Toy films"}, {}) is None


def predictions():
    scores = {"one": np.linspace(0.05, 0.95, 12), "two": np.linspace(0.9, 0.1, 12)}
    rows = [
        {"arm": arm, "dataset": "toy", "image_id": f"f{n}", "label": n % 2, "score": values[n]}
        for arm, values in scores.items()
        for n in range(12)
    ]
    return pd.DataFrame(rows)


def test_examples_are_the_middle_films_of_their_cells():
    chosen, missing = chosen_films.choose_examples(predictions(), "toy", "one")
    # Scores rise with the number: f1 f3 f5 | f7 f9 f11 with pneumonia, f0 f2 f4 | f6 f8 f10 without.
    assert list(chosen["image_id"]) == ["f9", "f8", "f3", "f2"] and missing == []
    assert list(chosen["cell"]) == list(chosen_films.CELLS) and set(chosen["n_cell"]) == {3}
    assert chosen["score_two"].iloc[0] == pytest.approx(np.linspace(0.9, 0.1, 12)[9])


def test_more_examples_stay_around_the_middle_and_stop_at_the_cell():
    chosen, _ = chosen_films.choose_examples(predictions(), "toy", "one", per_cell=5)
    assert list(chosen["image_id"][:3]) == ["f7", "f9", "f11"] and len(chosen) == 12


def test_a_cell_without_films_is_named_and_has_no_row(networks, tmp_path):
    examples = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks, threshold=0.0)
    assert examples[0].missing == ["false negative", "true negative"]
    assert list(examples[0].films["cell"]) == ["true positive", "false positive"]
    figure = figures.draw_examples(examples)
    panels = [axes for axes in figure.axes if axes.images and axes.get_ylabel() != "Grad-CAM"]
    assert sum(len(axes.images) == 2 for axes in panels) == 2 * 2
    assert "no false negative, no true negative" in figure.get_supxlabel()
    assert list(chosen_films.examples_table(examples)["dataset"]) == ["toy", "toy"]


def load(tmp_path, monkeypatch, **arms):
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    run = tmp_path / "outputs" / "toy"
    for seed, (arm, size) in enumerate(arms.items()):
        save_arm(run, arm, seed, size)
    return trained.load_networks(arms, runs.Stage("05", run, run, {"seed": 0, "device": "cpu"}, "cpu"))


def test_films_stand_alone_where_no_network_keeps_a_map_and_one_line_says_why(tmp_path, monkeypatch, capsys):
    networks, sets = load(tmp_path, monkeypatch, one=32, two=32), {"toy": film_set(tmp_path / "films")}
    examples = chosen_films.explain_sets(predictions(), sets, networks)
    why = "no Grad-CAM for resnet10t at 32 pixels: no spatial feature map is found before its classifier"
    assert capsys.readouterr().out.splitlines() == [why]
    figure = figures.draw_examples(examples)
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1]
    assert why in figure.subfigs[-1].get_supxlabel()
    scored = localisation.localise_sets(networks, sets, n=0)
    assert scored.empty and localisation.summarise_scores(scored).empty and "image_id" in scored


def test_an_arm_without_a_map_does_not_take_the_others_maps_away(tmp_path, monkeypatch):
    networks, sets = load(tmp_path, monkeypatch, one=32, two=64), {"toy": film_set(tmp_path / "films")}
    examples = chosen_films.explain_sets(predictions(), sets, networks)
    figure = figures.draw_examples(examples)
    assert list(examples[0].maps) == ["two"] and "resnet10t at 32 pixels" in figure.get_supxlabel()
    scored = localisation.localise_sets(networks, sets, n=0)
    assert list(scored["map"].unique()) == [*localisation.BASELINES, "two"]


def test_all_maps_of_a_figure_share_one_colour_scale(networks, tmp_path):
    examples = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks)
    figure = figures.draw_examples(examples)
    limits = {axes.images[1].get_clim() for axes in figure.axes if len(axes.images) == 2}
    assert limits == {(0.0, max(float(maps.max()) for maps in examples[0].maps.values()))}


def test_known_lesions_are_boxed_in_every_panel_of_their_row(networks, tmp_path):
    examples = chosen_films.explain_sets(predictions(), {"toy": film_set(tmp_path / "films")}, networks)
    figure = figures.draw_examples(examples)
    boxes = [axes.patches[0].get_bbox() for axes in figure.axes if axes.patches]
    assert len(boxes) == 2 * 3  # true positive and false negative, original and two arms
    scale = 64 / SIDE
    np.testing.assert_allclose(np.array(boxes[0].extents) + 0.5, np.array(LESION) * scale, atol=1)


def test_predictions_of_another_set_or_arm_are_one_clear_error():
    with pytest.raises(UserError, match="no prediction"):
        chosen_films.choose_examples(predictions(), "kermany", "one")
