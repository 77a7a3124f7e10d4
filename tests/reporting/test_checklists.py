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
from nbhelpers.reporting import checklists, limitations, run_facts, statements

DROPS = {"blur": 0.01, "jpeg": 0.15}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_fixture.write(tmp_path / "demo")


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
    table = checklists.fill(run)
    assert "14 and 4" in item(table, "CLAIM 2024", "19")["answer"]
    assert "0.800 (0.750 to 0.850)" in item(table, "CLAIM 2024", "37")["answer"]
    assert "kermany: 4 unreadable, 2 file missing" in item(table, "CLAIM 2024", "8")["answer"]
    assert "timm 1.0.15" in item(table, "CLAIM 2024", "23")["answer"]
    assert item(table, "TRIPOD+AI", "22")["status"] == "filled"


def test_what_a_run_cannot_know_is_open_and_listed(run: Path) -> None:
    table = checklists.fill(run)
    for checklist, number in (("CLAIM 2024", "44"), ("TRIPOD+AI", "18a"), ("TRIPOD+AI", "19")):
        row = item(table, checklist, number)
        assert row["status"] == "open" and pd.isna(row["answer"])
    listed = checklists.open_items(table)
    assert "CLAIM 2024, item 44: funding" in listed
    assert len(listed) == (table["status"] != "filled").sum()


def test_status_follows_from_answer_and_open(run: Path) -> None:
    table = checklists.fill(run)
    answered, left = table["answer"].notna(), table["open"].notna()
    assert (table["status"] == "filled").equals(answered & ~left)
    assert (table["status"] == "partly").equals(answered & left)
    assert (table["status"] == "open").equals(~answered)
    assert (answered | left).all()


def test_stage_that_has_not_run_leaves_its_items_open(tmp_path: Path) -> None:
    table = checklists.fill(run_fixture.write(tmp_path / "demo", with_validation=False))
    for number in ("33", "37", "28"):
        row = item(table, "CLAIM 2024", number)
        assert row["status"] in ("open", "partly") and "this run has not written it" in row["open"]


def test_run_on_simulated_films_alone_claims_no_real_external_data(run: Path) -> None:
    for name in ("datasets", "predictions", "metrics", "exclusions", "comparison", "baselines"):
        path = run / "04_external_validation" / f"{name}.csv"
        pd.read_csv(path).query("dataset != 'kermany'").to_csv(path, index=False)
    table = checklists.fill(run)
    assert "no real external data" in item(table, "CLAIM 2024", "33")["answer"]
    assert "In silico" in item(table, "CLAIM 2024", "5")["answer"]


def test_arm_that_does_not_beat_a_trivial_baseline_is_a_limitation(run: Path) -> None:
    answer = item(checklists.fill(run), "CLAIM 2024", "40")["answer"]
    assert "arm raw (AUROC 0.700) is not distinguishable from a trivial baseline" in answer
    assert "arm photos (AUROC 0.600) falls below a trivial baseline" in answer
    assert "arm cropped" not in answer


def test_operating_point_and_subgroups_are_told_once_they_are_there(run: Path) -> None:
    path = run / "04_external_validation" / "metrics.csv"
    table = pd.read_csv(path)
    row = table[table["metric"] == "auroc"].iloc[[0]]
    more = [row.assign(metric="sensitivity", value=0.61), row.assign(subgroup="view=AP", value=0.55)]
    pd.concat([table, *(part.assign(primary=True) for part in more)]).to_csv(path, index=False)
    filled = checklists.fill(run)
    assert "sensitivity 0.610" in item(filled, "CLAIM 2024", "38")["answer"]
    assert "view=AP: 0.550" in item(filled, "TRIPOD+AI", "23a")["answer"]
    assert "No operating point" not in item(filled, "CLAIM 2024", "40")["answer"]


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
    answer = item(checklists.fill(run), "CLAIM 2024", "40")["answer"]
    assert "the view alone reaches AUROC 0.790 (0.700 to 0.880)" in answer
    assert "cropped view-adjusted 0.520 (0.400 to 0.600)" in answer


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
    (line,) = [text for text in limitations.of_results(run_facts.read(run)) if "the view alone" in text]
    told = line.split("Without it: ")[1]
    for arm in run_fixture.ARMS:
        assert f"{arm} view-adjusted" in told
    assert told.index("view-adjusted") < told.index("view AP") and told.rindex("view-adjusted") < told.index("view AP")


def test_baseline_trained_on_the_set_that_an_arm_does_not_beat_is_a_marked_sentence(run: Path) -> None:
    assert "trained on this very set" not in item(checklists.fill(run), "CLAIM 2024", "40")["answer"]
    path = run / "04_external_validation" / "comparison.csv"
    table = pd.read_csv(path)
    trained = table.assign(kind="trained", baseline="thumbnail_trained", title="thumbnail (trained here)")
    trained = trained.assign(baseline_auroc=0.95, verdict=["falls below", "falls below", "beats"])
    pd.concat([table, trained]).to_csv(path, index=False)
    (line,) = [text for text in limitations.of_results(run_facts.read(run)) if "trained on this very set" in text]
    assert "reaches AUROC 0.950 (thumbnail (trained here))" in line
    assert "cropped 0.800, falls below it; raw 0.700, falls below it" in line and "photos" not in line


def test_both_rsna_cohorts_are_told_and_the_easy_one_is_marked(run: Path) -> None:
    path = run / "04_external_validation" / "datasets.csv"
    table = pd.read_csv(path).assign(dataset=["rsna", "rsna_full"], simulated=False)
    table.assign(title=["RSNA 2018", "RSNA 2018 (all classes)"]).to_csv(path, index=False)
    record = run / "04_external_validation" / "run.json"
    facts = json.loads(record.read_text())
    facts["parameters"] |= {"rsna_cohort": "paper", "datasets": ["rsna", "rsna_full"]}
    record.write_text(json.dumps(facts))
    found = run_facts.read(run)
    assert "RSNA 2018 (all classes) stands beside it" in " ".join(limitations.of_results(found))
    assert "cohort 'paper', 'full'" in statements.state("subsets", found).text
    assert statements.state("reference_standard", found).text.count("radiologists' reading") == 2


def test_view_that_tells_nothing_is_no_limitation(run: Path) -> None:
    folder = run / "04_external_validation"
    baselines = pd.read_csv(folder / "baselines.csv")
    view = baselines.iloc[[0]].assign(baseline="view", value=0.52, ci_low=0.45, ci_high=0.59)
    pd.concat([baselines, view]).to_csv(folder / "baselines.csv", index=False)
    assert "the view alone" not in item(checklists.fill(run), "CLAIM 2024", "40")["answer"]


def test_differences_calibration_and_robustness_are_told_once_they_are_there(run: Path) -> None:
    folder, common = run / "04_external_validation", {"arm": "raw", "dataset": "kermany", "n": 24}
    pair = {"arm_a": "cropped", "arm_b": "raw", "metric": "auroc", "difference": 0.1, "ci_low": 0.02, "ci_high": 0.18}
    rows = [{"dataset": "kermany", **pair, "p_value": 0.01, "p_holm": 0.03, "method": "x", "primary": True}]
    pd.DataFrame(rows).to_csv(folder / "arm_differences.csv", index=False)
    rows = [{**common, "probabilities": "as they come", "metric": "slope", "value": 0.4, "ci_low": 0.2, "ci_high": 0.6}]
    pd.DataFrame(rows).to_csv(folder / "calibration.csv", index=False)
    rows = [{**common, "change": name, "strength": 1.0, "auroc": 0.6, "drop": drop} for name, drop in DROPS.items()]
    pd.DataFrame(rows).to_csv(folder / "robustness.csv", index=False)
    table = checklists.fill(run)
    assert (
        "cropped less raw: +0.100 (+0.020 to +0.180), p = 0.03 after Holm" in item(table, "CLAIM 2024", "29")["answer"]
    )
    assert "raw, as they come: slope 0.400 (0.200 to 0.600)" in item(table, "TRIPOD+AI", "12f")["answer"]
    assert "raw: 0.150 under jpeg" in item(table, "CLAIM 2024", "30")["answer"]


def test_own_films_leave_their_labels_and_readers_to_the_authors(run: Path) -> None:
    path = run / "04_external_validation" / "datasets.csv"
    pd.read_csv(path).replace({"kermany": "folder", "Chest X-Ray (Kermany)": "Own films"}).to_csv(path, index=False)
    table = checklists.fill(run)
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


def test_statements_read_a_run_of_one_stage(tmp_path: Path) -> None:
    folder = run_fixture.write(tmp_path / "demo", with_validation=False)
    for stage in ("02_cropping", "03_training"):
        for path in sorted((folder / stage).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
    facts = run_facts.read(folder)
    for topic in statements.TOPICS:
        statements.state(topic, facts)


def test_folder_without_a_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage of a run"):
        checklists.fill(tmp_path)
