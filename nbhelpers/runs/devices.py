"""What this machine computes on, and the fastest number format that it has in hardware."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from nbhelpers.errors import UserError


@dataclass(frozen=True)
class Device:
    """A torch device and the dtype that autocast uses there; `autocast` is None where plain fp32 is faster."""

    name: str
    autocast: torch.dtype | None

    @property
    def torch(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.name)

    def mixed_precision(self) -> contextlib.AbstractContextManager[object]:
        """Autocast context for this device, or one that does nothing."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.torch.type, dtype=self.autocast)

    def __str__(self) -> str:
        number = "fp32" if self.autocast is None else str(self.autocast).removeprefix("torch.")
        return f"{self.name} ({number})"


def _cpu_has_bf16() -> bool:
    # Emulated bf16 is slower than fp32, so the instruction set decides, not what runs.
    flags = torch.backends.cpu.get_cpu_capability()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="ignore") as handle:
        listed = handle.read()
        return any(flag in listed for flag in ("avx512_bf16", "amx_bf16", " bf16"))
    return "AMX" in flags


def pick_device(wanted: str = "auto") -> Device:
    """The device to compute on.

    `wanted` is `auto` (CUDA, then Apple's MPS, then the CPU), or a torch device name such as `cpu` or `cuda:1`; what
    a printed `Device` says (`cpu (bfloat16)`) names it too. A device that is not there is a `UserError`.
    """
    wanted = wanted.split(" ")[0]
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(wanted).type
    except RuntimeError:
        raise UserError(f"unknown device {wanted!r}", "device", "use auto, cpu, cuda or mps") from None
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not there.get(kind, False):
        raise UserError(f"this machine has no {wanted!r} that torch can use", "device", "use auto or cpu")
    if kind == "cuda":
        return Device(wanted, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
    if kind == "cpu":
        return Device(wanted, torch.bfloat16 if _cpu_has_bf16() else None)
    return Device(wanted, None)
