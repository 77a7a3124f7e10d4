from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from metrics.metrics_fixture import called_cohort

from nbhelpers.metrics import decisions
from nbhelpers.validation import operating_point, tables


def test_threshold_comes_from_synthetic_validation_alone_and_is_carried_over_unchanged(tmp_path):
    labels, scores = called_cohort(80)
    (tmp_path / "cropped").mkdir()
    (tmp_path / "own").mkdir()
    pd.DataFrame({"image_id": range(80), "label": labels, "score": scores}).to_csv(
        tmp_path / "cropped/validation.csv", index=False
    )
    chosen = operating_point.thresholds({name: SimpleNamespace(folder=tmp_path / name) for name in ("cropped", "own")})
    assert list(chosen["arm"]) == ["cropped"]
    assert chosen["threshold"][0] == decisions.choose_threshold(labels, scores)
    films, film_scores = called_cohort(120, seed=5)
    predictions = pd.DataFrame(
        {
            **{"dataset": "kermany", "image_id": [str(i) for i in range(120)], "label": films, "score": film_scores},
            "patient_id": [f"p{i // 3}" for i in range(120)],
        }
    )
    both = pd.concat([predictions.assign(arm="cropped"), predictions.assign(arm="own")])
    table = operating_point.transfer_table(both, chosen, n_resamples=100)
    assert set(table["arm"]) == {"cropped"} and set(table["ci_method"]) == {"bootstrap_patient"}
    expected = decisions.rates(films, film_scores, chosen["threshold"][0])
    assert table.set_index("metric")["value"].to_dict() == pytest.approx(expected)
    assert len(tables.operating_points(table)) == 1
    none = operating_point.transfer_table(both, chosen.iloc[:0])
    assert none.empty and tables.operating_points(none).empty


def test_a_single_patient_gives_rates_and_no_interval():
    labels, scores = called_cohort(60)
    predictions = pd.DataFrame(
        {
            **{"dataset": "own", "arm": "a", "image_id": [str(i) for i in range(60)], "label": labels},
            **{"score": scores, "patient_id": "one"},
        }
    )
    chosen = pd.DataFrame({"arm": ["a"], "threshold": [0.5]})
    table = operating_point.transfer_table(predictions, chosen, n_resamples=20)
    assert set(table["ci_method"]) == {"too_few"} and table["value"].notna().all()
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)
    assert "too few patients" in tables.operating_points(table).loc[0, "sensitivity"]
    # One patient with pneumonia among several: sensitivity rests on that patient alone, specificity does not.
    patients = np.where(labels == 1, "ill", np.char.add("p", (np.arange(60) // 2).astype(str)))
    found = decisions.rates_ci(labels, scores, 0.5, patients, n_resamples=200)
    assert np.isnan(found["sensitivity"].low) and np.isfinite(found["specificity"].low)


def test_a_network_without_validation_images_is_named_with_what_to_do(tmp_path):
    labels, scores = called_cohort(80)
    (tmp_path / "cropped").mkdir()
    pd.DataFrame({"label": labels, "score": scores}).to_csv(tmp_path / "cropped/validation.csv", index=False)
    networks = {name: SimpleNamespace(folder=tmp_path / name) for name in ("cropped", "own")}
    chosen = operating_point.thresholds(networks)
    assert list(chosen["chosen_on"]) == [operating_point.SYNTHETIC]
    (line,) = operating_point.missing(networks, chosen)
    assert line.startswith("own: no operating point") and "--validation" in line
