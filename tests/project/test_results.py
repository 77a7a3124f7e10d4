"""Numbers of the README: each is that of `docs/results.yaml`, which a run's own tables fill."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from nbhelpers.runs.parameters import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS: dict[str, Any] = yaml.safe_load((ROOT / "docs/results.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", ROOT / "docs/results.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_text_and_table_agree(results: ModuleType) -> None:
    off = [
        f"{run}/{table}/{row}: {now!r} in the text"
        for run, table, row, now in results.marks(TEXT)
        if results.known(RESULTS, run, table, row) != now
    ]
    assert not off, f"python docs/results.py brings the README up to date: {off}"


def test_the_table_holds_nothing_that_the_text_does_not_say(results: ModuleType) -> None:
    said = {(run, f"{table}/{row}" if row else table) for run, table, row, _ in results.marks(TEXT)}
    held = {(run, key) for run, entry in RESULTS["runs"].items() for key in entry["values"]}
    held |= {(kind, key) for kind in ("measured", "published") for key in RESULTS[kind]}
    assert held == said


def test_every_number_says_how_it_was_made() -> None:
    assert all(entry["command"] and entry["commit"] for entry in RESULTS["runs"].values())
    assert all(entry["command"] for entry in RESULTS["measured"].values())
    assert all(entry["source"] for entry in RESULTS["published"].values())


@pytest.mark.parametrize("heading", ["Real films, and what transfers", "Masks: ", "Editing", "Speed"])
def test_no_result_is_typed_by_hand(results: ModuleType, heading: str) -> None:
    sections = [part for part in TEXT.split("\n## ") if part.startswith(heading)]
    for section in sections:
        plain = re.sub(r"`[^`]*`|\]\([^)]*\)|arXiv \S+", "", results.NUMBER.sub("", section))
        assert not re.findall(r"\d\.\d\d+", plain), f"put it into docs/results.yaml: {plain}"


def test_a_run_fills_the_table_and_the_text_from_its_own_files(results: ModuleType, tmp_path: Path) -> None:
    run = tmp_path / "mine"
    stage = run / "04_external_validation"
    stage.mkdir(parents=True)
    (stage / "run.json").write_text(json.dumps({"git_commit": "0123456789abcdef"}))
    rows = ["arm,metric,subgroup,primary,value,ci_low,ci_high", "raw,auroc,all,True,0.7512,0.70449,0.8"]
    rows += ["raw,auroc,all,False,0.7512,0.6,0.9", "raw,auroc,view AP,True,0.1,0.1,0.1", "b,auroc,all,True,1,1,1"]
    (stage / "metrics.csv").write_text("\n".join(rows))
    text = "AUROC <!--=mine/auroc/raw-->0.9<!--/-->, as published <!--=published/peng_rsna_auroc-->?<!--/-->."
    table = {"tables": RESULTS["tables"], "runs": {}, "measured": {}, "published": RESULTS["published"]}
    results.collect(run, table, text)
    assert table["runs"]["mine"]["commit"] == "0123456" and table["runs"]["mine"]["command"].endswith(
        "params/mine.yaml"
    )
    assert re.sub("<!--.*?-->", "", results.filled(table, text)) == (
        "AUROC 0.751 (0.704-0.800), as published 0.923 (0.919-0.927)."
    )
    with pytest.raises(KeyError, match="gone"):
        results.collect(run, table, "<!--=mine/auroc/gone-->0.9<!--/-->")
