"""The kernels that a floor of the scan's time is measured with: exponentials, and a copy.

The exponential is the scan's own polynomial, run over an array that stays in first-level cache; the
copy is torch's, of a tensor larger than any cache.
"""

from collections.abc import Callable

import numpy as np
import torch
from numba import njit

from pks4.bench.scan_goals import Work
from pks4.scan.numba_kernels import aligned
from pks4.scan.simd import LANES, TEXT, exp2, load, store

IN_CACHE = 2048  # numbers: 8 KiB, and as many for the results
PASSES = 4096  # over them in one call
UNROLLED = 4
CONTROL_BYTES = 64 << 20


def _exp2_passes(text):
    """The loop, cached under `text`: see `simd.TEXT`."""

    @njit(nogil=True, cache=True, error_model="numpy")
    def exp2_passes(x, y, passes):
        """y = 2^x, again and again."""
        text  # noqa: B018
        for _ in range(passes):
            for i in range(0, x.size, UNROLLED * LANES):
                for q in range(UNROLLED):
                    at = i + q * LANES
                    store(y, at, exp2(load(x, at)))  # type: ignore[call-arg]  # numba's own

    return exp2_passes


exp2_passes = _exp2_passes(TEXT)


def floor_arms(copied_bytes: int) -> tuple[dict[str, Callable[[], object]], Work]:
    """The arms exp and copy, one call each, and what a call does."""
    x, y = aligned.py_func(2 * IN_CACHE).reshape(2, IN_CACHE)
    x[:] = np.linspace(-20, 0, IN_CACHE)
    source = torch.zeros(copied_bytes // 4)
    target = torch.empty_like(source)
    arms = {"exp": lambda: exp2_passes(x, y, PASSES), "copy": lambda: target.copy_(source)}
    return arms, Work(exps=PASSES * IN_CACHE, copied_bytes=2 * source.nbytes)


def control() -> Callable[[], object]:
    """What several threads share well: torch.exp of a large tensor."""
    x = torch.zeros(CONTROL_BYTES // 4)
    y = torch.empty_like(x)
    return lambda: torch.exp(x, out=y)
