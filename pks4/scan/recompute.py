"""The selective scan as a custom operator that keeps only its inputs for backward.

Clips and sites are cut into blocks, time into chunks, so that the states of a chunk of a block fit
a core's cache. Within a chunk all operations without memory run at once, and the loop over time is
one multiply-add a step. Backward first stores the state at the start of each chunk, then goes
through
the chunks from the last and recomputes their states: it holds the states of one chunk of one block,
and one state a chunk. The equations are those of `pks4.scan.reference`; the state has float32 or
more precision.

Shapes within a block, time first: k steps, then b' clips, s' sites; a state is (n, d), channels
last, so that products of a d-vector and an n-vector run along d.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from pks4.scan.custom_op import (
    Flags,
    Inputs,
    empty_state,
    gradient_like,
    scan_operator,
    working_dtype,
)

BLOCK = 1 << 19  # state elements of a chunk of a block: 2 MiB in float32
CHUNK = 32  # steps of a chunk

Slices = tuple[slice, slice, slice]  # clips, steps, sites


def _blocks(inputs: Inputs, flags: Flags) -> Iterator[list[Slices]]:
    """Blocks of clips x sites, each a list of its chunks of time, in the scan's order."""
    (b, t, s, d), n = inputs.u.shape, inputs.A.shape[1]
    rows = max(1, BLOCK // (min(t, CHUNK) * d * n))
    clips, sites = max(1, rows // s), min(s, rows)
    for i in range(0, b, clips):
        for j in range(0, s, sites):
            chunks = [
                (slice(i, i + clips), slice(k, min(k + CHUNK, t)), slice(j, j + sites))
                for k in range(0, t, CHUNK)
            ]
            yield chunks[::-1] if flags.reverse else chunks


class _Chunk:
    """The inputs of one chunk of one block, in the scan's order, in the working precision."""

    def __init__(self, inputs: Inputs, flags: Flags, slices: Slices) -> None:
        self.flags, self.slices, self.dtype = flags, slices, working_dtype(inputs.u)
        self.A = inputs.A.to(self.dtype).T.contiguous()  # (n, d)
        self.D = None if inputs.D is None else inputs.D.to(self.dtype)
        self.u, self.raw, self.B, self.C = map(
            self.take, (inputs.u, inputs.delta, inputs.B, inputs.C)
        )
        if inputs.delta_bias is not None:
            self.raw = self.raw + inputs.delta_bias.to(self.dtype)
        self.step = _softplus(self.raw) if flags.softplus else self.raw  # (k, b', s', d)
        self.write = self.step * self.u
        self.decay = (self.step[..., None, :] * self.A).exp_()  # (k, b', s', n, d)

    def take(self, x: Tensor) -> Tensor:
        """This chunk of a tensor (b, t, s, ...) as (k, b', s', ...)."""
        part = x[self.slices].transpose(0, 1).to(self.dtype)
        return part.flip(0) if self.flags.reverse else part

    def put(self, target: Tensor, value: Tensor) -> None:
        """Write (k, b', s', ...) to this chunk of a tensor (b, t, s, ...)."""
        value = value.flip(0) if self.flags.reverse else value
        target[self.slices] = value.transpose(0, 1).to(target.dtype)

    def states(self, start: Tensor | None) -> Tensor:
        """The k + 1 states: before the chunk (None: zeros) and after each of its steps."""
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
    """log(1 + exp x) without overflow, from vectorised operators; torch's log1p is not vectorised.

    Kahan: log(1 + e) = log(w) e / (w - 1) with w = 1 + e as rounded, and e itself where w is 1.
    """
    e = torch.exp(-x.abs())
    w = 1 + e
    log1p = torch.where(w == 1, e, torch.log(w) * e / (w - 1))
    return log1p.add_(torch.relu(x))


def _forward(inputs: Inputs, flags: Flags) -> tuple[Tensor, Tensor, Tensor]:
    y = torch.empty_like(inputs.u, memory_format=torch.contiguous_format)
    last = empty_state(inputs, flags)
    for chunks in _blocks(inputs, flags):
        state = None
        for slices in chunks:
            chunk = _Chunk(inputs, flags, slices)
            states = chunk.states(state)
            read = torch.matmul(chunk.C[..., None, :], states[1:]).squeeze(-2)  # (k, b', s', d)
            chunk.put(y, read if chunk.D is None else read.addcmul_(chunk.D, chunk.u))
            state = states[-1]
        if flags.last_state:
            last[slices[0], slices[2]] = state.transpose(-1, -2)
    return y, last, y.new_empty(0)


class _Gradients:
    """Gradients of all inputs; those of A, D and delta_bias in the working precision."""

    def __init__(self, inputs: Inputs) -> None:
        self.u, self.delta, self.B, self.C = (
            gradient_like(x, inputs.u) for x in (inputs.u, inputs.delta, inputs.B, inputs.C)
        )
        self.A, self.D, self.bias = (
            gradient_like(x, inputs.u).to(working_dtype(inputs.u)).zero_()
            for x in (inputs.A, inputs.D, inputs.delta_bias)
        )

    def add(self, chunk: _Chunk, states: Tensor, g: Tensor, g_state: Tensor) -> None:
        """Add a chunk's share, given the gradients g of y and g_state of its states."""
        chunk.put(self.C, torch.matmul(states[1:], g[..., None]).squeeze(-1))
        chunk.put(self.B, torch.matmul(g_state, chunk.write[..., None]).squeeze(-1))
        g_write = torch.matmul(chunk.B[..., None, :], g_state).squeeze(-2)
        g_exponent = g_state.mul_(chunk.decay).mul_(states[:-1])  # of delta_t A
        g_step = (g_exponent * chunk.A).sum(-2).addcmul_(g_write, chunk.u)
        self.A += g_exponent.mul_(chunk.step[..., None, :]).sum((0, 1, 2)).T
        g_raw = g_step * torch.sigmoid(chunk.raw) if chunk.flags.softplus else g_step
        chunk.put(self.delta, g_raw)
        g_u = g_write * chunk.step
        if chunk.D is not None:
            g_u.addcmul_(g, chunk.D)
            self.D += (g * chunk.u).sum((0, 1, 2))
        chunk.put(self.u, g_u)
        if self.bias.numel():
            self.bias += g_raw.sum((0, 1, 2))


def _backward_block(
    grads: _Gradients, inputs: Inputs, flags: Flags, g: Tensor, chunks: list[Slices]
) -> None:
    starts: list[Tensor | None] = [None]
    for slices in chunks[:-1]:
        starts.append(_Chunk(inputs, flags, slices).states(starts[-1])[-1].clone())
    later = None  # gradient of the state at the end of a chunk
    for slices, start in zip(reversed(chunks), reversed(starts), strict=True):
        chunk = _Chunk(inputs, flags, slices)
        states, g_chunk = chunk.states(start), chunk.take(g)
        g_state = g_chunk[..., None, :] * chunk.C[..., None]  # (k, b', s', n, d)
        if later is not None:
            g_state[-1] += later
        for i in reversed(range(len(g_state) - 1)):
            g_state[i].addcmul_(g_state[i + 1], chunk.decay[i + 1])
        later = g_state[0] * chunk.decay[0]
        grads.add(chunk, states, g_chunk, g_state)


def _backward(g: Tensor, kept: Tensor, inputs: Inputs, flags: Flags) -> tuple[Tensor, ...]:
    grads = _Gradients(inputs)
    for chunks in _blocks(inputs, flags):
        _backward_block(grads, inputs, flags, g, chunks)
    small = (grads.A, grads.D, grads.bias)
    A, D, bias = (
        x.to(p.dtype) if p is not None else x
        for x, p in zip(small, (inputs.A, inputs.D, inputs.delta_bias), strict=True)
    )
    return grads.u, grads.delta, A, grads.B, grads.C, D, bias


scan_recompute = scan_operator("recompute", _forward, _backward)
