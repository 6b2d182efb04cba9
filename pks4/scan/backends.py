"""Which scan backends there are, what each takes, and which one `auto` means."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import NamedTuple

import torch

from pks4.errors import unknown_name


class Backend(NamedTuple):
    """What a backend takes; an empty tuple is anything."""

    devices: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = ()  # of u
    package: str = ""  # that must be there to run it
    remedy: str = ""


FAST_DTYPES = (torch.float32, torch.bfloat16)
CUDA_DTYPES = (*FAST_DTYPES, torch.float16)
BACKENDS = {
    "reference": Backend(),
    "recompute": Backend(),
    "numba": Backend(("cpu", "meta"), FAST_DTYPES, "numba", "pip install numba"),
    "mamba_ssm": Backend(
        ("cuda", "meta"),
        CUDA_DTYPES,
        "selective_scan_cuda",
        "on a machine with CUDA: pip install 'pks4-bench[cuda]'",
    ),
    "triton": Backend(("cuda", "meta"), CUDA_DTYPES, "triton", "pip install triton"),
}
INSTALLED = frozenset(b.package for b in BACKENDS.values() if b.package and find_spec(b.package))
_assumed_device: ContextVar[str] = ContextVar("assumed_device", default="")
AUTO = {"cpu": "numba", "meta": "numba", "cuda": "mamba_ssm"}  # where it applies; else recompute


@contextmanager
def assuming_device(device: str) -> Iterator[None]:
    """While open, backends are chosen as on this device, with every package there.

    For shapes without values, as in a simulation; a real tensor would meet what is not there.
    """
    token = _assumed_device.set(device)
    try:
        yield
    finally:
        _assumed_device.reset(token)


def resolve(backend: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> str:
    """The name of the backend that runs for tensors of this device type and dtype.

    A name stands for itself; "auto" is numba on a CPU (on meta too, which counts for a CPU) and
    mamba_ssm on CUDA, where they are installed and take the dtype, and recompute otherwise.

    Raises ValueError for an unknown name and for a backend that cannot run here, with the remedy.
    """
    device = _assumed_device.get() or device
    if backend == "auto":
        name = AUTO.get(device, "recompute")
        return "recompute" if _obstacle(name, device, dtype) else name
    if backend not in BACKENDS:
        raise ValueError(unknown_name("scan backend", backend, ["auto", *BACKENDS]))
    if obstacle := _obstacle(backend, device, dtype):
        raise ValueError(f"scan backend {backend!r} {obstacle}")
    return backend


def _obstacle(name: str, device: str, dtype: torch.dtype) -> str:
    """Why a backend cannot run, or nothing."""
    backend = BACKENDS[name]
    devices = backend.devices
    if name == "triton" and os.environ.get("TRITON_INTERPRET") == "1":
        devices += ("cpu",)  # triton's interpreter, a test of the arithmetic
    if devices and device not in devices:
        return f"does not run on {device}, only on {', '.join(devices)}; take 'recompute'"
    if backend.dtypes and dtype not in backend.dtypes:
        return f"does not take {dtype}; take 'recompute'"
    there = device == "meta" or _assumed_device.get() or backend.package in INSTALLED
    if backend.package and not there:
        return f"is not installed; {backend.remedy}"
    return ""
