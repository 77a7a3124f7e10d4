import pytest
import torch

from nbhelpers.errors import UserError
from nbhelpers.runs import devices
from nbhelpers.runs.devices import Device, pick_device


def test_what_a_device_prints_names_it_again():
    device = pick_device("cpu")
    assert str(Device("cpu", torch.bfloat16)) == "cpu (bfloat16)" and str(Device("cpu", None)) == "cpu (fp32)"
    assert pick_device(str(device)) == device


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
