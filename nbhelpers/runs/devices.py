"""What this machine computes on: device, the number format that it has in hardware, and how many threads are free."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import psutil
import torch
from joblib import cpu_count

from nbhelpers.errors import UserError

# torch's own choice, before any of ours: the physical cores, or OMP_NUM_THREADS.
_MOST_THREADS = torch.get_num_threads()
_SAMPLE_SECONDS = 0.5


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

    @classmethod
    def of(cls, name: str, number_format: str) -> Device:
        """The device of this name that computes in `fp32`, `bfloat16` or `float16`."""
        return cls(name, None if number_format == "fp32" else getattr(torch, number_format))

    @property
    def number_format(self) -> str:
        """`fp32`, or what autocast lowers to."""
        return "fp32" if self.autocast is None else str(self.autocast).removeprefix("torch.")

    def __str__(self) -> str:
        return f"{self.name} ({self.number_format})"


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


def use_threads(wanted: int | None = None) -> str:
    """Let torch compute with `wanted` threads, or with as many as cores are idle now; says what was chosen.

    A thread that waits for its turn on a core holds up all others at every step: beside one busy process on two cores,
    two threads are several times slower than one.
    """
    if wanted is not None and wanted < 1:
        raise UserError(f"threads = {wanted}", "threads", "use 1 or more, or omit it to use the idle cores")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if wanted is None:
        shares = psutil.cpu_percent(_SAMPLE_SECONDS, percpu=True)
        busy = sum(shares[core] for core in cores if core < len(shares)) / 100
        most = min(_MOST_THREADS, cpu_count())
        chosen = max(1, min(most, round(most * (1 - busy / len(cores)))))
        why = f"of {len(cores)} CPU cores {busy:.1f} busy"
    else:
        chosen, why = wanted, f"as set; {len(cores)} CPU cores"
    torch.set_num_threads(chosen)
    return f"{chosen} thread{'s' if chosen > 1 else ''} ({why})"
