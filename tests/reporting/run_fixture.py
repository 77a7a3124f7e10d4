"""A small hand-made run folder whose every count is known, for tests of what reads runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

ARMS = {
    "cropped": {"source": "simulator", "crop": "content"},
    "raw": {"source": "simulator", "crop": "none", "method": "pairs"},
    "photos": {"source": "gemini", "crop": "content"},
}


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


def _stage(folder: Path, name: str, parameters: dict[str, Any], **facts: Any) -> None:
    run = {
        "stage": name.split("/")[0],
        "parameters": {"run": folder.name, "seed": 3, **parameters},
        "seed": 3,
        "versions": {"python": "3.11.9", "nbhelpers": "1.0", "torch": "2.6.0", "timm": "1.0.15"},
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "inputs": {},
        "device": "cpu (fp32)",
        "finished": "2026-01-02T03:04:05+00:00",
        "wall_seconds": 12.5,
        **facts,
    }
    _json(folder / name / "run.json", run)


def images(source: str, n_pairs: int = 10) -> list[dict[str, Any]]:
    """Two images a pair; of gemini's the last two were refused."""
    rows = []
    for pair in range(n_pairs):
        for letter, label in (("p", "pneumonia"), ("n", "normal")):
            refused = source == "gemini" and pair == n_pairs - 1
            rows.append(
                {
                    "image_id": f"{letter}{pair:05d}",
                    "pair_id": f"{pair:05d}",
                    "path": "" if refused else f"images/{letter}{pair:05d}.png",
                    "label": label,
                    "source": source,
                    "simulated": source == "simulator",
                    "prompt": f"a chest X-ray, {label}",
                    "model": "gemini-2.5-flash-image" if source == "gemini" else "simulator 1",
                    "sex": "female" if pair % 2 else "male",
                    "age": 30 + pair,
                    "view": "PA" if pair % 2 else "AP",
                    "sha256": "" if refused else f"{pair:064d}",
                    "width": 256,
                    "height": 256,
                    "status": "refused: safety" if refused else "ok",
                }
            )
    return rows


def write(folder: Path, with_validation: bool = True) -> Path:
    """Write the run; returns its folder.

    Sources hold 20 images. `cropped` loses two near-duplicates; `photos` two refused and one too small. A fifth of the
    pairs validates. 24 films of `simulated_hospital` are scored, all; of the 30 of `kermany`, 24, of 12 patients.
    """
    for source in ("simulator", "gemini"):
        rows = images(source)
        _csv(folder / "01_prompting" / source / "images.csv", rows)
        cropped = []
        for row in rows:
            for crop in ("content", "none"):
                if row["status"] != "ok":
                    continue
                reason = ""
                if source == "simulator" and crop == "content" and row["pair_id"] == "00009":
                    reason = "near_duplicate"
                if source == "gemini" and row["image_id"] == "p00000":
                    reason = "too_small"
                box = {"left": 0, "top": 0, "right": 250, "bottom": 240}
                status = "excluded" if reason else "ok"
                cropped.append({**row, "crop": crop, **box, "status": status, "reason": reason})
        _csv(folder / "02_cropping" / source / "images.csv", cropped)
    shared = {"arms": ARMS}
    _stage(folder, "01_prompting", {**shared, "images_per_class": 10})
    _stage(folder, "02_cropping", {**shared, "crop_margins": [0.04, 0.04, 0.04, 0.1], "min_side": 128})
    for arm, kind in ARMS.items():
        table = pd.read_csv(folder / "02_cropping" / kind["source"] / "images.csv", dtype={"pair_id": str})
        kept = table[(table["crop"] == kind["crop"]) & (table["status"] == "ok")]
        split = kept[["image_id", "pair_id"]].assign(
            label=(kept["label"] == "pneumonia").astype(int),
            group="pair " + kept["pair_id"],
            split=["validation" if pair in ("00000", "00001") else "train" for pair in kept["pair_id"]],
        )
        place = folder / "03_training" / arm
        _csv(place / "split.csv", split.to_dict("records"))
        history = [
            {"epoch": epoch, "train_loss": 0.7 / epoch, "val_loss": 0.6 / epoch, "val_auroc": 0.7 + 0.1 * epoch}
            for epoch in (1, 2)
        ]
        _csv(place / "history.csv", history)
        _json(
            place / "model.json",
            {
                "backbone": "resnet18",
                "init": "random",
                "init_origin": "random",
                "transform": {"size": 128, "channels": 1, "standardise": "image"},
                "seed": 3,
                "arm": {"name": arm, **kind},
                "simulated": kind["source"] == "simulator",
                "training": {
                    **{"epochs": 2, "batch_size": 16, "learning_rate": 0.0003, "weight_decay": 0.05},
                    **{"augmentation": "films", "best_epoch": 2, "val_fraction": 0.2, "patience": 0},
                    "images": split["split"].value_counts().to_dict(),
                },
                "val_auroc": 0.9,
                "classes": ["normal", "pneumonia"],
                "versions": {"torch": "2.6.0"},
                "weights_sha256": "ab" * 32,
            },
        )
        _stage(folder, f"03_training/{arm}", {**shared, "arm": arm, "backbone": "resnet18", "init": "random"})
    if with_validation:
        _validation(folder)
    return folder


def adds_up(counts: pd.DataFrame) -> pd.Series:
    """By arm and data set, whether what went in is what came out (train and validation together) and was left out."""
    found = {}
    for name, flow in counts.groupby("name", sort=False):
        kept = flow[flow["kept"]]
        ends = kept[kept["step"].isin(("train", "validation", "scored"))]
        found[name] = kept["n"].iloc[0] == ends["n"].sum() + flow.loc[~flow["kept"], "n"].sum()
    return pd.Series(found)


def _validation(folder: Path) -> None:
    place = folder / "04_external_validation"
    common = {"licence": "test", "prevalence": 0.5, "n": 24, "n_positive": 12}
    _csv(
        place / "datasets.csv",
        [
            {
                "dataset": "simulated_hospital",
                "title": "Other hospital",
                "simulated": True,
                "n_patients": 12,
                "excluded": 0,
                **common,
            },
            {
                "dataset": "kermany",
                "title": "Chest X-Ray (Kermany)",
                "simulated": False,
                "n_patients": 12,
                "excluded": 6,
                **common,
            },
        ],
    )
    _csv(
        place / "exclusions.csv",
        [
            {"dataset": "kermany", "reason": "file missing", "films": 2, "example": "a"},
            {"dataset": "kermany", "reason": "unreadable", "films": 4, "example": "b"},
        ],
    )
    predictions, metrics = [], []
    for arm_index, arm in enumerate(ARMS):
        for dataset in ("simulated_hospital", "kermany"):
            for film in range(24):
                known = {"view": "PA" if film % 4 else "AP", "sex": "female" if film % 3 else "male", "age": 40 + film}
                row = {"arm": arm, "dataset": dataset, "image_id": f"f{film:03d}", "patient_id": f"q{film // 2:02d}"}
                score = 0.2 + 0.6 * (film % 2) - 0.05 * arm_index
                predictions.append({**row, "label": film % 2, "score": score, **(known if arm else {})})
            for metric, value in (("auroc", 0.8 - 0.1 * arm_index), ("aupr", 0.7)):
                for method in ("bootstrap_image", "bootstrap_patient"):
                    metrics.append(
                        {
                            **{"arm": arm, "dataset": dataset, "subgroup": "all", "metric": metric, "value": value},
                            **{"ci_low": value - 0.05, "ci_high": value + 0.05, "n": 24, "n_patients": 12},
                            **{"prevalence": 0.5, "ci_method": method, "primary": method == "bootstrap_patient"},
                        }
                    )
    _csv(place / "predictions.csv", predictions)
    _csv(place / "metrics.csv", metrics)
    _csv(
        place / "baselines.csv",
        [
            {
                **{"dataset": "kermany", "baseline": "file_size", "title": "file size", "metric": "auroc"},
                **{"value": 0.75, "ci_low": 0.7, "ci_high": 0.8, "n": 24, "direction_from": "synthetic images"},
                **{"direction": "lower", "uses_labels": False, "ci_method": "bootstrap_patient"},
            },
            {
                **{"dataset": "kermany", "baseline": "thumbnail_trained", "title": "thumbnail (trained on this set)"},
                **{"metric": "auroc", "value": 0.95, "ci_low": 0.9, "ci_high": 0.99, "n": 24, "uses_labels": True},
                **{"direction": "higher", "direction_from": "this set", "ci_method": "bootstrap_patient"},
            },
        ],
    )
    against = {"kind": "fixed", "baseline": "file_size", "title": "file size", "baseline_auroc": 0.75}
    ends = {"ci_low": -0.1, "ci_high": 0.1}
    _csv(
        place / "comparison.csv",
        [
            {
                "arm": arm,
                "dataset": "kermany",
                "auroc": area,
                **against,
                "difference": area - 0.75,
                **ends,
                "verdict": verdict,
            }
            for arm, area, verdict in (
                ("cropped", 0.8, "beats"),
                ("raw", 0.7, "is not distinguishable from"),
                ("photos", 0.6, "falls below"),
            )
        ],
    )
    _stage(
        folder,
        "04_external_validation",
        {"arms": ARMS, "datasets": ["simulated_hospital", "kermany"], "n_resamples": 2000, "film_crop": "none"},
    )
    _csv(
        folder / "05_interpretability" / "clusters.csv",
        [{"arm": "cropped", "dataset": "kermany", "accuracy": 0.7, "ari": 0.2}],
    )
    _stage(folder, "05_interpretability", {"arms": ARMS, "datasets": ["simulated_hospital", "kermany"]})


def write_segmentation(folder: Path) -> None:
    """The tables of notebook 07 for one simulated set, with the stand-in as omnimodel."""
    _stage(folder, "07_segmentation", {"segmentation_data": ["simulated_lesions"]})
    place = folder / "07_segmentation"
    same = {"dataset": "simulated_lesions", "n": 100, "mean_a": 0.4, "mean_b": 0.1, "ci_low": -0.4, "ci_high": -0.2}
    whole = same | {"selection": "all", "extreme": "all", "difference": -0.3}
    hard = same | {"selection": "specialist", "extreme": "hard", "n": 5, "difference": 0.187, "swap_null": 0.201}
    _csv(place / "comparison.csv", [whole, hard | {"swap_p": 0.62}])
    _csv(place / "datasets.csv", [{"dataset": "simulated_lesions", "title": "Lesions (simulated)", "simulated": True}])
    model = {"dataset": "simulated_lesions", "model": "omnimodel", "role": "omnimodel", "what": "x", "stand_in": True}
    _csv(place / "models.csv", [model])
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "figures" / "figure_6.png").write_bytes(b"")


def write_editing(folder: Path) -> None:
    """The tables of notebook 06 for two editors of simulated pictures, one of which gave no picture."""
    _stage(folder, "06_image_editing", {"editors": {"careless": None, "gone": {"provider": "withdrawn"}}})
    place = folder / "06_image_editing"
    measured = {"error_inside": 44.4, "error_inside_all": 44.4, "error_outside": 20.5, "error_outside_aligned": 9.1}
    rows = []
    for kind in ("remove", "all"):
        rows.append({"editor": "careless", "kind": kind, "n": 28, "n_came": 28, "change_iou": 0.05} | measured)
        rows.append({"editor": "gone", "kind": kind, "n": 28, "n_came": 0, "error_inside_all": 60.0})
    for row in rows:
        ends = {f"{name}_{end}": row.get(name) for name in (*measured, "change_iou") for end in ("low", "high")}
        row |= ends | {"cost_usd": None}
    _csv(place / "overall.csv", rows)
    _csv(place / "pictures.csv", [{"edit_id": "a", "task": "take_off_lines", "simulated": True}])
    (folder / "figures").mkdir(exist_ok=True)
    for name in ("figure_5", "editing_chain"):
        (folder / "figures" / f"{name}.png").write_bytes(b"")
