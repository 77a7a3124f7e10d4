"""The real pipeline, through Snakemake, on the real notebooks at the smallest size."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from project.tiny import TINY

from nbhelpers.runs import parameters, tables
from nbhelpers.runs.files import inside, sha256_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STAGES = [
    *("01_prompting", "02_cropping", "03_training/cropped", "03_training/raw"),
    *("04_external_validation", "05_interpretability", "06_image_editing", "07_segmentation"),
]


class Runner:
    """Runs the pipeline as `make run` does, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "tiny.yaml"
        self.run = folder / "outputs" / TINY["run"]
        self.environment = os.environ | {"NBHELPERS_OUTPUTS": str(folder / "outputs")}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        self.file.write_text(yaml.safe_dump(TINY | changes, sort_keys=False))
        return subprocess.Popen(
            [sys.executable, "-m", "nbhelpers", "run", str(self.file)],
            cwd=parameters.ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __call__(self, **changes: Any) -> tuple[int, str]:
        process = self.start(**changes)
        try:
            told, _ = process.communicate(timeout=1500)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, told


def done(told: str) -> set[str]:
    """Labels of the notebooks that ran to their end."""
    return set(re.findall(r"\[(\S+)\] done in", told))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, str]:
    runner = Runner(tmp_path_factory.mktemp("smoke") / "first")
    code, told = runner()
    assert code == 0, told
    return runner, told


@pytest.fixture
def copy(first: tuple[Runner, str], tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A finished run of one's own, at the same depth: the notebooks are found from it by the same relative path."""
    runner = Runner(first[0].folder.parent / tmp_path_factory.mktemp("copy").name)
    shutil.copytree(first[0].run, runner.run)
    return runner


def test_runs_every_notebook_once_and_ends_with_the_report(first: tuple[Runner, str]) -> None:
    runner, told = first
    labels = [stage.replace("/", "_") for stage in STAGES]
    assert re.findall(r"\[(\S+)\] done in", told).__len__() == len(labels) and done(told) == set(labels)
    assert told.rstrip().endswith(str(runner.run / "index.html"))
    assert "%|" in told, "no progress was shown"
    assert "Traceback" not in told and "WARNING" not in told


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("01_prompting/simulator/images.csv", "images"),
        ("02_cropping/simulator/images.csv", "cropped"),
        ("03_training/cropped/history.csv", "history"),
        ("03_training/raw/history.csv", "history"),
        ("04_external_validation/predictions.csv", "predictions"),
        ("04_external_validation/metrics.csv", "metrics"),
        ("05_interpretability/clusters.csv", "clusters"),
        ("06_image_editing/edits.csv", "edits"),
        ("07_segmentation/scores.csv", "segmentation_scores"),
        ("07_segmentation/comparison.csv", "segmentation_comparison"),
    ],
)
def test_each_table_of_the_design_has_its_columns_and_rows(first: tuple[Runner, str], path: str, kind: str) -> None:
    table = tables.read_table(first[0].run / path, kind)
    assert len(table)
    for name in table.get("path", []):
        if isinstance(name, str) and name:
            file = inside((first[0].run / path).parent, name)
            assert file.is_file(), name


def test_paths_and_hashes_in_the_table_are_those_of_the_images(first: tuple[Runner, str]) -> None:
    folder = first[0].run / "01_prompting" / "simulator"
    table = tables.read_table(folder / "images.csv", "images")
    assert table["label"].value_counts().to_dict() == {"normal": 6, "pneumonia": 6}
    assert [sha256_file(folder / name) for name in table["path"]] == list(table["sha256"])


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_says_how_it_was_made(first: tuple[Runner, str], stage: str) -> None:
    record = json.loads((first[0].run / stage / "run.json").read_text("utf-8"))
    wanted = {"parameters", "seed", "versions", "git_commit", "inputs", "device", "wall_seconds"}
    assert wanted <= set(record)
    assert record["parameters"]["run"] == "tiny"
    if stage not in ("01_prompting", "06_image_editing", "07_segmentation"):
        assert record["inputs"], "a stage that follows another reads something"
    for name, digest in record["inputs"].items():
        path = first[0].run / name
        assert sha256_file(path) == digest, f"{stage} read another {name}"


@pytest.mark.parametrize("figure", ["figure_1", "figure_2", "figure_3", "figure_4", "figure_5", "figure_6"])
def test_each_figure_is_there_as_png_and_svg(first: tuple[Runner, str], figure: str) -> None:
    png, svg = (first[0].run / "figures" / f"{figure}{suffix}" for suffix in (".png", ".svg"))
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 5_000
    assert "</svg>" in svg.read_text("utf-8")


def outside(page: str) -> list[str]:
    """What a browser would fetch from elsewhere when it opens the page."""
    loaded = re.sub(r"<a\b[^>]*>", "", page)  # a link that a reader may follow loads nothing
    address = r"""["']?(?:https?:)?//[^"'\s>)]+"""
    return re.findall(rf"(?:src|href|poster|data)\s*=\s*{address}|@import[^;]*|url\(\s*{address}", loaded)


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://example.org/x.js"></script>',
        "<link rel=stylesheet href=//example.org/x.css>",
        "<style>@import 'x.css';</style>",
        "<style>a { background: url(http://example.org/x.png) }</style>",
    ],
)
def test_what_a_page_fetches_from_elsewhere_is_found(page: str) -> None:
    assert outside(page)


def test_pages_open_without_a_network_and_their_links_lead_somewhere(first: tuple[Runner, str]) -> None:
    pages = [first[0].run / "index.html", *(first[0].run / "notebooks").glob("*.html")]
    assert len(pages) == 1 + len(STAGES)
    for page in pages:
        assert outside(page.read_text("utf-8")) == [], page.name
    index = pages[0].read_text("utf-8")
    links = [link for link in re.findall(r'(?:href|src)="([^"#]+)"', index) if not link.startswith("#")]
    assert len(links) > len(STAGES)
    assert [link for link in links if not (first[0].run / link).is_file()] == []
    assert all(f"notebooks/{stage.replace('/', '_')}.html" in links for stage in STAGES)


def test_report_says_that_all_is_simulated_and_shows_each_metric_of_the_table(first: tuple[Runner, str]) -> None:
    index = (first[0].run / "index.html").read_text("utf-8")
    assert "Everything in this run is simulated" in index
    metrics = tables.read_table(first[0].run / "04_external_validation" / "metrics.csv", "metrics")
    overall = metrics[(metrics["subgroup"] == "all") & metrics["metric"].isin(("auroc", "aupr"))]
    assert len(overall) >= 4
    for value in overall["value"]:
        assert f"{value:.3f}" in index


def test_executed_notebooks_hold_the_results_and_the_parameters_of_the_file(first: tuple[Runner, str]) -> None:
    for stage in STAGES:
        notebook = json.loads((first[0].run / "notebooks" / f"{stage.replace('/', '_')}.ipynb").read_text("utf-8"))
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert any(cell["outputs"] for cell in code)
        assert all(cell["execution_count"] for cell in code)
        assert not [output for cell in code for output in cell["outputs"] if output["output_type"] == "error"]
        injected = [cell for cell in code if "injected-parameters" in cell["metadata"].get("tags", [])]
        assert 'run = "tiny"' in "".join(injected[0]["source"])


def test_a_second_call_runs_nothing(first: tuple[Runner, str]) -> None:
    runner, _ = first
    before = {
        path: path.stat().st_mtime_ns
        for path in runner.run.rglob("*")
        if path.is_file() and ".snakemake" not in path.parts
    }
    code, told = runner()
    assert code == 0 and done(told) == set() and "up to date" in told, told
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path for path in before if before[path] != after[path] and path.name not in (".lock",)} == set()


def test_what_changes_no_score_reruns_the_validation_alone(copy: Runner) -> None:
    code, told = copy(target_sensitivity=0.8)
    assert code == 0 and done(told) == {"04_external_validation"}, told


def test_how_it_is_computed_makes_nothing_out_of_date(copy: Runner) -> None:
    code, told = copy(workers=1)
    assert code == 0 and done(told) == set(), told


def test_a_failed_notebook_is_kept_with_its_error_in_one_line(copy: Runner) -> None:
    # Broken after the checks of an experiment have passed: only the notebook can find it.
    for path in (copy.run / "02_cropping" / "simulator").rglob("*.png"):
        path.write_bytes(b"no picture")
    code, told = copy(learning_rate=0.003)
    assert code not in (0, None) and done(told) == set()
    # Trainings of one thread run side by side where there are cores: each that was started tells its own.
    errors = [line for line in told.splitlines() if line.startswith("error:")]
    assert len(errors) == told.count("] started") > 0, told
    assert all(".png" in error and "03_training" in error for error in errors), told
    assert "Traceback" not in told and len(told.splitlines()) < 12, told
    failed = {
        path: output["ename"]
        for path in (copy.run / "notebooks").glob("03_training_*.ipynb")
        for cell in json.loads(path.read_text("utf-8"))["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    }
    assert list(failed.values()) == ["UserError"] * len(errors)
    assert all(path.with_suffix(".html").stat().st_size > 10_000 for path in failed)
    assert (copy.run / "01_prompting" / "simulator" / "images.csv").is_file()


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read what a pipeline tells until it has told `text`."""
    told = ""
    assert process.stdout is not None
    for line in process.stdout:
        told += line
        if text in line:
            return told
    raise AssertionError(f"{text!r} was never told:\n{told}")


def alive(folder: Path) -> list[str]:
    """Processes whose command line or environment names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="ignore")
            names = str(folder) in command or str(folder).encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        if names and "nbhelpers" in command + "ipykernel" and "python" in command:
            found.append(command)
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_killed_run_leaves_no_process_and_goes_on_where_it_stopped(copy: Runner) -> None:
    process = copy.start(epochs=2)
    wait_for(process, "started")
    code, second = copy(epochs=2)
    assert code == 2 and "another run is writing there" in second, "two runs must not share a folder"
    # One is done, and the pipeline knows it when it starts the next.
    told = wait_for(process, "done in")
    told += wait_for(process, "started")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = done(told)
    checkpoints = [
        copy.run / "03_training" / name.removeprefix("03_training_") / "checkpoint.safetensors" for name in finished
    ]
    before = [path.stat().st_mtime_ns for path in checkpoints]
    deadline = time.monotonic() + 20
    while alive(copy.folder) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert alive(copy.folder) == []
    code, again = copy(epochs=2)
    assert code == 0, again
    both, later = {"03_training_cropped", "03_training_raw"}, {"04_external_validation", "05_interpretability"}
    assert finished and finished <= both
    # Another one, on a machine where both trainings run at once or are quick, may have ended just before the kill.
    assert later <= done(again) <= later | (both - finished)
    assert [path.stat().st_mtime_ns for path in checkpoints] == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"backbone": "resnet81"}, "did you mean 'resnet"),
        ({"folder_films": "no/such/table.csv", "datasets": ["folder"]}, "no/such/table.csv"),
    ],
)
def test_a_wrong_experiment_is_refused_in_one_line_before_anything_runs(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    runner = Runner(tmp_path)
    code, told = runner(**changes)
    assert code == 2 and message in told and len(told.strip().splitlines()) == 1, told
    assert not (runner.run / "01_prompting").exists()


def test_an_outputs_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    (tmp_path / "file").write_text("")
    runner.environment["NBHELPERS_OUTPUTS"] = str(tmp_path / "file" / "outputs")
    code, told = runner()
    assert code == 2 and "cannot write there" in told and len(told.strip().splitlines()) == 1, told


def test_an_arm_that_draws_lesions_goes_through_every_notebook_of_a_finished_run(copy: Runner) -> None:
    drawn = {"source": "simulator", "crop": "content", "method": "lesions", "learning_rate": "0.005"}
    code, told = copy(arms=TINY["arms"] | {"drawn": drawn}, editors={}, segmentation_data=[])
    assert code == 0, told
    assert done(told) >= {"03_training_drawn", "04_external_validation", "05_interpretability"}
    made = json.loads((copy.run / "03_training" / "drawn" / "model.json").read_text("utf-8"))
    assert made["backbone"] == "small_unet" and made["arm"]["method"] == "lesions"
    assert made["training"]["learning_rate"] == 5e-3  # the arm's own
    assert (copy.run / "figures" / "drawn_drawn.png").is_file()
    assert "What arm drawn draws on its validation images" in (copy.run / "index.html").read_text("utf-8")
    scored = tables.read_table(copy.run / "04_external_validation" / "predictions.csv", "predictions")
    assert scored.loc[scored["arm"] == "drawn", "score"].between(0, 1).all() and (scored["arm"] == "drawn").sum() >= 10
    shown = tables.read_table(copy.run / "05_interpretability" / "saliency.csv")
    assert "drawn" in set(shown["map"])
    items = (copy.run / "checklists" / "tripod_ai.csv").read_text("utf-8")
    assert "small_unet, a U-Net that draws lungs and lesions" in items
    told = (copy.run / "checklists" / "claim2024.csv").read_text("utf-8")
    assert "the lesion as drawn (lesions)" in told
