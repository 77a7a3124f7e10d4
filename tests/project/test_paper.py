"""`params/paper.yaml` from prompt to report: the paper's arms, sources and data sets, at the smallest size.

Gemini is the local server, which answers each prompt with a simulated film; RoentGen-v2 is a small folder to import;
RSNA and Kermany are written by fixtures; the network is a ResNet-18 from a file of random weights. All else is the
paper's file.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import timm
import yaml
from films import rsna_fixture
from image_models.gemini_server import GeminiServer, Reply, body, image_body
from PIL import Image
from safetensors.torch import save_file

from nbhelpers.films import rsna
from nbhelpers.images.files import write_png
from nbhelpers.prompting import prompts
from nbhelpers.runs import parameters, tables
from nbhelpers.simulator.film import Film, draw_films

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SECRET = "key-that-must-not-show-anywhere-9f3b"
PAIRS = 6
TINY = {
    "images_per_class": PAIRS,
    "backbone": "resnet18",
    "image_size": 64,
    "epochs": 1,
    "batch_size": 4,
    "val_fraction": 0.34,
    "extra_seeds": 0,
    "n_resamples": 50,
    "robustness_films": 20,
    "clustering_films": 20,
    "clustering_seeds": 1,
    "saliency_films": 6,
    "diversity_images": PAIRS,
    "diversity_backbone": "resnet18",
    "device": "cpu",
    "gemini_budget_usd": 1.0,
}


def png_bytes(film: Film) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(film.image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GeminiServer, str]:
    """The executed run's folder, the server, and what the pipeline told."""
    folder = tmp_path_factory.mktemp("paper")
    values = parameters.read_yaml(parameters.ROOT / "params" / "paper.yaml") | TINY
    design = prompts.design(PAIRS, values["seed"], prompts.load_templates(None))
    films = draw_films(design, physics="nano_banana", size=256, workers=1)
    pictures = {prompt: png_bytes(film) for prompt, film in zip(design["prompt"], films, strict=True)}
    data = folder / "data"
    written = rsna_fixture.write(data, n_films=24, size=128, odd=False)
    written.mapping.rename(written.root / rsna.CROSS_REFERENCE)
    write_films(data / "chest_xray" / "test", 12, seed=5)
    imported = folder / "roentgen"
    listed = write_films(imported, 2 * PAIRS, seed=7)
    listed.assign(label=listed["label"].map({"normal": "No Finding", "pneumonia": "Pneumonia"})).to_csv(
        imported / "list.csv", index=False
    )
    weights = folder / "resnet18.safetensors"
    save_file(timm.create_model("resnet18", num_classes=1000).state_dict(), str(weights))
    values |= {"init": str(weights), "diversity_init": str(weights), "roentgen_import": str(imported)}
    (folder / "paper.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    with GeminiServer(lambda call: Reply(body=body(image_body(pictures[call.prompt])))) as server:
        environment = os.environ | {
            "NBHELPERS_OUTPUTS": str(folder / "outputs"),
            "NBHELPERS_DATA": str(data),
            "GOOGLE_GEMINI_BASE_URL": server.url,
            "GEMINI_API_KEY": SECRET,
        }
        environment.pop("GOOGLE_API_KEY", None)
        done = subprocess.run(
            [sys.executable, "-m", "nbhelpers", "run", str(folder / "paper.yaml")],
            cwd=parameters.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1700,
        )
    assert done.returncode == 0, done.stdout
    return folder / "outputs" / values["run"], server, done.stdout


def write_films(folder: Path, count: int, seed: int) -> pd.DataFrame:
    """Simulated films in folders NORMAL and PNEUMONIA; gives `image, label`."""
    design = prompts.design(count // 2, seed, prompts.load_templates(None))
    rows = []
    films = draw_films(design, physics="hospital_a", size=160, workers=1)
    for row, film in zip(design.to_dict("records"), films, strict=True):
        name = f"{row['label'].upper()}/person{row['pair_id']}_{row['label']}.png"
        write_png(folder / name, film.image)
        rows.append({"image": name, "label": row["label"]})
    return pd.DataFrame(rows)


def test_the_papers_experiment_ends_with_its_report(run: tuple[Path, GeminiServer, str]) -> None:
    folder, _, told = run
    assert told.rstrip().endswith(str(folder / "index.html"))
    for figure in ("figure_1", "figure_2", "figure_3", "figure_4"):
        assert (folder / "figures" / f"{figure}.png").stat().st_size > 5_000
    metrics = tables.read_table(folder / "04_external_validation" / "metrics.csv", "metrics")
    assert set(metrics["dataset"]) == {"rsna", "rsna_full", "kermany"}
    # Both RSNA cohorts, of the same files: the hard negatives are what they differ by.
    films = metrics[(metrics["subgroup"] == "all") & (metrics["metric"] == "auroc")].drop_duplicates("dataset")
    counts = films.set_index("dataset")
    truth = pd.read_csv(folder.parent.parent / "data" / "rsna" / "stage_2_detailed_class_info.csv")
    hard = truth.loc[truth["class"] == "No Lung Opacity / Not Normal", "patientId"].nunique()
    assert counts.loc["rsna_full", "n"] == 24 and counts.loc["rsna", "n"] == 24 - hard
    # The published cross-reference lies in the data set's folder, and no parameter names it.
    assert counts.loc[["rsna", "rsna_full"], "n_patients"].notna().all()
    titles = tables.read_table(folder / "04_external_validation" / "datasets.csv").set_index("dataset")["title"]
    assert titles["rsna"] == "RSNA 2018" and titles["rsna_full"] == "RSNA 2018 (all classes)"
    excluded = tables.read_table(folder / "04_external_validation" / "excluded_films.csv")
    assert (excluded["dataset"] == "rsna").sum() == hard
    assert {"cropped", "raw", "roentgen_v2"} <= set(metrics["arm"])


def test_each_image_was_asked_for_once_and_is_told_with_its_cost(run: tuple[Path, GeminiServer, str]) -> None:
    folder, server, _ = run
    assert len(server.calls) == 2 * PAIRS and set(server.nth.values()) == {1}
    images = tables.read_table(folder / "01_prompting" / "gemini" / "images.csv", "images")
    assert (images["status"] == "ok").all() and images["model_version"].notna().all()
    assert images["cost_usd"].sum() == pytest.approx(2 * PAIRS * 0.0387, rel=0.01)
    requests = tables.read_table(folder / "01_prompting" / "requests.csv")
    told = requests[requests["source"] == "gemini"].iloc[0]
    assert (told["outcome"], told["requests"]) == ("ok", 2 * PAIRS)


def test_the_key_is_in_no_file_and_no_line_of_the_run(run: tuple[Path, GeminiServer, str]) -> None:
    folder, server, told = run
    assert server.calls[0].headers["x-goog-api-key"] == SECRET and SECRET not in told
    holding = [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holding == []
