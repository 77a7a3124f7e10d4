"""The simulated hospital's planted shortcut, through what notebook 04 calls to what report and model card say of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.films import registry
from nbhelpers.films.cache import film_arrays
from nbhelpers.reporting import limitations, model_card, run_facts
from nbhelpers.runs.tables import write_table
from nbhelpers.validation import baselines, evaluation, scores, subgroups

PATIENTS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notebook 04 without a network: one arm's scores know the view alone, the other's the disease alone."""
    folder = tmp_path_factory.mktemp("outputs") / "hospital"
    parameters = {"hospital_patients": PATIENTS, "seed": 3, "workers": 1}
    sets = registry.load_all(["simulated_hospital"], parameters, folder)
    decoded = {
        name: scores.Films(found, table, arrays)
        for name, found in sets.items()
        for arrays, table in [film_arrays(found, (baselines.SIZE,), folder / "cache", 1)]
    }
    films = decoded["simulated_hospital"].table
    rng = np.random.default_rng(0)
    known = {"view_reader": films["view"] == "AP", "lung_reader": films["label"] == 1}
    predictions = pd.concat(
        [
            films[list(scores.KEPT_COLUMNS)].assign(
                arm=arm, dataset="simulated_hospital", score=1 / (1 + np.exp(-rng.normal(3.0 * knows, 1, len(films))))
            )
            for arm, knows in known.items()
        ],
        ignore_index=True,
    )
    directions = pd.DataFrame(columns=["baseline", "direction", "synthetic_auroc"])
    trivial = evaluation.all_baselines(decoded, directions)
    results, by_group = (
        make(predictions, n_resamples=200) for make in (evaluation.metrics_table, subgroups.metrics_table)
    )
    stage = folder / "04_external_validation"
    for name, table in {
        "datasets": registry.summary(sets),
        "exclusions": registry.exclusions(sets),
        "predictions": predictions,
        "metrics": evaluation.joined(results, by_group),
        "baselines": evaluation.baselines_tables(trivial, decoded, 200),
        "comparison": evaluation.compare_with_baselines(predictions, trivial, 200),
    }.items():
        write_table(table, stage / f"{name}.csv")
    arms = {name: {"source": "simulator", "crop": "none"} for name in known}
    run_fixture._stage(folder, "04_external_validation", {"arms": arms, "datasets": ["simulated_hospital"]})
    return folder


def test_the_view_alone_tells_pneumonia_and_is_the_strongest_trait_of_a_patient(run: Path) -> None:
    table = pd.read_csv(run / "04_external_validation" / "baselines.csv").query("metric == 'auroc'")
    rows = table.set_index("baseline")
    assert rows.loc["view", "ci_low"] > 0.55
    assert rows.loc[["age", "sex"], "value"].sub(0.5).abs().max() < rows.loc["view", "value"] - 0.5


def test_limitations_name_the_shortcut_and_what_is_left_of_each_arm_without_it(run: Path) -> None:
    (line,) = [text for text in limitations.of_results(run_facts.read(run)) if "the view alone" in text]
    assert line.startswith("Other hospital (simulated): the view alone reaches AUROC 0.7")
    table = pd.read_csv(run / "04_external_validation" / "metrics.csv").query("metric == 'auroc'")
    adjusted = table[table["subgroup"] == "view-adjusted"].set_index("arm")
    whole = table[(table["subgroup"] == "all") & table["primary"]].set_index("arm")
    # The arm that reads the view loses all of it, the one that reads the lung next to nothing.
    assert whole.loc["view_reader", "ci_low"] > 0.5
    assert adjusted.loc["view_reader", "ci_low"] < 0.5 < adjusted.loc["view_reader", "ci_high"]
    assert adjusted.loc["lung_reader", "value"] == pytest.approx(whole.loc["lung_reader", "value"], abs=0.05)
    for arm, row in adjusted.iterrows():
        assert f"{arm} adjusted for view {run_facts.interval(row)}" in line


def test_the_arm_that_reads_the_view_is_said_not_to_beat_it(run: Path) -> None:
    told = " ".join(limitations.of_results(run_facts.read(run)))
    assert "arm view_reader" in told and "does not" not in told.split("arm view_reader")[0]
    assert "the view alone" in model_card.write(run).read_text(encoding="utf-8")
