"""The pipeline on a real Slurm, through the profile that is shipped: a job and a node die, it is stopped, and goes on.

One story, told once and looked at by each test; `make test-slurm` tells it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import yaml
from project.slurm_cluster import Slurm, slurm, wait_for, why_not
from project.tiny import TINY

from nbhelpers.runs import parameters
from nbhelpers.runs.files import sha256_file

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.skipif(bool(REASON), reason=REASON)]

# Trainings are long enough to be killed; nodes have GPUs in name alone.
SETTINGS = TINY | {"epochs": 3, "device": "auto", "editors": {}, "segmentation_data": []}
OPTIONS = ["--profile=profiles/slurm", "--slurm-init-seconds-before-status-checks", "4"]


class Pipeline:
    """`python -m nbhelpers run`, with its output in a file."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(exist_ok=True)
        self.run = folder / "outputs" / SETTINGS["run"]
        self.log = folder / f"{len(list(folder.iterdir()))}.log"
        file = folder / "tiny.yaml"
        file.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nbhelpers", "run", str(file), *options],
                cwd=parameters.ROOT,
                env=os.environ | {"NBHELPERS_OUTPUTS": str(folder / "outputs")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, seconds: float = 1500) -> tuple[int, str]:
        """Wait for its end; exit code and what it told."""
        return self.process.wait(seconds), self.log.read_text()


@dataclass
class Story:
    """What was seen."""

    cluster: Slurm
    codes: dict[str, int] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    after_stop: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    drawn_at: list[int] = field(default_factory=list)
    runs: dict[str, Path] = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("slurm")
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", file=sys.__stderr__, flush=True)

    with slurm(folder / "slurm") as cluster:
        seen = Story(cluster)
        tell("both nodes idle")
        first = Pipeline(folder / "cluster", *OPTIONS)
        seen.runs["cluster"] = first.run
        local = None
        try:
            both = [first.run / "notebooks" / f".03_training_{arm}.lock" for arm in ("raw", "cropped")]
            wait_for("both trainings at work", lambda: all(path.exists() for path in both) or not alive(first), 900)
            ((killed, _),) = cluster.running("training_wildcards_raw")
            ((_, node),) = cluster.running("training_wildcards_cropped")
            tell(f"job {killed} is killed by the cluster's user, and node {node} by nobody's wish")
            subprocess.run(["scancel", killed], check=True)
            cluster.kill_node(node)
            local = Pipeline(folder / "local", "--cores", "2")
            seen.runs["local"] = local.run
            wait_for("the node is missed", lambda: cluster.nodes()[node].startswith("down"), 120)
            cluster.start_node(node)
            wait_for("notebook 04 at work", lambda: cluster.running("external_validation") or not alive(first), 1200)
            tell("the pipeline is asked to stop")
            os.kill(first.process.pid, signal.SIGTERM)
            seen.codes["stopped"], seen.told["stopped"] = first.end(180)
            wait_for("no job is left", lambda: not unfinished(cluster), 60)
            seen.after_stop = cluster.jobs()
            seen.drawn_at = [path.stat().st_mtime_ns for path in sorted(first.run.glob("0[123]*/**/run.json"))]
            tell("and goes on")
            second = Pipeline(folder / "cluster", *OPTIONS)
            seen.codes["resumed"], seen.told["resumed"] = second.end()
            tell("done")
            seen.codes["local"], seen.told["local"] = local.end()
            yield seen
        finally:
            for one in (first, local):
                if one and alive(one):
                    os.kill(one.process.pid, signal.SIGTERM)
                    one.end(120)


def alive(pipeline: Pipeline) -> bool:
    return pipeline.process.poll() is None


def unfinished(cluster: Slurm) -> list[str]:
    return [n for n, (state, _, _) in cluster.jobs().items() if state in ("RUNNING", "PENDING", "COMPLETING")]


def test_a_killed_job_is_told_of_and_tried_again(story: Story) -> None:
    told = story.told["stopped"]
    # By its notebook, or by the cluster where that had no time to say anything.
    assert re.search(r"error: job \d+ of the cluster failed: .*(stopped by SIGTERM|CANCELLED)", told)
    assert "tried once more" in told
    assert "Traceback" not in told


def test_the_work_of_a_node_that_died_is_done_nevertheless(story: Story) -> None:
    trained = {
        text: node for state, node, text in story.after_stop.values() if state == "COMPLETED" and "training" in text
    }
    assert len(trained) == 2, story.after_stop


def test_a_stopped_pipeline_cancels_its_jobs_and_says_so(story: Story) -> None:
    last = story.told["stopped"].strip().splitlines()[-1]
    assert story.codes["stopped"] == 128 + signal.SIGTERM
    assert last.startswith("error: stopped by SIGTERM, its jobs are cancelled")
    assert "CANCELLED" in {state for state, _, text in story.after_stop.values() if "external_validation" in text}


def test_the_same_command_goes_on_and_repeats_nothing_that_was_done(story: Story) -> None:
    assert story.codes["resumed"] == 0, story.told["resumed"]
    assert (story.runs["cluster"] / "index.html").is_file()
    now = [path.stat().st_mtime_ns for path in sorted(story.runs["cluster"].glob("0[123]*/**/run.json"))]
    assert len(now) == 4 and now == story.drawn_at


def test_images_are_drawn_and_cropped_by_one_job(story: Story) -> None:
    assert [text for _, _, text in story.after_stop.values() if "prompting" in text] == [
        "rule_images_cropping_prompting"
    ]


def test_results_are_those_of_a_local_run_with_as_many_threads(story: Story) -> None:
    assert story.codes["local"] == 0, story.told["local"]
    here, there = story.runs["local"], story.runs["cluster"]
    tables = sorted(path.relative_to(here) for path in here.glob("0*/**/*.csv"))
    tables = [path for path in tables if path.parent.name != "scores"]  # kept by the place of the films
    networks = sorted(path.relative_to(here) for path in here.glob("03_training/**/*.safetensors"))
    assert len(tables) > 25 and len(networks) == 2
    assert [str(p) for p in networks if sha256_file(here / p) != sha256_file(there / p)] == []
    for path in tables:
        one, other = (pd.read_csv(folder / path) for folder in (here, there))
        pd.testing.assert_frame_equal(one, other, obj=str(path), rtol=0, atol=0)
