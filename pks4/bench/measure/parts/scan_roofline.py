"""The least time of a scan on this machine, from two kernels that are timed beside it.

* `copy`: torch's copy of a tensor larger than any cache. A scan must move u, delta and y, and with
  a backward also y's gradient, the gradients of u and delta, and u and delta again; B and C too.
* `exp`, on a CPU: the scan's polynomial for 2^x, over an array that stays in first-level cache. A
  scan takes one for each state of each channel, site and step, and two with a backward, since no
  states are kept. A GPU has no such kernel here, so its roofline is the copy.

The roofline is the longer of the two. It leaves out multiply-adds, so no scan can reach it.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from pks4.scan.numba_kernels import aligned
from pks4.scan.numba_vectors import LANES, TEXT, exp2, load, store

IN_CACHE = 2048  # numbers: 8 KiB, and 8 KiB for the results
PASSES = 4096  # over them in one call
UNROLLED = 4
COPIED_BYTES = 256 << 20
MOVED = {False: 3, True: 8}  # arrays of u's size, without and with a backward

Samples = Mapping[str, Sequence[tuple[float, ...]]]  # by arm: clocks of a call, one a round


class Kernel(NamedTuple):
    """A call, the work of one call, and the work of the scan: exponentials, or bytes moved."""

    call: Callable[[], object]
    work: int
    needed: int


def kernels(inputs: Sequence[Tensor], *, training: bool) -> dict[str, Kernel]:
    """The kernels by name. `inputs` are those of `scan_sites`: u (b, t, s, d), delta, A (d, n), …

    `training`: the scan has a backward.
    """
    u, n = inputs[0], inputs[2].shape[1]
    rows, d = u.shape[:3].numel(), u.shape[3]
    moved = rows * (MOVED[training] * d + 2 * n) * u.element_size()
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=u.device)
    target = torch.empty_like(source)
    found = {"copy": Kernel(lambda: target.copy_(source), 2 * COPIED_BYTES, moved)}
    if u.device.type == "cpu":
        x, y = aligned.py_func(2 * IN_CACHE).reshape(2, IN_CACHE)
        x[:] = np.linspace(-20, 0, IN_CACHE)
        exps = rows * d * n * (2 if training else 1)
        found["exp"] = Kernel(lambda: exp2_passes(x, y, PASSES), PASSES * IN_CACHE, exps)
    return found


def seconds(by_name: dict[str, Kernel], samples: Samples, arm: str) -> list[tuple[float, ...]]:
    """The roofline's clocks in each round: of the kernel that takes longer for the scan's work.

    `samples` holds each kernel's under `ARM NAME`.
    """
    scaled = [
        [tuple(x * kernel.needed / kernel.work for x in clocks) for clocks in samples[f"{arm} {k}"]]
        for k, kernel in by_name.items()
    ]
    return [max(clocks) for clocks in zip(*scaled, strict=True)]


def rates(by_name: dict[str, Kernel], samples: Samples, arm: str) -> dict[str, Any]:
    """Work a second of each kernel, by its median, and the name of the one that sets it."""
    found = {
        name: kernel.work / median(wall for wall, *_ in samples[f"{arm} {name}"])
        for name, kernel in by_name.items()
    }
    bound = max(by_name, key=lambda name: by_name[name].needed / found[name])
    return {"per_second": found, "bound": bound}


def _exp2_passes(text):
    """The loop, cached under `text`: see `numba_vectors.TEXT`."""

    @njit(nogil=True, cache=True, error_model="numpy")
    def exp2_passes(x, y, passes):
        """y = 2^x, `passes` times."""
        text  # noqa: B018
        for _ in range(passes):
            for i in range(0, x.size, UNROLLED * LANES):
                for q in range(UNROLLED):
                    at = i + q * LANES
                    store(y, at, exp2(load(x, at)))  # type: ignore[call-arg]  # numba's own

    return exp2_passes


exp2_passes = _exp2_passes(TEXT)
