"""The profiles of clusters: rules that exist, GPUs where networks compute, jobs that fit a small node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nbhelpers.runs import parameters

PROFILES = parameters.ROOT / "profiles"
RULES = set(re.findall(r"^rule (\w+):", (parameters.ROOT / "Snakefile").read_text(encoding="utf-8"), re.MULTILINE))
NETWORKS = {"training", "external_validation", "interpretability", "image_editing", "segmentation"}
both = pytest.mark.parametrize("name", ["slurm", "kubernetes"])


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text(encoding="utf-8"))


@both
def test_a_profile_names_rules_that_exist_and_gives_gpus_to_networks_alone(name: str) -> None:
    profile = read(name)
    asked = profile["set-resources"]
    assert {*asked, *profile["groups"]} <= RULES
    assert {rule for rule, resources in asked.items() if resources.get("gpu")} == NETWORKS
    assert "gpu" not in profile["default-resources"] and profile["retries"] >= 1


@both
def test_a_job_fits_a_node_of_two_cpus_and_8_gb_at_both_tries(name: str) -> None:
    profile = read(name)
    assert profile["cores"] == 2 and "set-threads" not in profile
    known = [profile["default-resources"], *profile["set-resources"].values()]
    for resources in known:
        factor = re.fullmatch(r"attempt \* (\d+)", resources.get("mem_mb", "attempt * 1"))
        assert factor and int(factor[1]) * (1 + profile["retries"]) <= 8000


@pytest.mark.slow
def test_snakemake_plans_a_run_for_slurm_with_what_the_profile_says(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("run: mine\narms: {raw: {source: simulator, crop: none}}\ninit: random\ndiversity_init: random\n")
    done = subprocess.run(
        [sys.executable, "-m", "nbhelpers", "run", str(file), "--profile", "profiles/slurm", "--dry-run"],
        cwd=parameters.ROOT,
        env=os.environ | {"NBHELPERS_OUTPUTS": str(tmp_path / "outputs")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    # A job of a group is printed with an indent.
    _, *parts = re.split(r"^ *rule (\w+):\n", done.stdout + done.stderr, flags=re.MULTILINE)
    planned = {rule: text.partition("\n\n")[0].partition("[")[0] for rule, text in zip(*[iter(parts)] * 2, strict=True)}
    assert {rule for rule, text in planned.items() if "gpu=1" in text} == NETWORKS - {"image_editing", "segmentation"}
    for rule in ("prompting", "cropping", "training", "external_validation", "interpretability"):
        assert "threads: 2" in planned[rule] and "mem_mb=4000" in planned[rule], planned[rule]


@pytest.fixture
def kubectl(tmp_path: Path) -> Path:
    """A stand-in for kubectl: it keeps what it is given, and answers with what lies in `answer`."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>"{tmp_path}/asked"\n[ "$1" = create ] && cat >"{tmp_path}/job"\n'
        f'cat "{tmp_path}/answer" 2>/dev/null || [ "$1" != get ]\n'
    )
    program.chmod(0o755)
    return tmp_path


def call(name: str, folder: Path, *words: str) -> str:
    environment = {"PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin", "NBHELPERS_DATA": "/d"}
    words = (str(PROFILES / "kubernetes" / name), *words)
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("gpu", [0, 1])
def test_a_job_script_becomes_a_kubernetes_job_that_asks_what_the_rule_asks(kubectl: Path, gpu: int) -> None:
    properties = {
        "rule": "external_validation",
        "threads": 2,
        "resources": {"mem_mb": 4000, "runtime": 120, "gpu": gpu},
    }
    script = kubectl / "snakejob.sh"
    script.write_text(f"#!/bin/sh\n# properties = {json.dumps(properties)}\ntrue\n")
    name = call("submit", kubectl, str(script))
    job = json.loads((kubectl / "job").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert name == job["metadata"]["name"] and re.fullmatch(r"nb-cxr-external-validation-[0-9a-f]{8}", name)
    assert container["command"] == ["/bin/sh", str(script)] and pod["activeDeadlineSeconds"] == 7200
    assert container["resources"]["limits"] == {"cpu": 2, "memory": "4000Mi"} | ({"nvidia.com/gpu": 1} if gpu else {})
    assert {"name": "NBHELPERS_DATA", "value": "/d"} in container["env"] and job["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [("a /", "running"), ("a 1/", "success"), ("a /1", "failed"), ("", "failed"), (None, "running")],
)
def test_the_state_of_a_job_is_told_in_snakemakes_words(kubectl: Path, answer: str | None, status: str) -> None:
    if answer is not None:  # without one kubectl cannot tell
        (kubectl / "answer").write_text(answer)
    assert call("status", kubectl, "a") == status


def test_jobs_are_deleted_when_the_pipeline_cancels_them(kubectl: Path) -> None:
    call("cancel", kubectl, "a", "b")
    (asked,) = (kubectl / "asked").read_text().splitlines()
    assert asked.startswith("delete job") and asked.endswith("a b")
