"""The arms of a scan timing, the bytes they keep for backward, their errors, and the floor.

Arms: the backends numba and recompute, and `materialised`, the algorithm that mamba-ssm and
transformers run without CUDA, on tensors in the layout that it wants. The floor is measured with
two kernels: the scan's polynomial for exponentials, over an array that stays in first-level cache,
and torch's copy of a tensor larger than any cache.

Letters as in `pks4`; l is t where the layout is mamba-ssm's.
"""

from collections.abc import Callable
from functools import partial
from math import log
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor

from pks4.bench.scan_speed.goals import (
    FLOAT_BYTES,
    MATERIALISED_MOST_STEPS,
    Operation,
    Shape,
    Steps,
    Work,
)
from pks4.scan import inverse_softplus, scan_sites
from pks4.scan.numba_kernels import aligned
from pks4.scan.numba_vectors import LANES, TEXT, exp2, load, store
from pks4.simulate.saved_bytes import noted_storages

Call = Callable[[], object]
BACKENDS = ("numba", "recompute")  # of this project's scan
INPUTS = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def materialised(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor
) -> Tensor:
    """The scan as others run it without CUDA: decays and inputs of all steps at once, then a loop.

    u, delta: (b, d, l). A: (d, n). B, C: (b, n, l). D, bias: (d,). Returns y (b, d, l).

    Source: the algorithm of `selective_scan_ref` in state-spaces/mamba and of the sequential path
    without kernels in transformers' `MambaMixer`, written again. Plain autograd: the gradient of
    each step's slice is a tensor of all steps, so backward is quadratic in l.
    """
    step = F.softplus(delta + bias[:, None])
    decay = torch.exp(torch.einsum("bdl,dn->bdln", step, A))
    write = torch.einsum("bdl,bnl,bdl->bdln", step, B, u)
    h = u.new_zeros(*u.shape[:2], A.shape[1])  # (b, d, n)
    ys = []
    for i in range(u.shape[2]):
        h = decay[:, :, i] * h + write[:, :, i]
        ys.append(torch.einsum("bdn,bn->bd", h, C[:, :, i]))
    return torch.stack(ys, 2) + D[:, None] * u


def draw(shape: Shape, steps: Steps = "usual") -> tuple[Tensor, ...]:
    """Inputs of a scan: u, delta, A, B, C, D, delta_bias, with A as Mamba initialises it.

    Step sizes are about 0.001 to 0.1, as Mamba initialises them, or spread from 1e-4 to 10.
    """
    b, t, s, d, n = shape
    g = torch.Generator().manual_seed(0)
    u, delta = (torch.randn(b, t, s, d, generator=g) for _ in range(2))
    B, C = (torch.randn(b, t, s, n, generator=g) for _ in range(2))
    A = -torch.arange(1.0, n + 1).repeat(d, 1)
    D = torch.randn(d, generator=g)
    if steps == "usual":
        return u, delta / 2, A, B, C, D, inverse_softplus(_spread((d,), 1e-3, 0.1, g))
    return u, inverse_softplus(_spread((b, t, s, d), 1e-4, 10, g)), A, B, C, D, torch.zeros(d)


def _spread(sizes: tuple[int, ...], low: float, high: float, g: torch.Generator) -> Tensor:
    """Numbers from low to high, uniform in the logarithm."""
    return torch.empty(sizes).uniform_(log(low), log(high), generator=g).exp()


def as_sequences(x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs of `scan_sites` in the layout of `materialised`: sites are sequences, time is last."""
    u, delta, A, B, C, D, bias = x
    u, delta, B, C = (v.permute(0, 2, 3, 1).flatten(0, 1).contiguous() for v in (u, delta, B, C))
    return u, delta, A, B, C, D, bias


def scan_arms(shape: Shape, operation: Operation) -> dict[str, Call]:
    """The arms of a shape; each call returns y, or the gradients of all inputs."""
    sites = draw(shape)
    arms = {name: _arm(backend(name), sites, operation) for name in BACKENDS}
    if shape.t <= MATERIALISED_MOST_STEPS[operation]:
        arms["materialised"] = _arm(materialised, as_sequences(sites), operation)
    return arms


def backend(name: str) -> Callable[..., Tensor]:
    """`scan_sites` with a backend, returning y."""
    return cast(Callable[..., Tensor], partial(scan_sites, backend=name))


def _arm(scan: Callable[..., Tensor], x: tuple[Tensor, ...], operation: Operation) -> Call:
    if operation == "forward":
        return torch.no_grad()(lambda: scan(*x))
    leaves = [v.detach().requires_grad_() for v in x]
    gradient = torch.linspace(-1, 1, x[0].numel()).view_as(x[0])
    return lambda: torch.autograd.grad(scan(*leaves), leaves, gradient)


def kept_bytes(call: Call, x: tuple[Tensor, ...]) -> int:
    """Bytes that autograd keeps beyond the inputs x, each storage counted once."""
    sizes: list[int] = []
    with noted_storages(x, lambda storage: sizes.append(storage.nbytes())):
        call()
    return sum(sizes)


def kept_in_sizes_of_u(shape: Shape) -> dict[str, float]:
    """Bytes kept for backward beyond the inputs, by arm, as multiples of u's bytes."""
    sites = tuple(v.requires_grad_() for v in draw(shape))
    nbytes = {arm: kept_bytes(partial(backend(arm), *sites), sites) for arm in BACKENDS}
    if shape.t <= MATERIALISED_MOST_STEPS["forward+backward"]:
        x = tuple(v.detach().requires_grad_() for v in as_sequences(sites))
        nbytes["materialised"] = kept_bytes(partial(materialised, *x), x)
    size = shape.b * shape.t * shape.s * shape.d * FLOAT_BYTES
    return {arm: kept / size for arm, kept in nbytes.items()}


def errors(shape: Shape, steps: Steps) -> dict[str, float]:
    """Errors of numba against the reference in float64, of y and the gradient of every input.

    Each is the largest difference over the largest value.
    """
    x = tuple(v.requires_grad_() for v in draw(shape, steps))
    exact = tuple(v.detach().double().requires_grad_() for v in x)
    y, want = backend("numba")(*x), backend("reference")(*exact)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    ours = (y, *torch.autograd.grad(y, x, g))
    reference = (want, *torch.autograd.grad(want, exact, g.double()))
    return {
        name: ((a - b).abs().max() / b.abs().max()).item()
        for name, a, b in zip(("y", *INPUTS), ours, reference, strict=True)
    }


IN_CACHE = 2048  # numbers: 8 KiB, and 8 KiB for the results
PASSES = 4096  # over them in one call
UNROLLED = 4
CONTROL_BYTES = 64 << 20


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


def floor_arms(copied_bytes: int) -> tuple[dict[str, Callable[[], object]], Work]:
    """The arms exp and copy, and the work of one call of each."""
    x, y = aligned.py_func(2 * IN_CACHE).reshape(2, IN_CACHE)
    x[:] = np.linspace(-20, 0, IN_CACHE)
    source = torch.zeros(copied_bytes // 4)
    target = torch.empty_like(source)
    arms = {"exp": lambda: exp2_passes(x, y, PASSES), "copy": lambda: target.copy_(source)}
    return arms, Work(exps=PASSES * IN_CACHE, copied_bytes=2 * source.nbytes)


def control() -> Callable[[], object]:
    """A control that scales well with threads: torch.exp of a large tensor."""
    x = torch.zeros(CONTROL_BYTES // 4)
    y = torch.empty_like(x)
    return lambda: torch.exp(x, out=y)
