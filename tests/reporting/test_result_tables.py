"""Results as report and model card show them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.reporting import result_tables, run_facts


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def test_only_what_was_written_has_a_section(run: Path) -> None:
    assert result_tables.sections(run_facts.read(run)) == []


def test_pairs_are_told_by_bootstrap_and_by_delong_with_holms_correction(run: Path) -> None:
    row = {"dataset": "kermany", "arm_a": "cropped", "arm_b": "raw", "metric": "auroc", "difference": 0.1}
    row |= {"ci_low": 0.02, "ci_high": 0.18, "p_value": 0.01, "p_holm": 0.03}
    rows = [
        row | {"method": how, "primary": how != "paired_delong"}
        for how in ("paired_bootstrap_patient", "paired_delong")
    ]
    pd.DataFrame(rows).to_csv(run / "04_external_validation" / "arm_differences.csv", index=False)
    (section,) = result_tables.sections(run_facts.read(run))
    assert section["columns"][-3:] == ["p", "p after Holm", "method"]
    assert [line[-1] for line in section["rows"]] == ["paired bootstrap over patients", "paired DeLong"]


def test_a_value_that_is_not_there_says_why(run: Path) -> None:
    path = run / "04_external_validation" / "metrics.csv"
    metrics = pd.read_csv(path)
    few = metrics[metrics["primary"]].iloc[[0]].assign(subgroup="age 0-17", ci_method="too_few")
    few[["value", "ci_low", "ci_high"]] = None
    pd.concat([metrics, few]).to_csv(path, index=False)
    table = result_tables.subgroups(run_facts.read(run))
    assert table.iloc[0]["AUROC"] == "too few of a class" and "too_few" not in table.to_string()
