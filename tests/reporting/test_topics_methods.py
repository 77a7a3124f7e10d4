"""What is said of networks and methods, against the model descriptions of a hand-made run."""

from __future__ import annotations

import json
from pathlib import Path

from reporting import run_fixture

from nbhelpers.reporting import run_facts, topics_methods


def test_the_network_is_told_with_its_backbone(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo"))
    told = str(topics_methods.model(facts))
    assert all(model["backbone"] in told for model in facts.models.values())


def test_the_software_is_told_with_its_versions(tmp_path: Path) -> None:
    facts = run_facts.read(run_fixture.write(tmp_path / "demo"))
    told = str(topics_methods.software(facts))
    assert "2.6.0" in told and "1.0.15" in told


def test_methods_first_weights_and_what_was_chosen_are_told(tmp_path: Path) -> None:
    folder = run_fixture.write(tmp_path / "demo")
    path = folder / "03_training" / "raw" / "model.json"
    made = json.loads(path.read_text())
    made |= {"init_origin": "ImageNet, package of weights", "probe": {"names": ["layer2"], "sizes": [64, 96]}}
    path.write_text(json.dumps(made | {"training": {"images": made["training"]["images"]}}))
    facts = run_facts.read(folder)
    assert "ImageNet, package of weights, seed 3" in str(topics_methods.initialisation(facts))
    told = str(topics_methods.training(facts))
    assert "method finetune" in told and "method pairs, probe names layer2, probe sizes 64 96" in told
    chosen = str(topics_methods.selection(facts))
    assert "cropped epoch 2" in chosen and "Nothing was chosen for raw" in chosen


def test_maps_are_named_by_the_methods_of_the_arms_and_grad_cam_only_where_there_is_one(tmp_path: Path) -> None:
    folder = run_fixture.write(tmp_path / "demo")
    for method, said in (("finetune", "maps: Grad-CAM."), ("lesions", "maps: the lesion as drawn (lesions).")):
        for path in folder.glob("03_training/*/model.json"):
            made = json.loads(path.read_text())
            path.write_text(json.dumps(made | {"arm": made["arm"] | {"method": method}}))
        assert said in str(topics_methods.explanation(run_facts.read(folder)))
    path.write_text(json.dumps(made | {"arm": made["arm"] | {"method": "probe"}}))
    told = str(topics_methods.explanation(run_facts.read(folder)))
    assert "contributions of each place (probe, pairs); the lesion as drawn (lesions)." in told
