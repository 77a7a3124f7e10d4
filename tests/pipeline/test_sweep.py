"""A sweep written out: every combination once, what is shared shared, and every fault at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from nbhelpers.errors import UserError
from nbhelpers.pipeline import checks, sweep
from nbhelpers.pipeline.plan import Plan
from nbhelpers.runs import parameters

ARMS = {
    "clean": {"source": "simulator", "crop": "none", "method": "finetune"},
    "mixed": {"source": "simulator+simulator_roentgen", "crop": "none", "method": "finetune"},
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NBHELPERS_OUTPUTS", str(tmp_path / "outputs"))
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({"run": "base", "arms": ARMS, "epochs": 3}))

    def write(**values: Any) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"run": "mine", "base": "base.yaml"} | values, sort_keys=False))
        return path

    return write


def test_every_combination_is_an_arm_of_one_run_with_every_seed(file: Any) -> None:
    lists = {"backbones": ["resnet18", "test_vit"], "images": [10, 200, "all"], "seeds": [4, 5]}
    values = sweep.load(file(sweep=lists, image_size=64))
    assert len(values["arms"]) == 2 * 2 * 3 and sweep.size(values) == 24
    assert values["arms"]["mixed_test_vit_200"] == ARMS["mixed"] | {"backbone": "test_vit", "images": "200"}
    assert values["arms"]["clean_resnet18_all"] == ARMS["clean"] | {"backbone": "resnet18"}
    assert (values["seed"], values["extra_seeds"], values["epochs"], values["run"]) == (4, 1, 3, "mine")


def test_one_list_names_its_arms_by_what_varies_alone(file: Any) -> None:
    assert list(sweep.load(file(sweep={"arms": ["mixed"], "images": [10, 20]}))["arms"]) == ["mixed_10", "mixed_20"]
    assert list(sweep.load(file(sweep={"backbones": ["test_vit"]}))["arms"]) == ["clean", "mixed"]
    assert list(sweep.load(file(sweep={"seeds": [0, 1]}))["arms"]) == ["clean", "mixed"]


def test_an_arm_with_a_network_of_its_own_is_trained_once_whatever_the_backbones(file: Any) -> None:
    arms = ARMS | {"drawn": {"source": "simulator", "crop": "none", "method": "lesions"}}
    lists = {"backbones": ["test_resnet", "test_vit"], "images": [10, 20]}
    path = file(arms=arms, sweep=lists | {"arms": ["clean", "drawn"]}, image_size=64, init="random")
    found = sweep.load(path)["arms"]
    assert [name for name in found if name.startswith("drawn")] == ["drawn_10", "drawn_20"]
    assert found["drawn_20"] == arms["drawn"] | {"images": "20"} and len(found) == 4 + 2
    checks.check_inputs(path)
    with pytest.raises(UserError, match="no arm that takes one"):
        sweep.load(file(arms=arms, sweep=lists | {"arms": ["drawn"]}))


def test_images_are_drawn_and_cropped_once_whatever_the_number_of_trainings(file: Any) -> None:
    few, many = ({"images": counts, "seeds": seeds} for counts, seeds in (([10], [0]), ([10, 20, 30, 40, 50], [0, 1])))
    triggers = []
    for lists in (few, many):
        path = file(sweep=lists)
        path.with_name("plain.yaml").write_text(yaml.safe_dump(sweep.load(path)))
        plan = Plan(path.with_name("plain.yaml"))
        triggers.append([plan.trigger(stage) for stage in ("01_prompting", "02_cropping")])
    assert triggers[0] == triggers[1]


def test_an_arms_own_backbone_concerns_its_training_alone(file: Any) -> None:
    path = file(sweep={"backbones": ["resnet18", "test_vit"]})
    path.with_name("plain.yaml").write_text(yaml.safe_dump(sweep.load(path)))
    plan = Plan(path.with_name("plain.yaml"))
    one, other = (plan.trigger("03_training", f"clean_{name}") for name in ("resnet18", "test_vit"))
    assert one.replace("resnet18", "test_vit") == other != one


def test_a_plain_file_is_read_as_ever(file: Any, tmp_path: Path) -> None:
    assert sweep.load(tmp_path / "base.yaml") == parameters.load(tmp_path / "base.yaml")


def test_the_whole_of_what_is_wrong_is_told_at_once_before_anything_runs(file: Any) -> None:
    lists = {"arms": ["clean", "clen", "clean"], "image": [3], "images": [1, 5], "backbones": ["resnet81"]}
    with pytest.raises(UserError) as told:
        checks.check_inputs(file(sweep=lists | {"seeds": [0, 2]}, epochz=3, val_fraction=2.0))
    heading, *lines = str(told.value).splitlines()
    wanted = ("'clen'", "clean twice", "'image'", "images = [1, 5]", "did you mean 'resnet", "seeds are", "'epochz'")
    assert heading.startswith(f"{len(lines)} faults") and len(lines) == len(wanted) + 1
    assert all(any(word in line for line in lines) for word in (*wanted, "val_fraction"))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"sweep": []}, "give lists of arms, backbones, images, seeds"),
        ({"sweep": {"images": []}}, "1 or more of them"),
        ({"sweep": {"images": ["5"]}}, "images"),
        ({"sweep": {"images": [10]}, "arms": {"a": ARMS["clean"] | {"images": "4"}}}, "images of its own"),
        ({"sweep": {"images": [10, 10]}}, "10 twice"),
        ({"sweep": {"images": [10]}, "arms": {"a": ARMS["clean"], "a_10": ARMS["clean"]}, "base": "none.yaml"}, "none"),
        ({"sweep": {"images": [10]}, "base": "../none/base.yaml"}, "cannot be read"),
        ({"sweep": {"seeds": [1, 2]}, "seed": 5}, "seed beside the sweep's seeds"),
        ({"sweep": {"seeds": [3, 2]}}, "count on from the first: [3, 4]"),
        ({"sweep": {"images": [10, 999]}, "images_per_class": 20}, "999 images, and 32 will be there"),
        (
            {"sweep": {"backbones": ["resnet18", "test_vit"]}, "arms": {"a": ARMS["clean"] | {"method": "probe"}}},
            "resnet18",
        ),
    ],
)
def test_what_cannot_be_is_said_with_its_place(file: Any, values: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as error:
        checks.check_inputs(file(**values, init="random", diversity_init="random"))
    assert told in str(error.value)


def test_the_example_is_a_dose_curve_of_three_seeds() -> None:
    values = sweep.load(parameters.ROOT / "params" / "sweep_example.yaml")
    assert values["extra_seeds"] == 2 and len({arm["images"] for arm in values["arms"].values()}) > 3
    assert checks.check_arms(values, "") == []
