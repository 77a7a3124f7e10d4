"""The picture of the pipeline: Snakemake's own rules, each below what it waits for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from matplotlib import pyplot as plt

from nbhelpers.__main__ import main
from nbhelpers.pipeline import rule_graph

DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
\t0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
\t1[label = "report", color = "0.42 0.6 0.85", style="rounded"];
\t2[label = "prompting", color = "0.36 0.6 0.85", style="rounded"];
\t3[label = "cropping", color = "0.12 0.6 0.85", style="rounded"];
\t1 -> 0
\t2 -> 1
\t3 -> 1
\t2 -> 3
}"""


def test_what_follows_from_other_edges_is_left_out() -> None:
    assert set(rule_graph.read(DOT).edges) == {("prompting", "cropping"), ("cropping", "report")}


def test_each_rule_stands_below_what_it_waits_for() -> None:
    figure = rule_graph.figure_rules(rule_graph.read(DOT))
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts if text.get_text()}
    plt.close(figure)
    assert heights["prompting"] > heights["cropping"] > heights["report"]


def test_text_that_is_no_graph_gives_none() -> None:
    assert not rule_graph.read("Error: no such file")


@pytest.mark.slow
def test_a_run_has_the_picture_of_its_own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    path = tmp_path / "masks.yaml"
    path.write_text(yaml.safe_dump({"run": "masks", "arms": {}, "segmentation_data": ["simulated_lungs"]}))
    assert main(["graph", str(path)]) == 0  # as a run calls it
    told = (tmp_path / "outputs/masks/figures/pipeline.svg").read_text(encoding="utf-8")
    assert "segmentation" in told and "report" in told and "prompting" not in told
