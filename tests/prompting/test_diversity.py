"""How diverse images are: closed forms, other implementations, and cases made by hand."""

import numpy as np
import pytest
from prompting.images_fixture import embedding_of, table_of
from scipy.linalg import eigvalsh
from scipy.spatial.distance import pdist
from scipy.stats import entropy

from nbhelpers.images.files import write_png
from nbhelpers.prompting import diversity, figures
from nbhelpers.prompting.diversity import effective_levels, mean_distance, vendi_score


def test_vendi_score_counts_what_is_different():
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((5, 3))) == pytest.approx(1)
    # Two groups of copies: two images, whatever their number; an uneven split counts less.
    assert vendi_score(np.repeat(np.eye(2), 10, axis=0)) == pytest.approx(2)
    uneven = np.vstack([np.tile([1.0, 0.0], (9, 1)), [[0.0, 1.0]]])
    assert vendi_score(uneven) == pytest.approx(np.exp(entropy([0.9, 0.1])))
    assert np.isnan(vendi_score(np.zeros((0, 4))))


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (20, 20)])
def test_vendi_score_equals_the_definition_on_the_full_kernel(shape):
    values = np.random.default_rng(0).normal(size=shape) + 0.5
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    eigenvalues = eigvalsh(unit @ unit.T / len(unit)).clip(1e-15)
    assert vendi_score(values) == pytest.approx(np.exp(-(eigenvalues * np.log(eigenvalues)).sum()), rel=1e-6)


def test_mean_distance_equals_scipys_over_all_pairs():
    values = np.random.default_rng(1).normal(size=(25, 6)) + 1
    assert mean_distance(values) == pytest.approx(pdist(values, "cosine").mean())
    assert mean_distance(np.ones((4, 2))) == pytest.approx(0, abs=1e-12) and np.isnan(mean_distance(np.ones((1, 2))))


def test_effective_levels_are_the_exponential_of_scipys_entropy():
    for counts in ([5, 5, 5], [9, 1], [4]):
        assert effective_levels(np.array(counts, float)) == pytest.approx(np.exp(entropy(counts)))
    assert effective_levels(np.array([])) == 0


def test_coverage_tells_what_was_asked_and_what_came():
    images = table_of()
    lost = (images["label"] == "pneumonia") & (images["sex"] == "male")
    images.loc[lost, "status"] = "given up: image_blocked"
    covered = diversity.coverage(images).set_index(["label", "attribute"])
    row = covered.loc[("pneumonia", "sex")]
    assert (row["levels"], row["came"], row["missing"]) == (2, 1, "male")
    assert (
        row["effective_asked"] == pytest.approx(2) and row["effective_came"] == 1 and row["kept"] == pytest.approx(0.5)
    )
    assert covered.loc[("normal", "sex"), "kept"] == 1
    assert ("normal", "pattern") not in covered.index
    told = diversity.less_diverse_than_asked(
        covered.reset_index(), diversity.visibility(images.iloc[:0], embedding_of(0))
    )
    assert told[["attributes", "why"]].to_numpy().tolist()[0] == [
        "sex",
        "pneumonia: 50% of the requested diversity obtained; none with male",
    ]


def test_sample_takes_the_same_number_of_every_source_and_class_and_whole_pairs():
    images = table_of(80, ("simulator", "gemini"))
    images.loc[(images["source"] == "gemini") & (images.index % 80 > 50), "status"] = "given up: no_image"
    chosen = diversity.sample(images, 20, seed=3)
    assert chosen.groupby(["source", "label"]).size().tolist() == [20] * 4
    for _, rows in chosen[chosen["source"] == "simulator"].groupby("pair_id"):
        assert len(rows) == 2
    smaller = diversity.sample(images, 1000, seed=3)
    assert (
        smaller.groupby(["source", "label"]).size().to_list()
        == [smaller.groupby(["source", "label"]).size().iloc[0]] * 4
    )
    assert diversity.sample(images, 20, 3).equals(chosen) and not diversity.sample(images, 20, 4).equals(chosen)
    assert diversity.sample(images.iloc[:6], 20, 0).empty


def test_too_few_images_are_said_and_stop_nothing(tmp_path):
    few = table_of(6)
    chosen = diversity.sample(few, 20, 0)
    embedding = diversity.embed(chosen, tmp_path, "resnet10t", "random", 64)
    spread, visible = diversity.spread(chosen, embedding), diversity.visibility(chosen, embedding)
    assert chosen.empty and spread.empty and visible.empty
    figure = figures.figure_diversity(spread, visible)
    assert "too few" in figure.axes[0].texts[0].get_text()
    some = figures.figure_diversity(diversity.spread(few, embedding_of(6)), visible)
    assert len(some.axes) == 2


def test_attribute_that_shows_is_told_and_one_that_does_not_is_named():
    images = table_of(240)
    shows = 4.0 * (images["sex"] == "male").to_numpy()
    visible = diversity.visibility(images, embedding_of(240, c0=shows)).set_index("attribute")
    assert visible.loc["sex", "told"] > 0.8 and visible.loc["sex", "comes_out"]
    assert not visible.loc["habitus", "comes_out"] and visible.loc["pattern", "told"] < 0.3
    told = diversity.less_diverse_than_asked(diversity.coverage(images), visible.reset_index())
    assert "sex" not in told["attributes"].iloc[0] and "habitus" in told["attributes"].iloc[0]


def test_chance_is_passed_by_about_one_in_twenty():
    passed = []
    values, groups = np.array(["female", "male"] * 40), np.arange(80).astype(str)
    for seed in range(40):
        told, limit = diversity._probe(np.random.default_rng(seed).normal(size=(80, 6)), values, groups, 5)
        passed.append(told > limit)
    assert np.mean(passed) < 0.2


def test_spread_falls_when_a_source_repeats_itself(tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = table_of(48, ("simulator", "gemini"))
    same = rng.integers(0, 255, (64, 64), dtype=np.uint8)
    for source, path in zip(images["source"], images["path"], strict=True):
        picture = rng.integers(0, 255, (64, 64), dtype=np.uint8) if source == "simulator" else same
        write_png(tmp_path / source / path, picture)
    chosen = diversity.sample(images, 24, 0)
    embedding = diversity.embed(chosen, tmp_path, "resnet10t", "random", 64, device="cpu")
    assert "embedded by resnet10t: random\n" in capsys.readouterr().out
    told = diversity.spread(chosen, embedding).set_index(["source", "label"])
    for label in ("pneumonia", "normal"):
        assert told.loc[("gemini", label), "vendi"] == pytest.approx(1, abs=1e-3)
        assert told.loc[("simulator", label), "vendi"] > told.loc[("gemini", label), "vendi"]
        assert told.loc[("gemini", label), "mean_distance"] < 1e-5 < told.loc[("simulator", label), "mean_distance"]
    assert told["near_duplicates"].groupby("source").sum().to_dict() == {"gemini": 47, "simulator": 0}
    assert (
        told["simulated"].to_dict()[("simulator", "normal")] and not told["simulated"].to_dict()[("gemini", "normal")]
    )
