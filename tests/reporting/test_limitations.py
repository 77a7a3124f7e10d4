"""What stands against the results of a hand-made run is found in its tables, and nothing that is not there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.reporting import limitations, run_facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def lines(folder: Path) -> list[str]:
    return limitations.of_results(run_facts.read(folder))


def told(folder: Path) -> str:
    return " ".join(lines(folder))


def test_arm_that_does_not_beat_a_trivial_baseline_is_a_limitation(run: Path) -> None:
    answer = told(run)
    assert "arm raw (AUROC 0.700) is not distinguishable from a trivial baseline" in answer
    assert "arm photos (AUROC 0.600) falls below a trivial baseline" in answer
    assert "arm cropped" not in answer


def test_shortcut_of_the_view_is_a_limitation_with_what_is_left_without_it(run: Path) -> None:
    folder = run / "04_external_validation"
    baselines = pd.read_csv(folder / "baselines.csv")
    view = baselines.iloc[[0]].assign(baseline="view", title="view (AP)", value=0.79, ci_low=0.7, ci_high=0.88)
    pd.concat([baselines, view]).to_csv(folder / "baselines.csv", index=False)
    metrics = pd.read_csv(folder / "metrics.csv")
    adjusted = metrics[(metrics["dataset"] == "kermany") & (metrics["metric"] == "auroc")].iloc[[0]]
    pd.concat(
        [metrics, adjusted.assign(subgroup="view-adjusted", value=0.52, ci_low=0.4, ci_high=0.6, primary=True)]
    ).to_csv(folder / "metrics.csv", index=False)
    answer = told(run)
    assert "the view alone reaches AUROC 0.790 (0.700 to 0.880)" in answer
    assert "cropped adjusted for view 0.520 (0.400 to 0.600)" in answer


def test_what_is_adjusted_for_the_view_comes_first_and_whole(run: Path) -> None:
    folder = run / "04_external_validation"
    baselines = pd.read_csv(folder / "baselines.csv")
    view = baselines.iloc[[0]].assign(baseline="view", title="view (AP)", value=0.79, ci_low=0.7, ci_high=0.88)
    pd.concat([baselines, view]).to_csv(folder / "baselines.csv", index=False)
    metrics = pd.read_csv(folder / "metrics.csv")
    rows = metrics[(metrics["dataset"] == "kermany") & (metrics["metric"] == "auroc")].drop_duplicates("arm")
    # As notebook 04 writes them: parts first, and three arms of three rows are more than a statement names.
    parts = [rows.assign(subgroup=name, primary=True) for name in ("view AP", "view PA", "view-adjusted")]
    pd.concat([metrics, *parts]).to_csv(folder / "metrics.csv", index=False)
    (line,) = [text for text in lines(run) if "the view alone" in text]
    left = line.split("With the view excluded: ")[1]
    for arm in run_fixture.ARMS:
        assert f"{arm} adjusted for view" in left
    assert left.index("adjusted for view") < left.index("view AP")
    assert left.rindex("adjusted for view") < left.index("view AP")


def test_baseline_trained_on_the_set_that_an_arm_does_not_beat_is_a_marked_sentence(run: Path) -> None:
    assert "trained on this set" not in told(run)
    path = run / "04_external_validation" / "comparison.csv"
    table = pd.read_csv(path)
    trained = table.assign(kind="trained", baseline="thumbnail_trained", title="thumbnail (trained here)")
    trained = trained.assign(baseline_auroc=0.95, verdict=["falls below", "falls below", "beats"])
    pd.concat([table, trained]).to_csv(path, index=False)
    (line,) = [text for text in lines(run) if "trained on this set" in text]
    assert "reaches AUROC 0.950 (thumbnail (trained here))" in line
    assert "cropped 0.800, falls below it; raw 0.700, falls below it" in line and "photos" not in line


def test_view_that_tells_nothing_is_no_limitation(run: Path) -> None:
    folder = run / "04_external_validation"
    baselines = pd.read_csv(folder / "baselines.csv")
    view = baselines.iloc[[0]].assign(baseline="view", value=0.52, ci_low=0.45, ci_high=0.59)
    pd.concat([baselines, view]).to_csv(folder / "baselines.csv", index=False)
    assert "the view alone" not in told(run)


def test_grad_cam_below_a_blob_at_the_centre_is_a_limitation_only_where_it_is(run: Path) -> None:
    row = {"dataset": "kermany", "centre_prior_less_low": -0.02, "centre_prior_less_high": 0.02}
    table = pd.DataFrame(
        [
            row | {"map": "cropped", "metric": "energy", "value": 0.10, "centre_prior_less": -0.01},
            row | {"map": "raw", "metric": "energy", "value": 0.12, "centre_prior_less": 0.01},
            row | {"map": "cropped", "metric": "iou", "value": 0.20, "centre_prior_less": 0.03},
        ]
    )
    table.to_csv(run / "05_interpretability" / "saliency.csv", index=False)
    told = [line for line in limitations.of_run(run_facts.read(run)) if "blob" in line]
    assert told == [
        "Chest X-Ray (Kermany): energy in the lesion of the saliency map is below that of a blob at the centre: "
        "cropped 0.100, -0.010 (-0.020 to +0.020)."
    ]


def test_a_number_that_was_chosen_on_the_labels_is_called_an_optimistic_bound(run: Path) -> None:
    path = run / "04_external_validation" / "comparison.csv"
    table = pd.read_csv(path).assign(kind="best way", chosen_from=5)
    table.to_csv(path, index=False)
    told = " ".join(limitations.beside_baselines(run_facts.read(run)))
    assert "the largest of 5 image statistics, each with its sign chosen on these labels: an optimistic bound" in told


def test_a_part_of_a_published_set_is_a_limitation_with_its_share(run: Path) -> None:
    path = run / "04_external_validation" / "datasets.csv"
    table = pd.read_csv(path)
    table["published"] = [None, 5856]
    table.to_csv(path, index=False)
    told = " ".join(limitations.of_results(run_facts.read(run)))
    assert "Chest X-Ray (Kermany): 24 of the 5,856 films published (0.4%) were scored" in told
