"""Routes of a specialist: each ends as maps of all test cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from segmentation.segmentation_fixture import write, written_set

from nbhelpers.errors import UserError
from nbhelpers.metrics.overlap import dice
from nbhelpers.segmentation import specialists

PARAMETERS = {
    "specialist_size": 64,
    "specialist_epochs": 1,
    "specialist_batch": 4,
    "specialist_learning_rate": 3e-3,
    "device": "cpu",
}


def split_set(root: Path):
    found = written_set(root, 9)
    found.cases["split"] = ["train"] * 6 + ["test"] * 3
    return found


def test_a_trained_network_is_kept_and_loads_as_another_runs_specialist(tmp_path: Path) -> None:
    found = split_set(tmp_path)
    made = specialists.answer(found, "train", "specialist", "specialist", tmp_path / "s", PARAMETERS, 0)
    assert made.kinds == {"c06": "mask", "c07": "mask", "c08": "mask"} and "small_unet, seed 0" in made.title
    kept = tmp_path / "s/networks/written/specialist"
    again = specialists.answer(found, f"smp:{kept}", "third", "third", tmp_path / "s", PARAMETERS, 0)
    assert (made.read("c07", (96, 96)) == again.read("c07", (96, 96))).all()


def test_masks_from_elsewhere_may_lie_in_a_folder_of_the_sets_name(tmp_path: Path, monkeypatch) -> None:
    found = split_set(tmp_path)
    for case in found.part("test"):
        write(tmp_path / f"maps/written/{case['case']}.png", found.truth(case).astype(np.uint8) * 255)
    monkeypatch.setenv("NBHELPERS_DATA", str(tmp_path))
    for spec in (f"masks:{tmp_path / 'maps'}", "masks:maps"):
        made = specialists.answer(found, spec, "specialist", "specialist", tmp_path / "s", PARAMETERS, 0)
        assert dice(made.read("c06", (96, 96)) > 127, found.truth(found.part("test")[0])) == 1


def test_a_second_annotator_is_one_more_model(tmp_path: Path) -> None:
    found = split_set(tmp_path)
    with pytest.raises(UserError, match="no second annotator"):
        specialists.answer(found, "annotator_2", "third", "third", tmp_path / "s", PARAMETERS, 0)
    found.cases["annotator_2"] = [masks[0] for masks in found.cases["masks"]]
    made = specialists.answer(found, "annotator_2", "third", "third", tmp_path / "s", PARAMETERS, 0)
    assert not made.swept and dice(made.read("c06", (96, 96)) > 127, found.truth(found.part("test")[0])) == 1


@pytest.mark.slow
def test_a_mask2former_from_a_local_folder_draws_maps_of_any_size(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=24, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        dim_feedforward=32, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=5, num_labels=2,
    )  # fmt: skip
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(tmp_path / "m2f")
    size = {"height": 64, "width": 64}
    transformers.Mask2FormerImageProcessor(size=size, num_labels=2).save_pretrained(tmp_path / "m2f")
    found = split_set(tmp_path)
    spec = f"mask2former:{tmp_path / 'm2f'}"
    made = specialists.answer(found, spec, "specialist", "specialist", tmp_path / "s", PARAMETERS, 0)
    assert made.read("c06", (96, 96)).shape == (96, 96) and set(made.kinds.values()) == {"mask"}
    with pytest.raises(UserError, match="Mask2Former cannot be loaded"):
        specialists.answer(found, f"mask2former:{tmp_path}", "third", "third", tmp_path / "s", PARAMETERS, 0)


def test_an_unknown_route_and_a_folder_that_is_not_named_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'train'"):
        specialists.check_route("trian", "specialist")
    with pytest.raises(UserError, match="does not name an existing folder"):
        specialists.check_route("smp:", "specialist")
