"""The smallest experiment that goes through every notebook."""

from __future__ import annotations

from typing import Any

TINY: dict[str, Any] = {
    "run": "tiny",
    "images_per_class": 6,
    "simulator_size": 128,
    "min_side": 64,
    "arms": {
        "cropped": {"source": "simulator", "crop": "content"},
        "raw": {"source": "simulator", "crop": "none", "method": "pairs"},
    },
    "image_size": 64,
    "epochs": 1,
    "batch_size": 4,
    "val_fraction": 0.34,
    "hospital_patients": 10,
    "n_resamples": 50,
    "robustness_films": 20,
    "clustering_films": 30,
    "clustering_seeds": 1,
    "saliency_films": 6,
    "diversity_images": 6,
    "device": "cpu",
    "editors": {"nothing": None, "inpainting": None, "simulator": None, "careless": None},
    "editing_tasks": ["take_off_lettering", "add_consolidation", "leave_as_it_is"],
    "editing_pictures": 2,
    "editing_size": 128,
    "editing_embedding_size": 64,
    "segmentation_data": ["simulated_lesions"],
    "simulated_training_films": 16,
    "simulated_test_films": 20,
    "specialist_size": 64,
    "specialist_epochs": 1,
    "swaps": 50,
    "threads": 1,  # as many on an idle machine as on a busy one: two runs are compared
}
