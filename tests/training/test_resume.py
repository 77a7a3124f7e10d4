"""A training that was stopped goes on where it was, and ends as if nothing had happened."""

import pandas as pd
import pytest
import torch
from training.training_fixture import disc_arm, disc_masks, same, train, weights

from nbhelpers.networks import lesions, models
from nbhelpers.runs.devices import Device
from nbhelpers.training import train as training
from nbhelpers.training.resume import RESUME_FILE
from nbhelpers.training.schedule import Settings
from nbhelpers.training.train import _train_epoch


@pytest.fixture(scope="module")
def arm():
    return disc_arm(12)


@pytest.fixture(scope="module")
def trained(arm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(folder, *arm)


class _KilledError(Exception):
    pass


def interrupt_in_epoch(monkeypatch, number):
    original = _train_epoch

    def interrupted(state, *rest):
        if len(state.history) + 1 == number:
            raise _KilledError
        return original(state, *rest)

    monkeypatch.setattr(training, "_train_epoch", interrupted)


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(trained, arm, tmp_path, monkeypatch, epoch):
    folder, whole = trained
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        interrupt_in_epoch(patch, epoch)
        train(tmp_path, *arm)
    assert (tmp_path / RESUME_FILE).is_file()
    resumed = train(tmp_path, *arm)
    assert resumed.resumed_from == epoch - 1
    assert same(weights(folder), weights(tmp_path))
    pd.testing.assert_frame_equal(resumed.history, whole.history)
    assert not (tmp_path / RESUME_FILE).exists()


def test_a_network_that_draws_resumes_too_and_not_with_other_masks(arm, tmp_path, monkeypatch):
    drawing = {"backbone": lesions.NAME, "masks": disc_masks(12)}
    whole = train(tmp_path / "whole", *arm, **drawing)
    interrupted(tmp_path / "arm", arm, monkeypatch, **drawing)
    assert train(tmp_path / "arm", *arm, **drawing).resumed_from == 1
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "arm"))
    assert whole.history["val_auroc"].notna().all()
    interrupted(tmp_path / "other", arm, monkeypatch, **drawing)
    assert train(tmp_path / "other", *arm, **drawing | {"masks": 255 - disc_masks(12)}).resumed_from == 0


def test_a_kill_before_the_checkpoint_is_written_costs_no_epoch(trained, arm, tmp_path, monkeypatch):
    folder, _ = trained
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        patch.setattr(models, "save_checkpoint", lambda *_: (_ for _ in ()).throw(_KilledError))
        train(tmp_path, *arm)
    assert train(tmp_path, *arm).resumed_from == 3
    assert same(weights(folder), weights(tmp_path))


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"settings": Settings(epochs=3, batch_size=8, learning_rate=2e-3)}, {"images": 1}]
)
def test_a_changed_training_starts_afresh(arm, tmp_path, monkeypatch, changes):
    table, images = arm
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        interrupt_in_epoch(patch, 2)
        train(tmp_path, table, images)
    if changes.pop("images", None):
        images = images ^ 1
    assert train(tmp_path, table, images, **changes).resumed_from == 0


def test_a_broken_resume_file_starts_afresh(arm, tmp_path):
    (tmp_path / RESUME_FILE).write_bytes(b"half a file")
    assert train(tmp_path, *arm, Settings(epochs=1, batch_size=8)).resumed_from == 0


@pytest.fixture
def threads():
    """Two threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def interrupted(folder, arm, monkeypatch, **changes):
    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        interrupt_in_epoch(patch, 2)
        train(folder, *arm, **changes)


def test_a_resumed_training_keeps_its_threads_and_its_number_format(arm, tmp_path, monkeypatch, threads):
    monkeypatch.setattr(training, "faster_format", lambda *_: Device("cpu", None))
    whole = train(tmp_path / "whole", *arm, device="cpu").description.training
    interrupted(tmp_path / "arm", arm, monkeypatch, device="cpu")
    # By now the machine is busy, and measures the other way.
    torch.set_num_threads(1)
    monkeypatch.setattr(training, "faster_format", lambda *_: Device("cpu", torch.bfloat16))
    resumed = train(tmp_path / "arm", *arm, device="cpu")
    assert resumed.resumed_from == 1 and torch.get_num_threads() == threads
    assert resumed.description.training == whole
    assert (whole["threads"], whole["precision"]) == (threads, "fp32")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "arm"))


def test_a_number_format_that_is_asked_for_by_name_counts_more_than_what_was(arm, tmp_path, monkeypatch, threads):
    interrupted(tmp_path, arm, monkeypatch, device=Device("cpu", None))
    assert train(tmp_path, *arm, device=Device("cpu", torch.bfloat16)).resumed_from == 0
