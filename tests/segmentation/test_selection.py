"""Selections, ties and the swap test, on simulated studies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from nbhelpers.segmentation import selection

N, SHARE = 380, 0.05


def study(rng: np.random.Generator, common: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dice of two models with the same marginal distribution and a long left tail, and how hard each case is."""
    shared, own_a, own_b = rng.standard_normal((3, N))
    marginal = [np.sqrt(common) * shared + np.sqrt(1 - common) * own for own in (own_a, own_b)]
    a, b = (1 - (1 - norm.cdf(value)) ** 3 * 0.98 - 0.05 * (1 - norm.cdf(value)) for value in marginal)
    return np.clip(a, 0, 1), np.clip(b, 0, 1), -shared


def test_equal_models_are_called_different_in_3_to_7_percent_of_studies() -> None:
    rng = np.random.default_rng(1)
    p = []
    for number in range(300):
        a, b, _ = study(rng, 0.5)
        p.append(selection.swap_test(a, b, (1.0, 0.0), SHARE, "hard", 300, number)[2])
    assert 0.03 <= np.mean(np.array(p) <= 0.05) <= 0.07


def test_the_gap_of_equal_models_is_what_the_swap_test_expects() -> None:
    rng = np.random.default_rng(2)
    found = []
    for number in range(40):
        a, b, _ = study(rng, 0.5)
        found.append(selection.swap_test(a, b, (1.0, 0.0), SHARE, "hard", 200, number)[:2])
    observed, null = np.mean(found, axis=0)
    assert observed > 0.2, "choosing by a makes an equal b look better"
    assert observed == pytest.approx(null, abs=0.02)


def test_a_model_that_is_robust_on_the_hardest_tenth_is_found() -> None:
    rng = np.random.default_rng(3)
    hits = []
    for number in range(60):
        a, b, hardness = study(rng, 0.5)
        hardest = hardness >= np.quantile(hardness, 0.9)
        b = np.where(hardest, np.maximum(b, 0.95), b)  # where the specialist breaks down, and the other does not
        hits.append(selection.swap_test(a, b, (1.0, 0.0), SHARE, "hard", 300, number)[2] <= 0.05)
    assert np.mean(hits) > 0.8


def test_choosing_by_what_no_model_touched_favours_none_of_two_equal_models() -> None:
    rng = np.random.default_rng(4)
    found = []
    for number in range(60):
        a, b, hardness = study(rng, 0.5)
        found.append(selection.swap_test(a, b, -hardness, SHARE, "hard", 50, number)[0])
    assert abs(np.mean(found)) < 0.03


def test_ties_at_the_edge_share_the_remaining_places() -> None:
    ease = np.array([0.0, 0.0, 0.0, 0.0, 0.5, 0.9, 1.0, 1.0, 1.0, 1.0])
    assert selection.selected(ease, 0.2, "hard")[0] == pytest.approx([0.5] * 4 + [0] * 6)
    assert selection.selected(ease, 0.5, "hard")[0] == pytest.approx([1] * 5 + [0] * 5)
    assert selection.selected(ease, 0.1, "easy")[0] == pytest.approx([0] * 6 + [0.25] * 4)
    shuffled = np.random.default_rng(0).permutation(10)
    assert selection.selected(ease[shuffled], 0.2, "hard")[0] == pytest.approx(
        selection.selected(ease, 0.2, "hard")[0][shuffled]
    )


def test_a_weighted_selection_is_that_of_the_repeated_cases() -> None:
    rng = np.random.default_rng(5)
    ease, times = rng.random(50).round(1), rng.integers(0, 4, 50)
    weighted = selection.selected(ease, 0.1, "hard", times[None].astype(float))[0]
    repeated = selection.selected(np.repeat(ease, times), 0.1, "hard")[0]
    assert weighted == pytest.approx([repeated[np.repeat(np.arange(50), times) == case].sum() for case in range(50)])


def test_a_case_without_a_covariate_is_never_chosen() -> None:
    ease = np.array([np.nan, 0.1, 0.2, np.nan, 0.3, 0.4])
    assert selection.selected(ease, 0.5, "hard")[0] == pytest.approx([0, 1, 1, 0, 0, 0])


def scores_of(a: np.ndarray, b: np.ndarray, third: np.ndarray | None = None, groups: int = 40) -> pd.DataFrame:
    models = {"specialist": a, "omnimodel": b, "specialist_seed_1": b} | ({} if third is None else {"third": third})
    parts = [
        pd.DataFrame(
            {
                "dataset": "d",
                "case": [f"c{i:03d}" for i in range(len(a))],
                "group": [f"g{i % groups}" for i in range(len(a))],
                "model": name,
                "threshold": 127,
                "dice": values,
                "hd95": 100 * (1 - values),
            }
        )
        for name, values in models.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_the_comparison_has_the_columns_that_others_read_and_a_p_for_each_selection() -> None:
    a, b, hardness = study(np.random.default_rng(6), 0.5)
    covariates = pd.DataFrame({"dataset": "d", "case": [f"c{i:03d}" for i in range(N)], "area": -hardness})
    table = selection.comparison_table(scores_of(a, b, a), covariates, 127, SHARE, 200, 200)
    wanted = ["dataset", "selection", "extreme", "n", "mean_a", "mean_b", "difference", "ci_low", "ci_high"]
    assert {*wanted, "swap_null", "swap_p"} <= set(table.columns)
    assert set(table["selection"]) == {"all", "specialist", "omnimodel", "mean", "third", "area"}
    whole = table[table["selection"] == "all"].iloc[0]
    assert whole["extreme"] == "all" and np.isnan(whole["swap_p"]) and whole["n"] == N
    assert whole["difference"] == pytest.approx(b.mean() - a.mean())
    rest = table[table["selection"] != "all"]
    assert rest["swap_p"].between(0, 1).all() and (rest["n"] == 19).all()
    hard = rest[(rest["selection"] == "specialist") & (rest["extreme"] == "hard")].iloc[0]
    chosen = np.argsort(a)[:19]
    assert hard["mean_a"] == pytest.approx(a[chosen].mean()) and hard["mean_b"] == pytest.approx(b[chosen].mean())
    assert hard["hd95_b"] == pytest.approx(100 * (1 - b[chosen]).mean())
    assert hard["swap_p"] > 0.05 and hard["ci_low"] > 0, "a bootstrap does not see the artefact; the swap test does"


def test_the_interval_chooses_anew_in_each_resample_of_whole_groups() -> None:
    # Two groups of 50 cases, one hard for a and one easy: where the easy one is drawn twice, its own hardest count.
    a = np.ravel(np.column_stack([np.linspace(0.0, 0.1, 50), np.linspace(0.8, 0.9, 50)]))
    table = selection.comparison_table(
        scores_of(a, 1 - a, groups=2), pd.DataFrame(columns=["dataset", "case"]), 127, 0.1
    )
    hard = table[(table["selection"] == "specialist") & (table["extreme"] == "hard")].iloc[0]
    assert hard["n"] == 10 and hard["mean_a"] < 0.02
    assert hard["ci_low"] == pytest.approx(1 - 2 * np.linspace(0.8, 0.9, 50)[:5].mean()) and hard["ci_high"] > 0.9


def test_two_seeds_of_one_network_show_the_selection_alone() -> None:
    a, b, _ = study(np.random.default_rng(7), 0.75)
    table = selection.seeds_table(scores_of(a, b), 127, SHARE, 200, 0)
    by_first = table[(table["chosen by"] == "first seed") & (table["extreme"] == "hard")].iloc[0]
    by_other = table[(table["chosen by"] == "other seed") & (table["extreme"] == "hard")].iloc[0]
    assert by_first["difference"] > 0 > by_other["difference"]


def test_the_difficulty_curve_has_the_means_of_its_bins() -> None:
    a, b, hardness = study(np.random.default_rng(8), 0.5)
    covariates = pd.DataFrame({"dataset": "d", "case": [f"c{i:03d}" for i in range(N)], "area": -hardness})
    table = selection.curve_table(scores_of(a, b), covariates, 127, 4)
    assert (table["n"] == 95).all() and table["mean_a"].is_monotonic_increasing
    assert table["mean_a"].iloc[0] == pytest.approx(a[np.argsort(-hardness)[:95]].mean())


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.5], [0.5, np.nan, 0.7]])
def test_few_cases_have_a_curve_only_where_their_difficulty_differs(values: list[float]) -> None:
    cases = [f"c{i:03d}" for i in range(3)]
    covariates = pd.DataFrame({"dataset": "d", "case": cases[: len(values)], "area": np.array(values, dtype=float)})
    table = selection.curve_table(scores_of(np.array([0.1, 0.2, 0.3]), np.zeros(3)), covariates, 127)
    assert len(table) == (2 if len(values) == 3 else 0)


def test_resamples_draw_whole_groups() -> None:
    weights = selection.group_weights(["a", "a", "b", "c"], 300, 0)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert weights[:, 1:].sum(1) == pytest.approx(np.full(300, 3.0))
