"""The simulator as a source: films and their truth, drawn once."""

import cv2
import numpy as np

from nbhelpers.images.files import read_image
from nbhelpers.prompting import prompts
from nbhelpers.prompting.sources.simulator import SimulatorSource
from nbhelpers.simulator.film import draw_film
from nbhelpers.simulator.truth import read_truth


def design_of(pairs):
    """Rows in pairs, the normal film first."""
    design = prompts.design(pairs, 9, prompts.load_templates(None))
    return design.sort_values(["pair_id", "label"]).reset_index(drop=True)


def test_the_source_writes_films_and_truth_and_resumes(tmp_path):
    design = design_of(4)
    source = SimulatorSource("simulator", {"simulator_size": 96, "workers": 1})
    first = source.draw(design.iloc[:5], tmp_path)
    kept = (tmp_path / first["path"].iloc[0]).stat().st_mtime_ns
    (tmp_path / first["truth_path"].iloc[1]).unlink()
    table = source.draw(design, tmp_path)
    assert table["image_id"].tolist() == design["image_id"].tolist() and (table["status"] == "ok").all()
    assert (tmp_path / table["path"].iloc[0]).stat().st_mtime_ns == kept
    film = draw_film(design.iloc[1].to_dict(), design["pair_seed"][1], design["seed"][1], size=96)
    lungs, lesion, overlay = read_truth(tmp_path / table["truth_path"].iloc[1])
    assert np.array_equal(lungs, film.lungs) and np.array_equal(lesion, film.lesion)
    assert np.array_equal(overlay, film.overlay)
    boxes = table.iloc[1]
    assert tuple(boxes[[f"lesion_{edge}" for edge in ("left", "top", "right", "bottom")]]) == film.lesion_box
    assert table["lesion_left"].isna().sum() == 4


def test_the_source_draws_again_what_was_changed(tmp_path):
    design = design_of(2)
    source = SimulatorSource("simulator", {"simulator_size": 64, "workers": 1})
    before = (tmp_path / source.draw(design, tmp_path)["path"].iloc[0]).read_bytes()
    design.loc[0, "seed"] += 1
    assert (tmp_path / source.draw(design, tmp_path)["path"].iloc[0]).read_bytes() != before


def test_the_roentgen_source_is_512_and_clean(tmp_path):
    source = SimulatorSource("simulator_roentgen", {"simulator_size": 96, "workers": 1})
    table = source.draw(design_of(1), tmp_path)
    assert source.simulated and read_truth(tmp_path / table["truth_path"].iloc[0])[0].shape == (512, 512)
    assert table["watermark_left"].isna().all()


def test_twins_differ_in_the_opacity_and_nowhere_else(tmp_path):
    table = SimulatorSource("simulator_roentgen", {"simulator_twins": True, "workers": 1}).draw(design_of(1), tmp_path)
    normal, pneumonia = (np.array(read_image(tmp_path / path), int) for path in table["path"])
    lungs, lesion, _ = read_truth(tmp_path / table["truth_path"].iloc[1])
    differs = np.abs(pneumonia - normal) > 0
    assert differs[lesion].mean() > 0.7
    assert differs[~(cv2.dilate(lungs.astype(np.uint8), np.ones((61, 61))) > 0)].mean() < 0.05
