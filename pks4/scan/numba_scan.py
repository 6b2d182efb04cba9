"""The scan on a CPU by compiled kernels: tensors in, threads over sites, tensors out.

`torch.get_num_threads()` Python threads run the kernels, which release the interpreter lock. So
concurrent callers and forked DataLoader workers are safe; with Numba's threading layers they are
not. Each thread takes a range of sites. If sites are few, as in a scan over one long sequence, it
takes a range of channels, and the threads' gradients of B and C are summed.

The first call in an installation compiles for seconds; later processes load the result.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pks4.scan.custom_op import Flags, Inputs, empty_state, gradient_like, lines, scan_operator

if TYPE_CHECKING:
    from pks4.scan.numba_kernels import Part, Problem

WORTH_A_THREAD = 1 << 18  # state-steps: tens of microseconds
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}  # by process and size


def _problem(inputs: Inputs, flags: Flags) -> "Problem":
    from pks4.scan.numba_kernels import Problem
    from pks4.scan.numba_vectors import LOG2_E

    u, delta, A, B, C, D, bias = inputs
    A = _blocks(A.float().numpy() * LOG2_E)  # (c, 16, n)
    return Problem(
        *_rows(u),
        *_rows(delta),
        A.transpose(0, 2, 1).ravel(),
        *_rows(B.float()),
        *_rows(C.float()),
        *(
            _blocks(np.zeros(len(inputs.A)) if v is None else _array(v.float())).ravel()
            for v in (D, bias)
        ),
        tuple(u.shape),
        A.shape[2],
        flags.softplus,
        flags.reverse,
    )


def _blocks(x: np.ndarray) -> np.ndarray:
    """(d, ...) as float32 (c, 16, ...), padded with zeros."""
    from pks4.scan.numba_vectors import LANES

    blocks = -(-len(x) // LANES)
    out = np.zeros((blocks * LANES, *x.shape[1:]), np.float32)
    out[: len(x)] = x
    return out.reshape(blocks, LANES, *x.shape[1:])


def _array(x: Tensor) -> np.ndarray:
    """x as an array; unlike numpy(), this lets FSDP free the weight's memory later."""
    return np.from_dlpack(x.detach())


def _rows(x: Tensor) -> tuple[np.ndarray, int]:
    """A flat array and the distance between its rows."""
    rows = lines(x)
    size = (len(rows) - 1) * rows.stride(0) + rows.shape[1] if len(rows) else 0
    return _flat(rows.as_strided((size,), (1,))), rows.stride(0)


def _flat(x: Tensor) -> np.ndarray:
    x = x.view(-1)
    return (x.view(torch.int16) if x.dtype == torch.bfloat16 else x).numpy()


def _parts(x: "Problem") -> list["Part"]:
    """One part a thread."""
    from pks4.scan.numba_kernels import LANES, Part

    (b, t, s, d), blocks = x.shape, len(x.D) // LANES
    threads = min(torch.get_num_threads(), max(1, b * t * s * d * x.n // WORTH_A_THREAD))
    if b * s >= min(4 * threads, blocks):
        cuts = _cuts(b * s, threads)
        return [Part(i, j, 0, blocks) for i, j in cuts]
    return [Part(0, b * s, i, j - i) for i, j in _cuts(blocks, threads)]


def _cuts(things: int, parts: int) -> list[tuple[int, int]]:
    ends = np.linspace(0, things, min(parts, things) + 1).astype(int).tolist()
    return list(pairwise(ends))


def _run(tasks: list[Callable[[], None]]) -> None:
    """Run all tasks, the first on this thread."""
    key = (os.getpid(), len(tasks))
    if len(tasks) > 1 and key not in _pools:
        _pools[key] = ThreadPoolExecutor(len(tasks) - 1, "pks4-scan")
    futures = [_pools[key].submit(task) for task in tasks[1:]]
    tasks[0]()
    for future in futures:
        future.result()


def _forward(inputs: Inputs, flags: Flags) -> tuple[Tensor, Tensor, Tensor]:
    from pks4.scan import numba_kernels

    x = _problem(inputs, flags)
    y = torch.empty_like(inputs.u, memory_format=torch.contiguous_format)
    last = empty_state(inputs, flags)
    out = _flat(y), _flat(last)
    _run([lambda part=part: numba_kernels.forward(x, part, *out) for part in _parts(x)])
    return y, last, y.new_empty(0)


def _backward(g: Tensor, kept: Tensor, inputs: Inputs, flags: Flags) -> tuple[Tensor, ...]:
    from pks4.scan import numba_kernels

    x, u, lanes = _problem(inputs, flags), inputs.u, numba_kernels.LANES
    parts, g = _parts(x), _flat(g)
    shares = len(parts) if parts[0].blocks < len(x.D) // lanes else 1
    g_u, g_delta = gradient_like(u, u), gradient_like(inputs.delta, u)
    g_B, g_C = (u.new_empty(shares, *inputs.B.shape, dtype=torch.float32) for _ in range(2))
    sums = [np.zeros((len(parts), len(v))) for v in (x.A, x.D, x.bias)]
    tasks = []
    for i, part in enumerate(parts):
        share = i if shares > 1 else 0
        g_A, g_D, g_bias = (v[i] for v in sums)
        grads = numba_kernels.Gradients(
            _flat(g_u), _flat(g_delta), g_A, _flat(g_B[share]), _flat(g_C[share]), g_D, g_bias
        )
        tasks.append(lambda part=part, grads=grads: numba_kernels.backward(g, x, part, grads))
    _run(tasks)
    g_A, g_D, g_bias = (v.sum(0) for v in sums)
    g_A = g_A.reshape(-1, x.n, lanes).transpose(0, 2, 1).reshape(-1, x.n)
    g_B, g_C = (v.sum(0).to(u.dtype) if shares > 1 else v[0].to(u.dtype) for v in (g_B, g_C))
    g_A, g_D, g_bias = (
        _sum_like(v, like, u)
        for v, like in ((g_A, inputs.A), (g_D, inputs.D), (g_bias, inputs.delta_bias))
    )
    return g_u, g_delta, g_A, g_B, g_C, g_D, g_bias


def _sum_like(value: np.ndarray, x: Tensor | None, u: Tensor) -> Tensor:
    if x is None:
        return u.new_empty(0)
    return torch.from_numpy(np.ascontiguousarray(value[: len(x)])).to(x.dtype)


scan_numba = scan_operator("numba", _forward, _backward)
