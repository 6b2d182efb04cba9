"""One session of scan times in a fresh process: a scan, its baseline, and the baseline again.

The job names the scan's sizes and its backend (see `paired_sessions.py`). Letters as in `pks4`; l
is t where the layout is mamba-ssm's.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import log
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from pks4.bench.measure.parts import scan_roofline
from pks4.bench.measure.parts.paired_sessions import take
from pks4.bench.process import child
from pks4.scan import inverse_softplus, scan_sites

Scan = Callable[..., Tensor]
Call = Callable[[], object]
OPERATIONS = ("scan_forward", "scan_train")
BASELINES = ("reference", "again")


def main() -> None:
    """Do the job on standard input."""
    job, send = child.receive()
    torch.set_num_threads(job["threads"])
    for operation, result in session(job, send):
        send(operation=operation, **result)


def session(job: dict[str, Any], send: Callable[..., None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of both operations: samples of each arm, the path that ran, and the roofline's rates."""
    settings, backend = job["settings"], job["backend"]
    inputs = draw(**job["shape"], dtype=settings["dtype"], device=settings["device"])
    for operation in OPERATIONS:
        arms: dict[str, Call] = {"candidate": call(operation, backend, inputs)}
        roofline: dict[str, scan_roofline.Kernel] = {}
        if settings["reference"] == "roofline":
            roofline = scan_roofline.kernels(inputs, training=operation == "scan_train")
            arms |= {f"{arm} {name}": k.call for arm in BASELINES for name, k in roofline.items()}
        else:
            arms |= {arm: call(operation, settings["reference"], inputs) for arm in BASELINES}
        samples = take(settings, job["seed"], arms, lambda n: send(rounds=n))
        result = {"samples": samples, "ran": {"scan_backend": backend}}
        if roofline:
            result["roofline"] = scan_roofline.rates(roofline, samples, "reference")
            folded = {arm: scan_roofline.seconds(roofline, samples, arm) for arm in BASELINES}
            result["samples"] = {"candidate": samples["candidate"], **folded}
        yield operation, result


def call(operation: str, scan: str, inputs: tuple[Tensor, ...]) -> Call:
    """A closure that gives y, or the gradients of all inputs, of a backend or of `materialised`."""
    x, run = inputs, cast(Scan, partial(scan_sites, backend=scan))
    if scan == "materialised":
        x, run = as_sequences(inputs), materialised
    if operation == "scan_forward":
        return torch.no_grad()(lambda: run(*x))
    leaves = [v.detach().requires_grad_() for v in x]
    gradient = torch.linspace(-1, 1, x[0].numel()).view_as(x[0]).to(x[0])
    return lambda: torch.autograd.grad(run(*leaves), leaves, gradient)


def draw(
    b: int, t: int, s: int, d: int, n: int, *, dtype: str = "float32", device: str = "cpu"
) -> tuple[Tensor, ...]:
    """Inputs of `scan_sites`: u, delta, A, B, C, D, delta_bias.

    A and the step sizes, about 0.001 to 0.1, are as Mamba initialises them. A, D and delta_bias
    stay in float32.
    """
    g = torch.Generator().manual_seed(0)
    u, delta = (torch.randn(b, t, s, d, generator=g) for _ in range(2))
    B, C = (torch.randn(b, t, s, n, generator=g) for _ in range(2))
    A = -torch.arange(1.0, n + 1).repeat(d, 1)
    D = torch.randn(d, generator=g)
    bias = inverse_softplus(torch.empty(d).uniform_(log(1e-3), log(0.1), generator=g).exp())
    lower = getattr(torch, dtype)
    u, delta, B, C = (v.to(device, lower) for v in (u, delta / 2, B, C))
    A, D, bias = (v.to(device) for v in (A, D, bias))
    return u, delta, A, B, C, D, bias


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


def as_sequences(x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs of `scan_sites` in the layout of `materialised`: sites are sequences, time is last."""
    u, delta, A, B, C, D, bias = x
    u, delta, B, C = (v.permute(0, 2, 3, 1).flatten(0, 1).contiguous() for v in (u, delta, B, C))
    return u, delta, A, B, C, D, bias


if __name__ == "__main__":
    main()
