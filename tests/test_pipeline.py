"""What makes which stage out of date, without running anything."""

from __future__ import annotations

import ast
import fcntl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nbhelpers.errors import UserError
from nbhelpers.pipeline import plan as pipeline
from nbhelpers.pipeline.notebooks import ProgressLines, duration
from nbhelpers.pipeline.plan import PACKAGE, Plan, check_inputs, library_files, only_run, run
from nbhelpers.runs import parameters

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
        ({"n_resamples": 100}, {"04_external_validation", "05_interpretability"}),
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
        return {path.name for path in library_files(ast.parse(code))}

    assert found("import os") == set()
    assert found("from nbhelpers.errors import UserError") == {"errors.py"}
    assert {"tables.py", "files.py", "errors.py"} <= found("from nbhelpers import tables")
    through = found("from nbhelpers import prompts")
    assert {"prompts.py", "prompt_templates.yaml"} <= through
    assert "training.py" not in found("from nbhelpers import generation")
    # Sources and data sets are imported by name, when they are used.
    assert {"source_simulator.py", "simulator.py"} <= found("from nbhelpers import generation")
    assert "dataset_kermany.py" in found("from nbhelpers import datasets")


@pytest.mark.parametrize("stage", parameters.STAGES)
def test_a_stage_depends_on_its_notebook_and_not_on_the_report(stage: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("run: mine\n")
    plan = Plan(path)
    files = {(plan.folder / name).resolve() for name in plan.code(stage)}
    assert parameters.NOTEBOOKS / f"{stage}.ipynb" in files and PACKAGE / "runs.py" in files
    assert not files & {PACKAGE / f"{name}.py" for name in ("report", "pipeline", "execution")}
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


def test_a_folder_is_held_by_one_run_and_let_go_at_its_end(tmp_path: Path) -> None:
    with only_run(tmp_path / "run"):
        with pytest.raises(UserError, match=r"another run.*process"), only_run(tmp_path / "run"):
            pass
        with only_run(tmp_path / "other"):
            pass
    with only_run(tmp_path / "run"), open(tmp_path / "run" / ".lock") as handle, pytest.raises(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_progress_bars_pass_and_everything_else_stays_in_the_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines("03_training_raw")
    lines.write("UserWarning: something\n  warn(x)\n")
    lines.write("drawing: 0film [00:00, ?film/s]\n")
    lines.write("raw 1/2:   0%|          | 0/9 [00:00<?, ?step/s]")
    lines.write("\rraw 1/2:  50%|#####     | 4/9 [00:01<00:01,  4.00step/s]\rraw 1/2: 100%|####")
    lines.write("######| 9/9 [00:02<00:00,  4.50step/s]\n")
    told = capsys.readouterr().err.splitlines()
    assert [line.split("%")[0] for line in told] == ["[03_training_raw] raw 1/2:  50", "[03_training_raw] raw 1/2: 100"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7805, "2 h 10 min")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ["kermanny"]}, "did you mean 'kermany'"),
        ({"backbone": "resnet81"}, "did you mean 'resnet"),
        ({"arms": {"raw": {"source": "simulater", "crop": "none"}}}, "did you mean 'simulator'"),
        ({"arms": {"raw": {"source": "simulator", "crop": "nothing"}}}, "unknown crop"),
        ({"arms": {"raw": {"source": "folder", "crop": "none"}}}, "folder_table"),
        ({"checkpoints": {"mine": "no/such/folder"}}, "no/such/folder"),
        ({"datasets": ["kermany"]}, "kermany"),
        ({"datasets": ["rsna"]}, "rsna"),
    ],
)
def test_what_would_stop_a_run_later_stops_it_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "no data"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": "mine"} | changes))
    with pytest.raises(UserError, match=message):
        check_inputs(path)


def test_images_that_may_still_come_are_asked_for_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(pipeline.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(pipeline, "snakemake", lambda _, target, options: calls.append((target, options)) or 0)
    file = tmp_path / "mine.yaml"
    file.write_text((parameters.ROOT / "params/demo.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    table = tmp_path / "demo/01_prompting/gemini/images.csv"
    table.parent.mkdir(parents=True)
    told = {}
    for status in ("ok", "given up: prompt_blocked", "not yet: in a batch job"):
        table.write_text(f'image_id,status\na,ok\nb,"{status}"\n', encoding="utf-8")
        calls.clear()
        assert run(file, ["--keep-going"]) == 0
        told[status] = dict(calls)
    again = ["--keep-going", "--forcerun", "prompting"]
    assert told["not yet: in a batch job"] == {"images": again, "scores": ["--keep-going"], "all": ["--keep-going"]}
    for status in ("ok", "given up: prompt_blocked"):
        assert all(options == ["--keep-going"] for options in told[status].values())
