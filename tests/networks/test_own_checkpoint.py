"""A user's own weights as a checkpoint: the same scores as the network they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from nbhelpers.__main__ import main
from nbhelpers.errors import UserError
from nbhelpers.metrics import decisions
from nbhelpers.networks import models, own_checkpoint, scoring
from nbhelpers.networks.preprocessing import to_tensor
from nbhelpers.networks.trained import Network
from nbhelpers.validation import operating_point

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)


def network(outputs: int, channels: int = 3) -> torch.nn.Module:
    torch.manual_seed(outputs)
    return timm.create_model("resnet18", num_classes=outputs, in_chans=channels).eval()


@pytest.mark.parametrize(("outputs", "pneumonia"), [(1, 1), (2, 1), (2, 0)])
def test_scores_are_those_of_the_network_that_the_weights_come_from(
    tmp_path: Path, outputs: int, pneumonia: int
) -> None:
    original = network(outputs)
    torch.save({"state_dict": original.state_dict()}, tmp_path / "own.pth")
    told = own_checkpoint.convert(tmp_path / "own.pth", tmp_path / "mine", "resnet18", size=64, pneumonia=pneumonia)
    model, description = models.load_checkpoint(tmp_path / "mine")
    assert description == told and description.transform.size == 64
    with torch.inference_mode():
        logits = original(to_tensor(IMAGES, description.transform))
    expected = logits.sigmoid()[:, 0] if outputs == 1 else logits.softmax(1)[:, pneumonia]
    # bfloat16, where the machine has it, moves a probability by about 0.01.
    np.testing.assert_allclose(scoring.predict(model, IMAGES, description.transform, "cpu"), expected, atol=0.02)
    with torch.inference_mode():
        exact = model(to_tensor(IMAGES, description.transform)).sigmoid()[:, 0]
    np.testing.assert_allclose(exact, expected, atol=1e-6)


def test_command_writes_what_the_parameter_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(network(1, 1).state_dict(), tmp_path / "own.pt")
    words = [str(tmp_path / "own.pt"), "--backbone", "resnet18", "--to", str(tmp_path / "mine"), "--size", "64"]
    assert main(["checkpoint", *words, "--channels", "1", "--standardise", "image"]) == 0
    assert f"checkpoints: {{mine: {tmp_path / 'mine'}}}" in capsys.readouterr().out
    assert models.load_checkpoint(tmp_path / "mine")[1].transform.channels == 1


@pytest.mark.parametrize(
    ("outputs", "channels", "options", "message"),
    [
        (3, 3, {}, "head has 3 outputs.*--output 0 to 2"),
        (14, 3, {"pneumonia": 14}, "head has 14 outputs"),
        (0, 3, {}, "no head"),
        (1, 1, {}, "do not fit resnet18.*--channels"),
        (1, 3, {"backbone": "resnet34"}, "do not fit resnet34"),
        (1, 3, {"backbone": "resnet1"}, "unknown backbone"),
        (1, 3, {"backbone": "small_unet"}, "unknown backbone"),
        (1, 3, {"backbone": "deit_tiny_distilled_patch16_224", "size": 224}, "no single linear layer"),
        (1, 3, {"size": 8}, "too small"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, outputs: int, channels: int, options: dict[str, object], message: str
) -> None:
    torch.save(network(outputs, channels).state_dict(), tmp_path / "own.pth")
    with pytest.raises(UserError, match=message):
        own_checkpoint.convert(tmp_path / "own.pth", tmp_path / "mine", **{"backbone": "resnet18", **options})  # type: ignore[arg-type]
    assert not (tmp_path / "mine").exists()


def test_missing_file_is_one_line_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(tmp_path / "none.pth"), "--backbone", "resnet18", "--to", str(tmp_path / "mine")]
    assert main(["checkpoint", *words]) == 2
    assert "the weights file was not found" in capsys.readouterr().err


def test_own_validation_table_chooses_the_operating_point(tmp_path: Path) -> None:
    torch.save(network(1).state_dict(), tmp_path / "own.pth")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = 1 / (1 + np.exp(-rng.normal(2 * labels - 1)))
    words = np.where(labels == 1, "Pneumonia", "normal")
    pd.DataFrame({"name": range(60), "label": words, "score": scores}).to_csv(tmp_path / "val.csv", index=False)
    arguments = [str(tmp_path / "own.pth"), "--backbone", "resnet18", "--to", str(tmp_path / "mine"), "--size", "64"]
    assert main(["checkpoint", *arguments, "--validation", str(tmp_path / "val.csv")]) == 0
    made = models.load_checkpoint(tmp_path / "mine")
    networks = {"mine": Network("mine", *made, folder=tmp_path / "mine")}
    chosen = operating_point.thresholds(networks)
    assert chosen["threshold"][0] == pytest.approx(decisions.choose_threshold(labels, scores))
    assert chosen["chosen_on"][0] == "own validation set" and operating_point.missing(networks, chosen)[0].endswith(
        ": ok"
    )
    before = (tmp_path / "mine" / "model.json").read_bytes()
    assert main(["checkpoint", *arguments]) == 2, "what is there is never overwritten"
    assert (tmp_path / "mine" / "model.json").read_bytes() == before and operating_point.thresholds(networks).size


def prefixed(state: dict[str, torch.Tensor], body: str, head: str) -> dict[str, torch.Tensor]:
    return {head + name.removeprefix("fc.") if name.startswith("fc.") else body + name: v for name, v in state.items()}


@pytest.mark.parametrize(
    ("body", "head", "wrapped"),
    [
        ("", "fc.", ("model_state_dict",)),
        ("module.", "module.fc.", ("net",)),
        ("model.", "model.fc.", ("weights",)),
        ("net.", "net.fc.1.", ()),
        ("backbone.", "head.", ("state_dict",)),
        ("model.backbone.", "model.classifier.2.", ("checkpoint", "params")),
        ("_orig_mod.module.encoder.", "_orig_mod.module.fc.", ()),
    ],
)
def test_names_that_wrappers_and_scripts_give_are_understood(
    tmp_path: Path, body: str, head: str, wrapped: tuple[str, ...]
) -> None:
    original = network(14)
    saved: dict[str, object] = dict(prefixed(original.state_dict(), body, head))
    for name in wrapped:
        saved = {name: saved, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}, "best": 0.9}
    torch.save(saved, tmp_path / "own.pth")
    own_checkpoint.convert(tmp_path / "own.pth", tmp_path / "mine", "resnet18", size=64, pneumonia=6)
    model, description = models.load_checkpoint(tmp_path / "mine")
    with torch.inference_mode():
        pixels = to_tensor(IMAGES, description.transform)
        torch.testing.assert_close(model(pixels)[:, 0], original(pixels)[:, 6])


def sequential(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With a head of two linear layers."""
    body = {name: value for name, value in state.items() if not name.startswith("fc.")}
    layers = {"fc.0": torch.nn.Linear(512, 64), "fc.2": torch.nn.Linear(64, 1)}
    return body | {f"{n}.{part}": value for n, layer in layers.items() for part, value in layer.state_dict().items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (sequential, r"head is 2 linear layers \(fc.0 of 512 features, fc.2 of 64 features\)"),
        (lambda state: {name: value * torch.nan for name, value in state.items()}, "are not finite"),
        (lambda state: {"epoch": 4, "config": {"lr": 0.1}}, "no named tensors in it.*epoch, config"),
        (lambda state: [1, 2], "no named tensors in it.*list"),
    ],
)
def test_weights_that_cannot_be_used_say_why(tmp_path: Path, change: Any, message: str) -> None:
    torch.save(change(network(1).state_dict()), tmp_path / "own.pth")
    with pytest.raises(UserError, match=message) as told:
        own_checkpoint.convert(tmp_path / "own.pth", tmp_path / "mine", "resnet18", size=64)
    assert "init is" not in str(told.value) and not (tmp_path / "mine").exists()


def test_a_pickled_network_is_not_opened_and_the_way_to_save_it_is_told(tmp_path: Path) -> None:
    torch.save(network(1), tmp_path / "own.pt")
    with pytest.raises(UserError, match=r"pickled object.*torch\.save\(model\.state_dict") as told:
        own_checkpoint.convert(tmp_path / "own.pt", tmp_path / "mine", "resnet18", size=64)
    assert "weights_only" not in str(told.value) and "init" not in str(told.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"label": [0, 1]}, "no column 'score'"),
        ({"label": [0, 2], "score": [0.1, 0.9]}, "label '2'"),
        ({"label": [0, 1], "score": [0.1, 1.9]}, "not between 0 and 1"),
        ({"label": [0, 1], "score": [0.1, None]}, "not between 0 and 1"),
        ({"label": [1, 1], "score": [0.1, 0.9]}, "one class only"),
    ],
)
def test_a_validation_table_that_cannot_be_used_is_refused(
    tmp_path: Path, table: dict[str, list[float]], message: str
) -> None:
    torch.save(network(1).state_dict(), tmp_path / "own.pth")
    pd.DataFrame(table).to_csv(tmp_path / "val.csv", index=False)
    with pytest.raises(UserError, match=message):
        own_checkpoint.convert(tmp_path / "own.pth", tmp_path / "mine", "resnet18", 64, validation=tmp_path / "val.csv")
    assert not (tmp_path / "mine").exists()
