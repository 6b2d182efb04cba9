"""The selective scan as a custom operator that keeps only its inputs for backward.

The loop runs along time over blocks of sites small enough for a core's cache. Backward computes the
states again: once through to note the state every `CHUNK` steps, then chunk by chunk from the end,
so that it holds no more than 2 CHUNK + t / CHUNK states of one block at a time. Equations as in
`pks4.scan.reference`; the state is float32 at least.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1 << 18  # state elements of a block: 1 MiB in float32
CHUNK = 64  # steps between two kept states in backward


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp x) without overflow; from vectorised parts, which torch's own is not."""
    return torch.log1p(torch.exp(-x.abs())).add_(torch.relu(x))


def _blocks(b: int, s: int, d: int, n: int) -> Iterator[tuple[slice, slice]]:
    """Cut clips x sites into blocks of about BLOCK state elements."""
    rows = max(1, BLOCK // (d * n))
    clips = max(1, rows // s)
    sites = min(s, rows)
    for i in range(0, b, clips):
        for j in range(0, s, sites):
            yield slice(i, i + clips), slice(j, j + sites)


class _Block:
    """One block's inputs in the working precision; every tensor (b', t, s', d or n)."""

    def __init__(self, inputs: tuple[Tensor, ...], where: tuple[slice, slice]) -> None:
        u, delta, A, B, C, _, delta_bias = inputs
        i, j = where
        dtype = torch.promote_types(u.dtype, torch.float32)
        self.A = A.to(dtype)
        self.u, self.B, self.C = (x[i, :, j].to(dtype) for x in (u, B, C))
        self.raw = delta[i, :, j].to(dtype) + delta_bias.to(dtype)
        self.step = _softplus(self.raw)
        self.write = self.step * self.u

    def empty_state(self) -> Tensor:
        """A state of zeros, (b', s', d, n)."""
        b, _, s, d = self.u.shape
        return self.u.new_zeros(b, s, d, self.A.shape[1])

    def decay(self, t: int, out: Tensor | None = None) -> Tensor:
        """exp(delta_t A), (b', s', d, n)."""
        return torch.mul(self.step[:, t, :, :, None], self.A, out=out).exp_()

    def advance(self, h: Tensor, decay: Tensor, t: int) -> Tensor:
        """The next state, in place of h."""
        return h.mul_(decay).addcmul_(self.write[:, t, :, :, None], self.B[:, t, :, None, :])


def _forward(inputs: tuple[Tensor, ...]) -> Tensor:
    u, _, A, _, _, D, _ = inputs
    y = torch.empty_like(u, memory_format=torch.contiguous_format)
    b, frames, s, d = u.shape
    for where in _blocks(b, s, d, A.shape[1]):
        block = _Block(inputs, where)
        h = block.empty_state()
        decay = torch.empty_like(h)
        for t in range(frames):
            h = block.advance(h, block.decay(t, out=decay), t)
            read = torch.matmul(h, block.C[:, t, :, :, None]).squeeze(-1)  # (b', s', d)
            y[where[0], t, where[1]] = read.addcmul_(D.to(h.dtype), block.u[:, t]).to(y.dtype)
    return y


class _Gradients:
    """Accumulates the gradients of all seven inputs, in the working precision."""

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        u, delta, A, B, C, D, delta_bias = inputs
        self.dtype = torch.promote_types(u.dtype, torch.float32)
        self.u, self.delta, self.B, self.C = (
            torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, delta, B, C)
        )
        self.A, self.D, self.bias = (
            torch.zeros_like(x, dtype=self.dtype) for x in (A, D, delta_bias)
        )


def _backward_block(
    grads: _Gradients, inputs: tuple[Tensor, ...], g: Tensor, where: tuple[slice, slice]
) -> None:
    block, (i, j) = _Block(inputs, where), where
    frames = block.u.shape[1]
    g = g[i, :, j].to(block.u.dtype)
    g_write, g_step = torch.empty_like(block.u), torch.empty_like(block.u)
    starts = _states_at_chunk_starts(block)
    g_h = block.empty_state()
    for start in reversed(range(0, frames, CHUNK)):
        h_prev = starts.pop()
        steps = range(start, min(start + CHUNK, frames))
        decays = [block.decay(t) for t in steps]
        states = [h_prev]
        for decay, t in zip(decays, steps, strict=True):
            states.append(block.advance(states[-1].clone(), decay, t))
        for k in reversed(range(len(steps))):
            t = steps[k]
            g_h.addcmul_(g[:, t, :, :, None], block.C[:, t, :, None, :])
            grads.C[i, t, j] = _outer_sum(g[:, t], states[k + 1]).to(grads.C.dtype)
            grads.B[i, t, j] = _outer_sum(block.write[:, t], g_h).to(grads.B.dtype)
            g_write[:, t] = torch.matmul(g_h, block.B[:, t, :, :, None]).squeeze(-1)
            g_h.mul_(decays[k])  # now the gradient of the previous state, through this step
            g_exponent = g_h * states[k]
            g_step[:, t] = (g_exponent * block.A).sum(-1)
            grads.A += (g_exponent * block.step[:, t, :, :, None]).sum((0, 1))
    g_step.addcmul_(g_write, block.u)
    g_raw = g_step * torch.sigmoid(block.raw)
    grads.delta[i, :, j] = g_raw.to(grads.delta.dtype)
    grads.bias += g_raw.sum((0, 1, 2))
    grads.u[i, :, j] = (g_write * block.step + g * inputs[5].to(g.dtype)).to(grads.u.dtype)
    grads.D += (g * block.u).sum((0, 1, 2))


def _states_at_chunk_starts(block: _Block) -> list[Tensor]:
    """The state before each chunk of steps, one forward run without outputs."""
    frames, h = block.u.shape[1], block.empty_state()
    starts = [h.clone()]
    for t in range((frames - 1) // CHUNK * CHUNK):
        h = block.advance(h, block.decay(t), t)
        if (t + 1) % CHUNK == 0:
            starts.append(h.clone())
    return starts


def _outer_sum(x: Tensor, h: Tensor) -> Tensor:
    """Sum over channels of x_d h_dn: (b', s', d), (b', s', d, n) -> (b', s', n)."""
    return torch.matmul(x[:, :, None, :], h).squeeze(-2)


@torch.library.custom_op("pks4::scan_recompute", mutates_args=())
def scan_recompute(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor
) -> Tensor:
    """Scan along time at every site; shapes as in `pks4.scan.scan_sites`."""
    return _forward((u, delta, A, B, C, D, delta_bias))


@torch.library.custom_op("pks4::scan_recompute_backward", mutates_args=())
def scan_recompute_backward(
    g: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of all inputs of `scan_recompute` from the gradient g of its output."""
    inputs = (u, delta, A, B, C, D, delta_bias)
    grads = _Gradients(inputs)
    for where in _blocks(u.shape[0], u.shape[2], u.shape[3], A.shape[1]):
        _backward_block(grads, inputs, g, where)
    small = (grads.A.to(A.dtype), grads.D.to(D.dtype), grads.bias.to(delta_bias.dtype))
    return grads.u, grads.delta, small[0], grads.B, grads.C, small[1], small[2]


@scan_recompute.register_fake
def _(u, delta, A, B, C, D, delta_bias):
    return torch.empty_like(u, memory_format=torch.contiguous_format)


@scan_recompute_backward.register_fake
def _(g, *inputs):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in inputs)


def _keep_inputs(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, g):
    return scan_recompute_backward(g.contiguous(), *ctx.saved_tensors)


scan_recompute.register_autograd(_backward, setup_context=_keep_inputs)
