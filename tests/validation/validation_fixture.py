"""Made predictions of two arms on one set, and the stage of notebook 04."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from nbhelpers import runs

SETS = {"kermany": SimpleNamespace(title="Chest X-Ray (Kermany)", negatives="normal")}
TITLES = {"good": "good (simulated)", "bad": "bad", "cropped": "cropped (simulated)"}


def made_predictions(n=240, patients=True, seed=0):
    """Two arms on one set: `good` knows the label, `bad` does not."""
    generator = np.random.default_rng(seed)
    label = np.tile([0, 1], n // 2)
    films = pd.DataFrame(
        {
            "image_id": [f"f{i}" for i in range(n)],
            "patient_id": [f"p{i // 4}" for i in range(n)] if patients else pd.NA,
            "label": label,
            "view": np.where(label == 1, "AP", "PA"),
        }
    )
    films = films.assign(sex="female", age=4.0, dataset="kermany")
    scores = {"good": 1 / (1 + np.exp(-generator.normal(3 * label))), "bad": generator.random(n)}
    return pd.concat([films.assign(arm=arm, score=score) for arm, score in scores.items()], ignore_index=True)


def view_predictions(n=1200, shortcut=True, seed=0):
    """`view` knows only the view, `lung` only the disease; with a shortcut, pneumonia is filmed AP more often."""
    generator = np.random.default_rng(seed)
    label = (generator.random(n) < 0.4).astype(int)
    share = np.where(label == 1, 0.8, 0.2) if shortcut else 0.5
    view = np.where(generator.random(n) < share, "AP", "PA")
    films = pd.DataFrame(
        {
            **{"dataset": "hospital", "image_id": [f"f{i}" for i in range(n)], "label": label, "view": view},
            "patient_id": [f"p{i // 3}" for i in range(n)],
            "sex": generator.choice(["F", "M"], n),
            "age": generator.integers(0, 95, n).astype(float),
        }
    )
    scores = {
        "view": 1 / (1 + np.exp(-generator.normal(2.0 * (view == "AP")))),
        "lung": 1 / (1 + np.exp(-generator.normal(1.0 * label))),
    }
    return pd.concat([films.assign(arm=arm, score=score) for arm, score in scores.items()], ignore_index=True)


def stage_of(run_folder):
    """Notebook 04, open on a run."""
    return runs.Stage("04_external_validation", run_folder / "04", run_folder, {"seed": 0, "device": "cpu"}, "cpu")
