"""What makes which stage out of date, without running anything."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nbhelpers.pipeline import command
from nbhelpers.pipeline.jobs import Asked
from nbhelpers.pipeline.plan import Plan, library_files
from nbhelpers.runs import parameters, reviews

PACKAGE = parameters.ROOT / "nbhelpers"
ARMS = {
    "cropped": {"source": "simulator", "crop": "content"},
    "raw": {"source": "simulator", "crop": "none"},
    "roentgen_v2": {"source": "simulator_roentgen", "crop": "none"},
}


@pytest.fixture
def outdated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stages whose parameters differ between the demo and the demo with changes."""
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))

    def triggers(changes: dict[str, Any]) -> dict[str, str]:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"run": "mine", "arms": ARMS} | changes, sort_keys=False))
        plan = Plan(path)
        found = {stage: plan.trigger(stage) for stage in parameters.STAGES if stage != "03_training"}
        return found | {f"03_training/{arm}": plan.trigger("03_training", arm) for arm in plan.values["arms"]}

    def compare(changes: dict[str, Any]) -> set[str]:
        before, after = triggers({}), triggers(changes)
        return {stage for stage in after if before.get(stage) != after[stage]}

    return compare


ALL = {*parameters.STAGES} - {"03_training"} | {f"03_training/{arm}" for arm in ARMS}
TRAINING = {f"03_training/{arm}" for arm in ARMS}


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({}, set()),
        ({"seed": 1}, ALL),
        ({"device": "cpu"}, set()),
        ({"workers": 3}, set()),
        ({"images_per_class": 10}, {"01_prompting"}),
        ({"simulator_size": 128}, {"01_prompting"}),
        ({"epochs": 1}, TRAINING),
        (
            {"n_resamples": 100},
            {"04_external_validation", "05_interpretability", "06_image_editing", "07_segmentation"},
        ),
        ({"editing_size": 256}, {"06_image_editing"}),
        ({"editing_budget_usd": 7.0}, set()),
        ({"specialist_epochs": 1}, {"07_segmentation"}),
        ({"extra_seeds": 2}, {"04_external_validation"}),
        ({"training_seed": 7}, set()),
        ({"target_sensitivity": 0.9}, {"04_external_validation"}),
        ({"clustering_films": 100}, {"05_interpretability"}),
        ({"gemini_model": "another"}, set()),
        ({"folder_films": "mine.csv"}, set()),
        ({"folder_table": "mine.csv"}, set()),
        ({"rsna_cohort": "full"}, set()),
    ],
)
def test_a_changed_parameter_makes_its_own_stages_out_of_date(
    outdated: Any, changes: dict[str, Any], stages: set[str]
) -> None:
    assert outdated(changes) == stages


def test_another_crop_of_one_arm_leaves_the_drawing_and_the_other_arms_alone(outdated: Any) -> None:
    changed = outdated({"arms": ARMS | {"cropped": {"source": "simulator", "crop": "margins"}}})
    assert changed == {"02_cropping", "03_training/cropped", "04_external_validation", "05_interpretability"}


def test_a_new_arm_of_a_known_source_trains_itself_alone(outdated: Any) -> None:
    changed = outdated({"arms": ARMS | {"margins": {"source": "simulator", "crop": "margins"}}})
    assert changed == {"02_cropping", "03_training/margins", "04_external_validation", "05_interpretability"}


def test_a_former_arm_draws_and_trains_nothing(outdated: Any) -> None:
    changed = outdated({"arms": {name: ARMS[name] for name in ("cropped", "roentgen_v2")}})
    assert changed == {"02_cropping", "04_external_validation", "05_interpretability"}


def test_order_of_names_in_the_file_means_nothing_but_order_of_arms_does(outdated: Any) -> None:
    swapped = {name: ARMS[name] for name in reversed(ARMS)}
    assert not outdated({"arms": swapped}) & {"01_prompting", "02_cropping", *TRAINING}


def test_modules_behind_a_piece_of_code_are_found_through_others_and_by_name() -> None:
    def found(code: str) -> set[str]:
        return {path.relative_to(PACKAGE).as_posix() for path in library_files(code)}

    assert found("import os") == set()
    assert found("from nbhelpers.errors import UserError") == {"__init__.py", "errors.py"}
    assert {"runs/tables.py", "runs/files.py", "errors.py"} <= found("from nbhelpers.runs import tables")
    assert {"prompting/prompts.py", "prompting/prompt_templates.yaml"} <= found(
        "from nbhelpers.prompting import prompts"
    )
    # Sources and data sets are named in text, and imported when they are used.
    drawing = found("from nbhelpers.prompting import drawing")
    assert {"prompting/sources/simulator.py", "simulator/film.py", "image_models/gemini/prices.yaml"} <= drawing
    assert "training/train.py" not in drawing
    assert "films/kermany.py" in found("from nbhelpers.films import registry")
    report = found("from nbhelpers.reporting import handout, report")
    assert {"reporting/checklist_claim2024.yaml", "reporting/templates/base.html"} <= report


@pytest.mark.parametrize("stage", parameters.STAGES)
def test_every_file_that_a_notebook_loads_is_one_of_its_stages_inputs(stage: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("run: mine\n")
    plan = Plan(path)
    known = {(plan.folder / name).resolve() for name in plan.code(stage)}
    cells = json.loads((parameters.NOTEBOOKS / f"{stage}.ipynb").read_text(encoding="utf-8"))["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    imports = [ast.unparse(node) for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    code = "\n".join(
        [*imports, "import sys", "print(*(m.__file__ for n, m in sys.modules.items() if n[:9] == 'nbhelpers'))"]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=parameters.ROOT, capture_output=True, text=True, check=True)
    loaded = {Path(name) for name in done.stdout.split()}
    assert len(loaded) > 10 and loaded <= known


@pytest.mark.parametrize("stage", parameters.STAGES)
def test_a_stage_depends_on_its_notebook_and_not_on_the_report(stage: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("run: mine\n")
    plan = Plan(path)
    files = {(plan.folder / name).resolve() for name in plan.code(stage)}
    assert parameters.NOTEBOOKS / f"{stage}.ipynb" in files and PACKAGE / "runs" / "stage.py" in files
    assert not any(path.is_relative_to(PACKAGE / name) for path in files for name in ("reporting", "pipeline"))
    others = {parameters.NOTEBOOKS / f"{other}.ipynb" for other in parameters.STAGES if other != stage}
    assert not files & others


def test_a_file_that_a_parameter_names_is_one_of_the_stages_inputs(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("a: b")
    path = tmp_path / "mine.yaml"
    path.write_text(f"run: mine\nprompt_templates: {tmp_path / 'words.yaml'}\n")
    plan = Plan(path)
    assert (tmp_path / "words.yaml") in {(plan.folder / name).resolve() for name in plan.code("01_prompting")}
    assert (tmp_path / "words.yaml") not in {(plan.folder / name).resolve() for name in plan.code("02_cropping")}


def test_commands_survive_spaces_and_braces_in_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a {b} 'c"
    folder.mkdir()
    (folder / "mine.yaml").write_text("run: mine\n")
    command = Plan(folder / "mine.yaml").command("03_training", "{wildcards.arm}")

    class Wildcards:
        arm = "raw"

    import shlex

    words = shlex.split(command.format(wildcards=Wildcards))
    assert words[-3:] == [str(folder / "mine.yaml"), "--arm", "raw"]


def test_a_report_is_out_of_date_when_a_checklist_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("run: mine\n")
    plan = Plan(path)
    files = {(plan.folder / name).resolve() for name in plan.code("report")}
    assert {PACKAGE / "reporting" / name for name in ("checklist_tripod_ai.yaml", "statements.yaml")} <= files


def test_further_seeds_are_networks_of_their_own_that_the_validation_alone_waits_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("run: mine\nseed: 3\nextra_seeds: 2\narms: {raw: {source: simulator, crop: none}}\n")
    plan = Plan(path)
    wanted = {f"03_training/{name}/model.json" for name in ("raw", "raw/seed_4", "raw/seed_5")}
    assert {name for name in plan.networks(seeds=True) if name.endswith("model.json")} == wanted
    assert not [name for name in plan.networks() if "seed_" in name]
    own, further = (json.loads(plan.trigger("03_training", name)) for name in ("raw", "raw/seed_4"))
    assert own | {"training_seed": 4} == further and own["training_seed"] is None and own["seed"] == 3


def test_a_file_asks_for_stages_by_what_it_names(tmp_path: Path) -> None:
    asked = {
        "run: a\narms: {}\nsegmentation_data: [simulated_lungs]\n": ["07_segmentation/run.json"],
        "run: c\narms: {}\neditors: {nothing: , careless: }\n": ["06_image_editing/run.json"],
        "run: b\narms: {one: {source: simulator, crop: none}}\n": [
            *("01_prompting/run.json", "02_cropping/run.json", "03_training/one/run.json"),
            *("04_external_validation/run.json", "05_interpretability/run.json"),
        ],
    }
    for number, (text, records) in enumerate(asked.items()):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        plan = Plan(path)
        assert plan.records() == records
        assert bool(plan.scores()) == (len(records) > 1)
        # The copy that is run names everything, and still asks for the same.
        path.write_text(yaml.safe_dump(plan.values), encoding="utf-8")
        assert Plan(path).records() == records


def test_the_snakefile_trains_each_seed_of_an_arm_as_a_job_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    path = tmp_path / "mine.yaml"
    path.write_text("run: mine\nseed: 3\nextra_seeds: 1\narms: {raw: {source: simulator, crop: none}}\n")
    (tmp_path / "outputs/mine").mkdir(parents=True)
    words = [
        "-m",
        "snakemake",
        "scores",
        "--snakefile",
        str(parameters.ROOT / "Snakefile"),
        "--dry-run",
        "--cores",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, *words, "--printshellcmds", "--config", f"parameters={path}"], capture_output=True, text=True
    )
    told = done.stdout + done.stderr
    assert [told.count(f"--arm {name}\n") for name in ("raw", "raw/seed_4")] == [1, 1], told
    assert "notebooks/03_training_raw/seed_4.ipynb" in told and "seed_5" not in told


@pytest.mark.parametrize(
    ("beside", "settings", "threads"),
    [
        (True, {}, {"training": [1, 4], "external_validation": [4], "interpretability": [2], "segmentation": [2]}),
        (
            True,
            {"threads": 1},
            {"training": [1, 1], "external_validation": [4], "interpretability": [2], "segmentation": [2]},
        ),
        (
            True,
            {"threads": 9},
            {"training": [1, 4], "external_validation": [4], "interpretability": [2], "segmentation": [2]},
        ),
        (True, {"segmentation_data": []}, {"training": [1, 4], "external_validation": [4], "interpretability": [4]}),
        (False, {}, {"training": [1, 4], "external_validation": [4], "interpretability": [4], "segmentation": [4]}),
    ],
)
def test_notebooks_share_the_cores_where_they_can_run_side_by_side(
    beside: bool,
    settings: dict[str, Any],
    threads: dict[str, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path))
    arms = {"a": {"source": "simulator", "crop": "none"}}
    arms["b"] = arms["a"] | {"method": "probe"}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": "mine", "arms": arms, "segmentation_data": ["simulated_lungs"]} | settings))
    (tmp_path / "mine").mkdir()
    words = ["snakemake", "all", "--snakefile", str(parameters.ROOT / "Snakefile"), "--dry-run", "--cores", "4"]
    words += ["--config", f"parameters={path}", *(["side_by_side=true"] if beside else [])]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    found: dict[str, list[int]] = {}
    for told in re.split(r"^(?=rule )", done.stdout + done.stderr, flags=re.MULTILINE):
        rule, number = re.match(r"rule (\w+)", told), re.search(r"threads: (\d+)", told)
        if rule and rule[1] in threads:
            found.setdefault(rule[1], []).append(int(number[1]) if number else 1)
    assert {rule: sorted(numbers) for rule, numbers in found.items()} == threads, done.stderr


@pytest.mark.slow
def test_snakemake_plans_a_run_whose_paths_hold_what_it_would_read_as_its_own(tmp_path: Path) -> None:
    odd = tmp_path / "{arm} # films: 1"
    odd.mkdir()
    (odd / "films.csv").write_text("path,label\n")
    path = odd / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": "mine", "datasets": ["folder"], "folder_films": str(odd / "films.csv")}))
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "elsewhere" / "{x}: # 2"))
        patch.setattr(command, "supervise", lambda words, *_: told.extend(words[4:]) or 0)
        assert command.snakemake(path, "all", ["--dry-run"], Asked(dry=True)) == 0
        done = subprocess.run(
            [sys.executable, "-m", "nbhelpers", "snakemake", *told],
            cwd=parameters.ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
        before = Plan(path).trigger("04_external_validation")
        (odd / "films.csv").write_text("path,label\na.png,1\n")
        assert Plan(path).trigger("04_external_validation") != before, "a change of such a file would not be seen"
    assert done.returncode == 0 and "external_validation" in done.stdout + done.stderr, done.stderr


def test_reviewers_decisions_put_the_cropping_out_of_date_and_nothing_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": "mine", "arms": ARMS}))
    plan = Plan(path)
    before = plan.code("02_cropping")
    (tmp_path / "mine").mkdir()
    reviews.decide(plan.folder, "simulator", "1", "reject", "A. Reader", "two hearts")
    assert set(plan.code("02_cropping")) - set(before) == {"reviews.csv"}
    assert "reviews.csv" not in plan.code("01_prompting") + plan.code("03_training")


def test_a_notebooks_own_parameter_file_is_no_part_of_an_experiment(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": "mine", "arms": ARMS}))
    plan = Plan(path)
    assert parameters.FILE not in plan.values
    assert all(
        parameters.FILE not in plan.trigger(stage, "raw" if "03" in stage else None) for stage in parameters.STAGES
    )
