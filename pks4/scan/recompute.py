"""The selective scan as a custom operator that keeps only its inputs for backward.

Clips and sites are cut into blocks, time into chunks, so that the states of a chunk of a block stay
near a core's cache. Within a chunk everything that has no memory is done at once, and the loop over
time is one multiply-add a step. Backward first notes the state at the start of each chunk, then
goes through the chunks from the last, computing their states again: it holds the states of one
chunk of one block, and one state a chunk. Equations as in `pks4.scan.reference`; the state is
float32 at least.

Shapes within a block, time first: k steps, then b' clips, s' sites; a state is (n, d), channels
last, so that products of a d-vector and an n-vector run along d.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1 << 19  # state elements of a chunk of a block: 2 MiB in float32
CHUNK = 32  # steps of a chunk

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Where = tuple[slice, slice, slice]  # clips, steps, sites


def _blocks(inputs: Inputs) -> Iterator[list[Where]]:
    """Blocks of clips x sites, each as the list of its chunks of time."""
    (b, t, s, d), n = inputs[0].shape, inputs[2].shape[1]
    rows = max(1, BLOCK // (min(t, CHUNK) * d * n))
    clips, sites = max(1, rows // s), min(s, rows)
    for i in range(0, b, clips):
        for j in range(0, s, sites):
            yield [
                (slice(i, i + clips), slice(k, min(k + CHUNK, t)), slice(j, j + sites))
                for k in range(0, t, CHUNK)
            ]


class _Chunk:
    """The inputs of one chunk of one block, time first, in the working precision."""

    def __init__(self, inputs: Inputs, where: Where) -> None:
        u, delta, A, B, C, D, delta_bias = inputs
        self.dtype = torch.promote_types(u.dtype, torch.float32)
        self.A, self.D = A.to(self.dtype).T.contiguous(), D.to(self.dtype)  # A as (n, d)
        self.u, raw, self.B, self.C = (
            x[where].transpose(0, 1).to(self.dtype) for x in (u, delta, B, C)
        )
        self.raw = raw + delta_bias.to(self.dtype)
        self.step = _softplus(self.raw)  # (k, b', s', d)
        self.write = self.step * self.u
        self.decay = (self.step[..., None, :] * self.A).exp_()  # (k, b', s', n, d)

    def states(self, start: Tensor | None) -> Tensor:
        """The state before the chunk (None: zeros) and after each of its steps, k + 1 of them."""
        all_states = self.decay.new_empty(len(self.decay) + 1, *self.decay.shape[1:])
        if start is None:
            all_states[0].zero_()
        else:
            all_states[0].copy_(start)
        torch.mul(self.write[..., None, :], self.B[..., None], out=all_states[1:])
        for i, decay in enumerate(self.decay):
            all_states[i + 1].addcmul_(all_states[i], decay)
        return all_states


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp x) without overflow, from vectorised parts; torch's log1p is not.

    Kahan: log(1 + e) = log(w) e / (w - 1) with w = 1 + e as rounded, and e itself where w is 1.
    """
    e = torch.exp(-x.abs())
    w = 1 + e
    log1p = torch.where(w == 1, e, torch.log(w) * e / (w - 1))
    return log1p.add_(torch.relu(x))


def _forward(inputs: Inputs) -> Tensor:
    y = torch.empty_like(inputs[0], memory_format=torch.contiguous_format)
    for chunks in _blocks(inputs):
        state = None
        for where in chunks:
            chunk = _Chunk(inputs, where)
            states = chunk.states(state)
            read = torch.matmul(chunk.C[..., None, :], states[1:]).squeeze(-2)  # (k, b', s', d)
            y[where] = read.addcmul_(chunk.D, chunk.u).transpose(0, 1).to(y.dtype)
            state = states[-1]
    return y


class _Gradients:
    """Gradients of all seven inputs; those that sum over everything in the working precision."""

    def __init__(self, inputs: Inputs) -> None:
        u, delta, A, B, C, D, delta_bias = inputs
        dtype = torch.promote_types(u.dtype, torch.float32)
        self.u, self.delta, self.B, self.C = (
            torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, delta, B, C)
        )
        self.A, self.D, self.bias = (torch.zeros_like(x, dtype=dtype) for x in (A, D, delta_bias))

    def add(self, chunk: _Chunk, states: Tensor, g: Tensor, g_state: Tensor, where: Where) -> None:
        """Take a chunk's share, given the gradients g of y and g_state of its states."""

        def put(target: Tensor, value: Tensor) -> None:
            target[where] = value.transpose(0, 1).to(target.dtype)

        put(self.C, torch.matmul(states[1:], g[..., None]).squeeze(-1))
        put(self.B, torch.matmul(g_state, chunk.write[..., None]).squeeze(-1))
        g_write = torch.matmul(chunk.B[..., None, :], g_state).squeeze(-2)
        g_exponent = g_state.mul_(chunk.decay).mul_(states[:-1])  # of delta_t A
        g_step = (g_exponent * chunk.A).sum(-2).addcmul_(g_write, chunk.u)
        self.A += g_exponent.mul_(chunk.step[..., None, :]).sum((0, 1, 2)).T
        g_raw = g_step * torch.sigmoid(chunk.raw)
        put(self.delta, g_raw)
        put(self.u, g_write * chunk.step + g * chunk.D)
        self.bias += g_raw.sum((0, 1, 2))
        self.D += (g * chunk.u).sum((0, 1, 2))


def _backward_block(grads: _Gradients, inputs: Inputs, g: Tensor, chunks: list[Where]) -> None:
    starts: list[Tensor | None] = [None]
    for where in chunks[:-1]:
        starts.append(_Chunk(inputs, where).states(starts[-1])[-1].clone())
    later = None  # gradient of the state that a chunk hands on
    for where, start in zip(reversed(chunks), reversed(starts), strict=True):
        chunk = _Chunk(inputs, where)
        states = chunk.states(start)
        g_chunk = g[where].transpose(0, 1).to(chunk.dtype)
        g_state = g_chunk[..., None, :] * chunk.C[..., None]  # (k, b', s', n, d)
        if later is not None:
            g_state[-1] += later
        for i in reversed(range(len(g_state) - 1)):
            g_state[i].addcmul_(g_state[i + 1], chunk.decay[i + 1])
        later = g_state[0] * chunk.decay[0]
        grads.add(chunk, states, g_chunk, g_state, where)


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
    for chunks in _blocks(inputs):
        _backward_block(grads, inputs, g, chunks)
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
