"""Evaluation alone: a checkpoint and films of the user's own, through the notebook, with nothing drawn or trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from films import rsna_fixture
from reporting import run_fixture

from nbhelpers.__main__ import main
from nbhelpers.errors import UserError
from nbhelpers.interpretability import localisation
from nbhelpers.networks import models, own_checkpoint
from nbhelpers.pipeline import notebooks
from nbhelpers.pipeline.plan import Plan
from nbhelpers.reporting import checklists, flow, model_card, run_facts
from nbhelpers.runs import parameters


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    torch.save(models.build("resnet18", "random", 1, seed=1).state_dict(), folder / "weights.pth")
    own_checkpoint.convert(folder / "weights.pth", folder / "mine", "resnet18", 64, channels=1, standardise="image")
    return folder / "mine"


def experiment(path: Path, checkpoint: Path, **values: Any) -> Path:
    chosen = {"run": "own", "arms": {}, "checkpoints": {"mine": str(checkpoint)}, "datasets": ["folder"], **values}
    path.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    return path


def own_films(folder: Path, n: int = 12) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for index in range(n):
        boxes = [[200.0, 300.0, 200.0, 300.0]] if index % 2 else []
        cv2.imwrite(str(folder / f"{index}.png"), rsna_fixture.draw_film(boxes, 128, rng))
        rows.append({"path": f"{index}.png", "label": index % 2, "patient_id": f"q{index // 3}"})
    pd.DataFrame(rows).to_csv(folder / "films.csv", index=False)
    return folder / "films.csv"


def test_packaged_file_holds_a_valid_experiment_without_arms() -> None:
    values = parameters.load(parameters.ROOT / "params" / "evaluate_own.yaml")
    assert values["arms"] == {} and values["checkpoints"] and values["datasets"] == ["folder"]


def test_both_evaluating_notebooks_declare_checkpoints_alike() -> None:
    declared = [
        parameters.declared(parameters.NOTEBOOKS / f"{stage}.ipynb")["checkpoints"]
        for stage in ("04_external_validation", "05_interpretability")
    ]
    assert len({(entry.annotation, str(entry.default), entry.help) for entry in declared}) == 1


def test_pipeline_asks_for_no_drawing_and_no_training(tmp_path: Path, checkpoint: Path) -> None:
    plan = Plan(experiment(tmp_path / "own.yaml", checkpoint))
    assert plan.records() == ["04_external_validation/run.json", "05_interpretability/run.json"]
    files = [(plan.folder / path).resolve() for path in plan.networks()]
    assert files == [(checkpoint / name).resolve() for name in ("checkpoint.safetensors", "model.json")]


def test_checkpoint_stands_beside_trained_arms(tmp_path: Path, checkpoint: Path) -> None:
    arms = {"raw": {"source": "simulator", "crop": "none"}}
    plan = Plan(experiment(tmp_path / "own.yaml", checkpoint, arms=arms))
    assert "03_training/raw/model.json" in plan.networks() and len(plan.networks()) == 4
    assert plan.records()[:3] == ["01_prompting/run.json", "02_cropping/run.json", "03_training/raw/run.json"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"checkpoints": {}}, "no arm is named"),
        ({"arms": {"mine": {"source": "simulator", "crop": "none"}}}, "'mine' is an arm and a checkpoint"),
        ({"checkpoints": {"a/b": "x"}}, "cannot name a folder"),
        ({"checkpoints": ["x"]}, "use a mapping"),
    ],
)
def test_experiment_that_cannot_be_is_refused(
    tmp_path: Path, checkpoint: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parameters.load(experiment(tmp_path / "own.yaml", checkpoint, **values))


def test_missing_checkpoint_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    assert main(["run", str(experiment(tmp_path / "own.yaml", tmp_path / "nowhere"))]) == 2
    assert "lacks model.json and checkpoint.safetensors" in capfd.readouterr().err


def test_rsna_shaped_and_own_films_go_through_the_notebook(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rsna = rsna_fixture.write(tmp_path / "data", n_films=40, size=256)
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    films = own_films(tmp_path / "films")
    values = {"folder_films": str(films), "rsna_patients": str(rsna.mapping), "n_resamples": 50, "device": "cpu"}
    notebooks.execute(
        "04_external_validation",
        experiment(tmp_path / "own.yaml", checkpoint, datasets=["rsna", "folder"], **values),
    )
    run = tmp_path / "outputs" / "own"
    scored = pd.read_csv(run / "04_external_validation" / "predictions.csv", dtype={"patient_id": str})
    cohort = rsna.films[rsna.films["class"].isin(("Normal", "Lung Opacity"))].set_index("patientId")
    cohort = cohort.drop([rsna.broken, rsna.cut, rsna.missing])
    rows = scored[scored["dataset"] == "rsna"].set_index("image_id")
    assert set(rows.index) == set(cohort.index)
    assert rows["label"].equals(cohort.loc[rows.index, "target"].rename("label").rename_axis("image_id"))
    assert (rows["patient_id"] == cohort.loc[rows.index, "nih_file"].str[:8]).all()
    assert (scored["dataset"] == "folder").sum() == 12

    known = run_facts.read(run)
    counts = flow.flow_counts(known)
    assert run_fixture.adds_up(counts).all() and set(counts["part"]) == {"evaluation"}
    reasons = counts[(counts["name"] == "rsna") & ~counts["kept"]].set_index("reason")["n"]
    hard = int((rsna.films["class"] == "No Lung Opacity / Not Normal").sum())
    assert reasons.to_dict() == {"not in the cohort": hard, "unreadable": 2, "file missing": 1}

    text = model_card.write(run).read_text()
    assert "How well does mine, a checkpoint of the user, perform on RSNA 2018" in text
    assert "mine was not trained in this run" in text and "One training seed" not in text
    table = checklists.fill(known).set_index(["checklist", "item"])
    assert table.loc[("CLAIM 2024", "24"), "status"] == "partly"
    assert "which this run did not train" in table.loc[("CLAIM 2024", "25"), "open"]
    facts = json.loads((run / "04_external_validation" / "run.json").read_text())
    assert facts["parameters"]["checkpoints"] == {"mine": str(checkpoint)}


@pytest.mark.slow
def test_grad_cam_is_scored_against_the_boxes_of_rsna_in_the_notebook(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rsna = rsna_fixture.write(tmp_path / "data", n_films=30, size=1024)  # boxes count in pixels of films of this size
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    values = {"rsna_patients": str(rsna.mapping), "n_resamples": 50, "device": "cpu", "robustness_films": 20}
    tiny = {"clustering_films": 20, "clustering_seeds": 1, "saliency_films": 0}
    experiment(tmp_path / "own.yaml", checkpoint, datasets=["rsna"], **values, **tiny)
    for stage in ("04_external_validation", "05_interpretability"):
        notebooks.execute(stage, tmp_path / "own.yaml")
    run = tmp_path / "outputs" / "own"
    films = pd.read_csv(run / "05_interpretability" / "saliency_films.csv")
    lost = [rsna.broken, rsna.cut, rsna.missing]
    ill = rsna.films[(rsna.films["target"] == 1) & ~rsna.films["patientId"].isin(lost)].set_index("patientId")
    assert set(films["image_id"]) == set(ill.index) and len(ill) > 3
    assert set(films["map"]) == {*localisation.BASELINES, "mine"}
    assert films[["pointing", "energy", "iou"]].notna().all(axis=None) and films["in_lungs"].isna().all()
    # The centre prior's share inside the boxes, from the boxes themselves, at the 64 pixels that the network sees.
    centres = (np.arange(64) + 0.5) / 64
    bell = np.exp(-((centres - 0.5) ** 2) / (2 * localisation.CENTRE_SD**2))
    prior = films[films["map"] == "centre_prior"].set_index("image_id")["energy"]
    for name, boxes in ill["boxes"].items():
        inside = np.zeros((64, 64), bool)
        for left, top, width, height in np.asarray(boxes) / 1024:
            rows, columns = (centres >= top) & (centres < top + height), (centres >= left) & (centres < left + width)
            inside |= rows[:, None] & columns[None, :]
        assert prior[name] == pytest.approx(np.outer(bell, bell)[inside].sum() / bell.sum() ** 2, abs=1e-5), name
    summary = pd.read_csv(run / "05_interpretability" / "saliency.csv").set_index(["map", "metric"])
    mine = summary.loc[("mine", "energy")]
    means = films.groupby("map")["energy"].mean()
    assert mine["value"] == pytest.approx(means["mine"]) and mine["n"] == len(ill)
    assert mine["randomised_weights_less"] == pytest.approx(means["mine"] - means["randomised_weights"])
    assert mine["n_patients"] == ill["nih_file"].str[:8].nunique()
    for name in ("figure_3", "figure_4", "saliency"):
        assert (run / "figures" / f"{name}.png").stat().st_size > 5_000
    assert len(pd.read_csv(run / "05_interpretability" / "cluster_spaces.csv"))
    told = pd.read_csv(run / "04_external_validation" / "excluded_films.csv").set_index("image_id")["reason"]
    assert set(lost) <= set(told.index) and told[rsna.missing] == "file missing"
    for name in ("patients", "baseline_directions", "thresholds", "reliability", "decision_curve"):
        assert (run / "04_external_validation" / f"{name}.csv").is_file(), name
