"""How a scan backend becomes a PyTorch operator: one custom operator and its backward.

A backend gives two plain functions on tensors. `scan_operator` registers them as
`pks4::scan_<name>` and `pks4::scan_<name>_backward` with fake kernels. So shapes run on meta,
`torch.compile` and `torch.export` see one opaque call, and autograd keeps only the inputs and the
tensor `kept` of the backend. A scan of no clips, sites or channels does not reach the backend.

Letters as in `pks4`: u and delta (b, t, s, d), A (d, n), B and C (b, t, s, n), D and delta_bias
(d,) or None.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    """The tensors of a scan, in the order of the operators' arguments."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None


class Flags(NamedTuple):
    """Modes of the scan."""

    softplus: bool = True  # delta is the value before softplus
    reverse: bool = False  # from the last frame to the first
    last_state: bool = False  # also return the last state


# (inputs, flags) -> y (b, t, s, d) in u's dtype; last state (b, s, d, n) or empty; kept or empty
Forward = Callable[[Inputs, Flags], tuple[Tensor, Tensor, Tensor]]
# (gradient of y, kept, inputs, flags) -> gradients in the order of `Inputs`; empty for None
Backward = Callable[[Tensor, Tensor, Inputs, Flags], tuple[Tensor, ...]]


def working_dtype(u: Tensor) -> torch.dtype:
    """The dtype of states and sums: float32 at least."""
    return torch.promote_types(u.dtype, torch.float32)


def empty_state(inputs: Inputs, flags: Flags) -> Tensor:
    """An uninitialised last state (b, s, d, n), or an empty tensor if not requested."""
    u, n = inputs.u, inputs.A.shape[1]
    shape = (u.shape[0], *u.shape[2:], n) if flags.last_state else (0,)
    return u.new_empty(shape, dtype=working_dtype(u))


def lines(x: Tensor) -> Tensor:
    """(b, t, s, k) as contiguous lines (b t s, k), a view if possible."""
    flat = x.reshape(-1, x.shape[-1])
    return flat if flat.stride(1) == 1 else flat.contiguous()


def without_autocast(x: Tensor) -> AbstractContextManager:
    """Disable autocast inside an operator, where it would lower the precision of sums."""
    kind = x.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def gradient_like(x: Tensor | None, u: Tensor) -> Tensor:
    """An uninitialised contiguous gradient of an input; empty for an input that is None."""
    if x is None:
        return u.new_empty(0)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def scan_operator(
    name: str,
    forward: Forward,
    backward: Backward,
    kept: Callable[[Inputs], Tensor] | None = None,
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Register `pks4::scan_<name>` and its backward; `kept` gives the shape of a kept tensor."""

    @torch.library.custom_op(f"pks4::scan_{name}", mutates_args=())
    def scan(
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        delta_bias: Tensor | None,
        softplus: bool,
        reverse: bool,
        last_state: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs, flags = (
            Inputs(u, delta, A, B, C, D, delta_bias),
            Flags(softplus, reverse, last_state),
        )
        if not u.numel():
            return nothing(inputs, flags)
        with without_autocast(u):
            return forward(inputs, flags)

    @torch.library.custom_op(f"pks4::scan_{name}_backward", mutates_args=())
    def scan_backward(
        g: Tensor,
        kept: Tensor,
        u: Tensor,
        delta: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None,
        delta_bias: Tensor | None,
        softplus: bool,
        reverse: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        inputs = Inputs(u, delta, A, B, C, D, delta_bias)
        if not u.numel():
            return tuple(gradient_like(x, u).zero_() for x in inputs)
        with without_autocast(u):
            return tuple(backward(g, kept, inputs, Flags(softplus, reverse)))

    def nothing(inputs: Inputs, flags: Flags) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs without values: of no clips, sites or channels, and of fake tensors."""
        y = torch.empty_like(inputs.u, memory_format=torch.contiguous_format)
        return y, empty_state(inputs, flags), kept(inputs) if kept else y.new_empty(0)

    @scan.register_fake
    def _(*args):
        return nothing(Inputs(*args[:7]), Flags(*args[7:]))

    @scan_backward.register_fake
    def _(g, kept, *args):
        return tuple(gradient_like(x, args[0]) for x in args[:7])

    def keep(ctx, inputs, output):
        ctx.flags, ctx.present = inputs[7:9], [x is not None for x in inputs[:7]]
        ctx.save_for_backward(*inputs[:7], output[2])
        ctx.set_materialize_grads(False)

    def differentiate(ctx, g, *_):
        *inputs, kept = ctx.saved_tensors
        if g is None:
            return (None,) * 10
        grads = scan_backward(g.contiguous(), kept, *inputs, *ctx.flags)
        present = (x if there else None for x, there in zip(grads, ctx.present, strict=True))
        return *present, None, None, None  # the flags have no gradient

    scan.register_autograd(differentiate, setup_context=keep)
    return scan
