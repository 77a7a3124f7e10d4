"""What a result depends on, and results that were made with other values than their run's file has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from nbhelpers.runs import parameters
from nbhelpers.runs.dependence import made_otherwise

ARMS = {
    "cropped": {"source": "simulator", "crop": "content"},
    "raw": {"source": "simulator", "crop": "none"},
    "roentgen_v2": {"source": "simulator_roentgen", "crop": "none"},
}


def test_a_result_made_by_hand_with_another_value_is_found_and_says_which(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": "mine", "arms": ARMS, "epochs": 2}, sort_keys=False))
    values, folder = parameters.load(path), tmp_path / "outputs" / "mine"

    def made(stage: str, **by_hand: Any) -> None:
        notebook = parameters.NOTEBOOKS / f"{stage.split('/')[0]}.ipynb"
        record = {name: values[name] for name in parameters.declared(notebook) if name in values} | by_hand
        (folder / stage).mkdir(parents=True, exist_ok=True)
        (folder / stage / "run.json").write_text(json.dumps({"parameters": record}))

    made(
        "01_prompting", workers=7, device="cpu", arms={"both": ARMS["raw"] | {"source": "simulator_roentgen+simulator"}}
    )
    made("02_cropping")
    made("03_training/raw", arm="raw", epochs=4)
    made("03_training/raw/seed_3", arm="raw", training_seed=3)
    made("03_training/cropped", arm="cropped", arms={"cropped": ARMS["cropped"]})
    made("03_training/roentgen_v2", arm="roentgen_v2", arms=ARMS | {"roentgen_v2": ARMS["raw"]})
    made("03_training/gone", arm="gone", epochs=9)
    made("04_external_validation", n_resamples=50)
    made("07_segmentation", segmentation_data=["simulated_lungs"])  # the file asks for none
    assert made_otherwise(folder, values) == {
        "03_training/raw/run.json": {"epochs": (4, 2)},
        "03_training/roentgen_v2/run.json": {"arms": (ARMS["raw"], ARMS["roentgen_v2"])},
        "04_external_validation/run.json": {"n_resamples": (50, values["n_resamples"])},
    }
