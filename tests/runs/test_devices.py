import os
import subprocess
import sys

import pytest
import torch

from nbhelpers.errors import UserError
from nbhelpers.runs import devices
from nbhelpers.runs.devices import Device, pick_device, use_threads


def test_what_a_device_prints_names_it_again():
    device = pick_device("cpu")
    assert str(Device("cpu", torch.bfloat16)) == "cpu (bfloat16)" and str(Device("cpu", None)) == "cpu (fp32)"
    assert pick_device(str(device)) == device == Device.of(device.name, device.number_format)


@pytest.mark.parametrize(("name", "message"), [("gpu", "unknown device 'gpu'"), ("cuda:99", "no 'cuda:99'")])
def test_a_device_that_cannot_be_had_is_one_clear_error(monkeypatch, name, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        pick_device(name)


def test_auto_takes_cuda_then_mps_then_the_cpu(monkeypatch):
    there = {"cuda": True, "mps": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there["cuda"])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there["mps"])
    assert pick_device("auto") == Device("cuda", torch.float16)
    there["cuda"] = False
    assert pick_device("auto") == Device("mps", None)
    there["mps"] = False
    assert pick_device("auto").name == "cpu"


def test_a_cpu_that_only_emulates_bfloat16_computes_in_float32(monkeypatch):
    monkeypatch.setattr(devices, "_cpu_has_bf16", lambda: False)
    assert pick_device("cpu") == Device("cpu", None)


def test_autocast_is_on_only_where_a_number_format_is_chosen():
    x = torch.ones(2, 2)
    with Device("cpu", torch.bfloat16).mixed_precision():
        assert (x @ x).dtype == torch.bfloat16
    with Device("cpu", None).mixed_precision():
        assert (x @ x).dtype == torch.float32


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores with a stated load on each; torch's threads are as before afterwards."""
    before = torch.get_num_threads()

    def with_load(*shares, most=4, quota=4):
        monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(len(shares))), raising=False)
        monkeypatch.setattr(devices.psutil, "cpu_percent", lambda *_, **__: list(shares))
        monkeypatch.setattr(devices, "_MOST_THREADS", most)
        monkeypatch.setattr(devices, "cpu_count", lambda: quota)

    yield with_load
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("shares", "limits", "threads"),
    [
        ((2.0, 5.0, 1.0, 0.0), {}, 4),
        ((100.0, 3.0), {"most": 2}, 1),
        ((100.0, 100.0, 3.0, 4.0), {}, 2),
        ((100.0, 100.0, 100.0, 100.0), {}, 1),
        ((0.0, 0.0, 0.0, 0.0), {"most": 2}, 2),
        ((0.0, 0.0, 0.0, 0.0), {"quota": 3}, 3),
    ],
)
def test_torch_computes_with_as_many_threads_as_cores_are_idle(machine, shares, limits, threads):
    machine(*shares, **limits)
    told = use_threads()
    assert torch.get_num_threads() == threads
    assert told.startswith(f"{threads} thread") and f"of {len(shares)} CPU cores {sum(shares) / 100:.1f} busy" in told


def test_a_number_of_threads_that_is_set_is_taken_whatever_the_load(machine):
    machine(100.0, 100.0)
    assert use_threads(2) == "2 threads (as set; 2 CPU cores)" and torch.get_num_threads() == 2
    with pytest.raises(UserError, match="threads = 0"):
        use_threads(0)


def test_threads_that_wait_do_not_spin():
    code = "import nbhelpers, os; print(os.environ['GOMP_SPINCOUNT'])"
    free = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    for told, environment in (("0", free), ("999", free | {"GOMP_SPINCOUNT": "999"})):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == told
