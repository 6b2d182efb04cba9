"""The scan backends: what each takes, and which one "auto" means."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import NamedTuple

import torch

from pks4.errors import unknown_name


class Backend(NamedTuple):
    """What a backend takes; an empty tuple means any."""

    devices: tuple[str, ...] = ()
    dtypes: tuple[torch.dtype, ...] = ()  # of u
    package: str = ""  # that it needs
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
AUTO = {"cpu": "numba", "meta": "numba", "cuda": "mamba_ssm"}  # if it can run; else recompute


@contextmanager
def assuming_device(device: str) -> Iterator[None]:
    """Inside this context, choose backends as on this device with every package installed.

    For shapes without values, as in a simulation; real tensors would need the packages.
    """
    token = _assumed_device.set(device)
    try:
        yield
    finally:
        _assumed_device.reset(token)


def resolve(backend: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> str:
    """The name of the backend that runs for tensors of this device type and dtype.

    A name means that backend. "auto" is numba on a CPU (and on meta, which counts as a CPU) and
    mamba_ssm on CUDA, if they are installed and take the dtype; otherwise recompute.

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
    """Why a backend cannot run; empty if it can."""
    backend = BACKENDS[name]
    devices = backend.devices
    if name == "triton" and os.environ.get("TRITON_INTERPRET") == "1":
        devices += ("cpu",)  # triton's interpreter, for tests of the arithmetic
    if devices and device not in devices:
        return f"does not run on {device}, only on {', '.join(devices)}; take 'recompute'"
    if backend.dtypes and dtype not in backend.dtypes:
        return f"does not take {dtype}; take 'recompute'"
    installed = device == "meta" or _assumed_device.get() or backend.package in INSTALLED
    if backend.package and not installed:
        return f"is not installed; {backend.remedy}"
    return ""
