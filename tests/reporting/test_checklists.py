"""Checklists: the published items, filled from a hand-made run, and never more than that run knows."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from reporting import run_fixture

from nbhelpers.errors import UserError
from nbhelpers.reporting import checklists, run_facts, statements

DROPS = {"blur": 0.01, "jpeg": 0.15}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


def filled(folder: Path) -> pd.DataFrame:
    return checklists.fill(run_facts.read(folder))


def item(table: pd.DataFrame, checklist: str, number: str) -> dict[str, str]:
    (row,) = table[(table["checklist"] == checklist) & (table["item"] == number)].to_dict("records")
    return row


def test_claim_2024_has_its_44_items() -> None:
    items = [entry["item"] for entry in checklists.read_items("claim2024")["items"]]
    assert items == [str(number) for number in range(1, 45)]


def test_tripod_ai_has_its_27_items_and_their_parts() -> None:
    items = [entry["item"] for entry in checklists.read_items("tripod_ai")["items"]]
    parts = {
        3: "abc",
        5: "ab",
        6: "abc",
        8: "abc",
        9: "abc",
        12: "abcdefg",
        18: "abcdef",
        20: "abc",
        23: "ab",
        27: "abc",
    }
    expected = [f"{number}{letter}" for number in range(1, 28) for letter in parts.get(number, " ")]
    assert items == [name.strip() for name in expected]
    assert len(items) == 52


def test_every_item_is_filled_by_the_run_or_left_open() -> None:
    for checklist in checklists.CHECKLISTS:
        for entry in checklists.read_items(checklist)["items"]:
            assert entry.get("fills") or entry.get("open"), entry
            assert set(entry.get("fills", [])) <= set(statements.TOPICS), entry


def test_what_a_run_knows_is_filled_in(run: Path) -> None:
    table = filled(run)
    assert "14 and 4" in item(table, "CLAIM 2024", "19")["answer"]
    assert "0.800 (0.750 to 0.850)" in item(table, "CLAIM 2024", "37")["answer"]
    assert "Chest X-Ray (Kermany): 4 unreadable, 2 file missing" in item(table, "CLAIM 2024", "8")["answer"]
    assert "timm 1.0.15" in item(table, "CLAIM 2024", "23")["answer"]
    assert item(table, "TRIPOD+AI", "22")["status"] == "filled"


def test_what_a_run_cannot_know_is_open_and_says_what_is_left(run: Path) -> None:
    table = filled(run)
    for checklist, number in (("CLAIM 2024", "44"), ("TRIPOD+AI", "18a"), ("TRIPOD+AI", "19")):
        row = item(table, checklist, number)
        assert row["status"] == "open" and pd.isna(row["answer"])
    assert item(table, "CLAIM 2024", "44")["open"] == "funding"


def test_status_follows_from_answer_and_open(run: Path) -> None:
    table = filled(run)
    answered, left = table["answer"].notna(), table["open"].notna()
    assert (table["status"] == "filled").equals(answered & ~left)
    assert (table["status"] == "partly").equals(answered & left)
    assert (table["status"] == "open").equals(~answered)
    assert (answered | left).all()


def test_stage_that_has_not_run_leaves_its_items_open(tmp_path: Path) -> None:
    table = filled(run_fixture.write(tmp_path / "demo", with_validation=False))
    for number in ("33", "37", "28"):
        row = item(table, "CLAIM 2024", number)
        assert row["status"] in ("open", "partly") and "this run has not written it" in row["open"]


def test_run_on_simulated_films_alone_claims_no_real_external_data(run: Path) -> None:
    for name in ("datasets", "predictions", "metrics", "exclusions", "comparison", "baselines"):
        path = run / "04_external_validation" / f"{name}.csv"
        pd.read_csv(path).query("dataset != 'kermany'").to_csv(path, index=False)
    table = filled(run)
    assert "no real external data" in item(table, "CLAIM 2024", "33")["answer"]
    assert "In silico" in item(table, "CLAIM 2024", "5")["answer"]


def test_operating_point_and_subgroups_are_told_once_they_are_there(run: Path) -> None:
    path = run / "04_external_validation" / "metrics.csv"
    table = pd.read_csv(path)
    row = table[table["metric"] == "auroc"].iloc[[0]]
    more = [row.assign(metric="sensitivity", value=0.61), row.assign(subgroup="view=AP", value=0.55)]
    pd.concat([table, *(part.assign(primary=True) for part in more)]).to_csv(path, index=False)
    table = filled(run)
    assert "sensitivity 0.610" in item(table, "CLAIM 2024", "38")["answer"]
    assert "view=AP: 0.550" in item(table, "TRIPOD+AI", "23a")["answer"]
    assert "No operating point" not in item(table, "CLAIM 2024", "40")["answer"]


def test_differences_calibration_and_robustness_are_told_once_they_are_there(run: Path) -> None:
    folder, common = run / "04_external_validation", {"arm": "raw", "dataset": "kermany", "n": 24}
    pair = {"arm_a": "cropped", "arm_b": "raw", "metric": "auroc", "difference": 0.1, "ci_low": 0.02, "ci_high": 0.18}
    rows = [{"dataset": "kermany", **pair, "p_value": 0.01, "p_holm": 0.03, "method": "x", "primary": True}]
    pd.DataFrame(rows).to_csv(folder / "arm_differences.csv", index=False)
    rows = [{**common, "probabilities": "as predicted", "metric": "slope", "value": 0.4, "ci_low": 0.2, "ci_high": 0.6}]
    pd.DataFrame(rows).to_csv(folder / "calibration.csv", index=False)
    rows = [{**common, "change": name, "strength": 1.0, "auroc": 0.6, "drop": drop} for name, drop in DROPS.items()]
    pd.DataFrame(rows).to_csv(folder / "robustness.csv", index=False)
    table = filled(run)
    assert (
        "cropped minus raw: +0.100 (+0.020 to +0.180), p = 0.030 after Holm"
        in item(table, "CLAIM 2024", "29")["answer"]
    )
    assert "raw, as predicted: slope 0.400 (0.200 to 0.600)" in item(table, "TRIPOD+AI", "12f")["answer"]
    assert "raw: 0.150 under jpeg" in item(table, "CLAIM 2024", "30")["answer"]


def test_own_films_leave_their_labels_and_readers_to_the_authors(run: Path) -> None:
    path = run / "04_external_validation" / "datasets.csv"
    pd.read_csv(path).replace({"kermany": "folder", "Chest X-Ray (Kermany)": "Own films"}).to_csv(path, index=False)
    table = filled(run)
    for number in ("14", "16", "11", "5"):
        row = item(table, "CLAIM 2024", number)
        assert row["status"] == "partly" and "own films" in row["open"]


class _Rows(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows = self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += tag == "tr"
        self.scripts += tag == "script"


def test_written_files_hold_every_item_and_escape_what_the_run_says(run: Path) -> None:
    path = run / "03_training" / "raw" / "model.json"
    model = json.loads(path.read_text()) | {"backbone": "<script>alert(1)</script>"}
    path.write_text(json.dumps(model))
    page = checklists.write(run)
    parser = _Rows()
    parser.feed(page.read_text(encoding="utf-8"))
    assert parser.rows == 44 + 52 + 2 and parser.scripts == 0
    assert len(pd.read_csv(page.with_name("claim2024.csv"))) == 44
    assert len(pd.read_csv(page.with_name("tripod_ai.csv"))) == 52
    assert not re.search(r"https?://", page.read_text()), "opens with no network"


def test_folder_without_a_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage of a run"):
        filled(tmp_path)
