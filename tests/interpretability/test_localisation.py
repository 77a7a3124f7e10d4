import numpy as np
import pandas as pd
import pytest
from interpretability.interpretability_fixture import film_set, save_arm
from scipy.stats import binomtest
from scipy.stats import t as student_t

from nbhelpers import runs
from nbhelpers.interpretability import figures, localisation
from nbhelpers.networks import trained


def test_the_centre_prior_peaks_at_the_centre_and_is_symmetric():
    prior = localisation.centre_prior(2, 8)
    assert prior.shape == (2, 8, 8) and prior[0].max() == prior[0, 3:5, 3:5].min()
    np.testing.assert_allclose(prior[0], prior[0, ::-1, ::-1])


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


def test_sets_without_truth_give_empty_tables_and_no_figure(networks, tmp_path):
    films = localisation.localise_sets(networks, {"toy": film_set(tmp_path / "films", truth=False)}, n=0)
    summary = localisation.summarise_scores(films)
    assert films.empty and summary.empty and "value" in summary
    assert localisation.similarities(summary).empty
    assert figures.draw_scores(summary, {"toy": "Toy films"}, {}) is None
