"""A simulated hospital: other physics than the training images, patients of several films, and a view that misleads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nbhelpers.errors import UserError
from nbhelpers.films.film_set import FilmSet, Truth
from nbhelpers.images.masks import Box, resize_mask
from nbhelpers.prompting import prompts
from nbhelpers.prompting.sources.simulator import SimulatorSource
from nbhelpers.runs.files import inside
from nbhelpers.runs.tables import write_table
from nbhelpers.simulator.truth import read_truth

SIZE = 256
PHYSICS = "hospital_a"
MORE_FILMS = 0.6  # chance of one more film of the same patient, up to MOST_FILMS
MOST_FILMS = 8
ILL = 0.5  # share of patients who have pneumonia at some time
PNEUMONIA = 0.8  # share of an ill patient's films that show it
# As in the RSNA set: the ill are filmed in bed. "Is it AP?" alone reaches an AUROC of about 0.75.
AP_GIVEN_PNEUMONIA, AP_GIVEN_NORMAL = 0.75, 0.25


def load(parameters: Mapping[str, Any], run_folder: Path) -> FilmSet:
    """The simulated hospital of a run, drawn below `04_external_validation/simulated_hospital/` where it is not yet.

    Read are `hospital_patients`, `seed` and `workers`. Films that were drawn before are kept, so a drawing that was
    interrupted goes on. The table has every attribute that was drawn, `truth_path` (see `read_truth` of
    `simulator.truth`) and the lesion's box `lesion_left ... lesion_bottom`.
    """
    patients, seed = int(parameters["hospital_patients"]), int(parameters["seed"])
    films = design(patients, seed)
    folder = run_folder / "04_external_validation" / "simulated_hospital"
    source = SimulatorSource("simulator", {"simulator_size": SIZE, "workers": int(parameters.get("workers", 0))})
    source.name, source.physics = "simulated_hospital", PHYSICS
    drawn = source.draw(films, folder)
    films = films.merge(drawn, on="image_id", validate="one_to_one")
    films["label"] = (films["label"] == "pneumonia").astype(int)
    write_table(films, folder / "films.csv")
    return FilmSet(
        name="simulated_hospital",
        title="Other hospital (simulated)",
        simulated=True,
        root=folder,
        films=films.assign(truth_known=True),
        truth=partial(_truth, folder),
        licence="made by this run",
        notes=[
            "Every film is simulated; none is of a patient.",
            "Films with pneumonia are AP more often than normal ones, as in real hospitals: the view is a shortcut by "
            "design.",
        ],
    )


def _truth(folder: Path, film: Mapping[str, Any], size: int, box: Box) -> Truth:
    lungs, lesion, _ = read_truth(inside(folder, film["truth_path"]))
    return Truth(resize_mask(lesion, size, box), resize_mask(lungs, size, box))


def design(patients: int, seed: int) -> pd.DataFrame:
    """Patients with one to `MOST_FILMS` films each, one row a film, as in `prompts.design`.

    Sex, age, habitus and anatomy belong to the patient; view, position, devices and exposure to the film. About half
    of the patients are ill at some time, four fifths of whose films show it: prevalence is near 0.4, and films of a
    patient are no independent evidence. View depends on the label, everything else is drawn alike for both.

    Raises
    ------
    UserError
        With fewer than 10 patients: both classes must be there.
    """
    if patients < 10:
        raise UserError(f"hospital_patients = {patients}", "hospital_patients", "use 10 or more")
    generator = np.random.default_rng([seed, 4])
    # Scenes and diseases of the prompt design, dealt to films by view and age.
    pool = prompts.design(400, seed=seed + 1_000_003, templates=prompts.load_templates())
    scenes = pool[pool["label"] == "normal"].to_dict("records")
    diseases = pool[pool["label"] == "pneumonia"].to_dict("records")
    alike: dict[tuple[str, bool], list[dict[Any, Any]]] = {}
    for scene in scenes:
        alike.setdefault((scene["view"], scene["age_group"] == "child"), []).append(scene)
    rows: list[dict[str, Any]] = []
    for number in range(patients):
        patient = scenes[int(generator.integers(len(scenes)))]
        anatomy = int(generator.integers(2**31))
        films = min(int(generator.geometric(1 - MORE_FILMS)), MOST_FILMS)
        # The first two make sure that both classes are there, however few patients are asked for.
        ill = number == 0 or (number != 1 and generator.random() < ILL)
        for film in range(films):
            shows = ill and (film == 0 or generator.random() < PNEUMONIA)
            view = "AP" if generator.random() < (AP_GIVEN_PNEUMONIA if shows else AP_GIVEN_NORMAL) else "PA"
            choice = alike[view, patient["age_group"] == "child"]
            scene = choice[int(generator.integers(len(choice)))]
            disease = diseases[int(generator.integers(len(diseases)))]
            rows.append(
                {
                    "image_id": f"h{number:05d}_{film}",
                    "patient_id": f"h{number:05d}",
                    "label": "pneumonia" if shows else "normal",
                    **{name: patient[name] for name in ("sex", "age_group", "age", "habitus")},
                    **{name: scene[name] for name in ("view", "position", "devices", "exposure")},
                    **{name: disease[name] if shows else "" for name in prompts.DISEASE},
                    "pair_seed": anatomy,
                    "seed": int(generator.integers(2**31)),
                }
            )
    return pd.DataFrame(rows)
